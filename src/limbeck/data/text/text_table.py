"""Texts in the rows of a table, with one label or several each."""

import itertools
import warnings
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from limbeck._base.copies import local_copy
from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data.checks import absolute, join_some
from limbeck.data.dataset import Dataset
from limbeck.data.parts import PARTS, TRAIN, parts_of_names
from limbeck.data.tables.labels import LabelColumn, label_fault
from limbeck.data.tables.listing import Table, list_tables
from limbeck.data.tables.parquet import classes_in
from limbeck.data.tables.rows import Roles
from limbeck.data.tables.table_file import (
    TEXT_TABLE_SUFFIXES,
    check_columns,
    column_name,
    column_names,
    open_table,
)
from limbeck.data.tables.targets import check_sample_task, read_targets
from limbeck.data.text.manual import manual_paragraphs
from limbeck.data.text.samples import TextSampleOptions, TextSamples, build_text_dataset
from limbeck.data.text.text_list import Selection, TextList
from limbeck.data.text.tokenizer import Tokenizer
from limbeck.losses.tasks import TASKS, Task

ADVICE = "Set data.text= and data.label=."


def text_csv(
    path: str | Path | None = None,
    *,
    text: str | Sequence[str] = "text",
    label: str | Sequence[str] = "label",
    id: str | None = None,
    split: str | None = None,
    group: str | None = None,
    task: str = "classes",
    class_names: Sequence[str] | None = None,
    tokenizer: str | Path | Tokenizer = "bpe",
    vocabulary: int = 8192,
    length: int = 128,
    val: float = 0.1,
    test: float = 0.2,
    split_seed: int = 0,
    cache: str | Path | None = None,
    in_memory: bool | None = None,
    name: str | None = None,
) -> Dataset:
    """Load texts from a table, with a class, several labels or values to predict each.

    The table is a CSV or TSV file, JSON lines, a Parquet or Arrow file, a folder of such files, or
    a folder that Hugging Face's ``datasets`` has saved. Files and folders whose names contain
    ``train``, ``validation`` or ``test`` are these splits; a missing one is cut from ``train``.
    Texts that differ only in case, white space and punctuation are then in the same split.

    Args:
        path: File or folder of the table; None for the paragraphs of the longer topics of Python's
            own manual.
        text: Column of the texts, or two columns for pairs of texts.
        label: Column of the labels: names of classes, or numbers; for regression the column of the
            values to predict, or several; for several labels per text their columns of 0 and 1, or
            a column of lists, such as ``a;b`` or ``["a", "b"]``.
        id: Column of the names of the texts, by which a file of a teacher's answers may name them;
            None for row numbers.
        split: Column of the names of the splits: train, val (or validation) and test. None without
            such a column.
        group: Column whose value, such as an author, is the same for texts that should be in one
            split. None without such a column.
        task: Kind of target: ``classes``, ``ordinal`` for ordered grades, ``regression``, or
            ``multi_label`` for several labels per text.
        class_names: Names of the classes, or of labels in lists, in their order. Labels may then be
            numbers from 0. None for the names in the table, or else for its labels, sorted.
        tokenizer: ``bpe`` (trained on the training split), ``bytes``, the path of a
            ``tokenizer.json`` or of a folder that contains one, or a tokenizer. Use that of the
            teacher if there is one.
        vocabulary: Largest number of entries of ``bpe``.
        length: Number L of tokens to which longer texts are cut.
        val: Share of the texts for validation.
        test: Share of the texts for testing.
        split_seed: Seed of the splits.
        cache: Folder for the tokens; None for ``limbeck/tokens`` in the user's cache folder.
        in_memory: Whether the tokens stay in memory. False to read them from the disk when they are
            needed; None for that if they would fill more than a quarter of the memory that is
            available.
        name: Name for tables and messages; None for the name of the file or folder.

    Returns:
        Dataset with token ids int32 ``[N, L]``, padded at their end, and the labels of each text.

    Raises:
        ConfigError: If a setting is out of range, or if a package is missing.
        DataError: If a column, text or label is missing or not as expected.
        ResourceError: If pyarrow is needed and not installed.

    Warns:
        LimbeckWarning: If texts are cut, if copies of a text have different labels or are in
            several splits, if classes have similar names, or if a split has no labels.
    """
    root = Path("python-manual")
    if path is not None:
        root = local_copy(str(path)).expanduser()  # Hydra parses a file name such as 0 as a number
    options = TextSampleOptions(
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        length=length,
        val=val,
        test=test,
        split_seed=split_seed,
        cache=cache,
        in_memory=in_memory,
        name=name or (root.name if path is None else absolute(root).name),
    )
    text_columns = [text] if isinstance(text, str) else list(map(str, text))
    if not 1 <= len(text_columns) <= 2 or not all(text_columns):
        raise ConfigError(f"data.text={text!r} should be a column, or two columns for pairs.")
    roles = Roles(
        labels=column_names(label),
        id=column_name(id),
        split=column_name(split),
        group=column_name(group),
        may_lack_labels=check_sample_task(task) == "multi_label",
    )
    columns = _Columns(text_columns, roles, TASKS[task])
    texts = TextList(in_memory=in_memory)
    if path is None:
        tables = [_read_manual(texts)]
    else:
        files = list_tables(root, TEXT_TABLE_SUFFIXES)
        tables = [_read_table(file, columns, texts) for file in files]
    data = build_text_dataset(_join(root, tables, texts, columns, class_names), options)
    data.id_column = roles.id
    return data


@dataclass(frozen=True)
class _Columns:
    """Columns of a table that are used."""

    texts: list[str]
    roles: Roles
    kind: Task

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        return [*self.texts, *self.roles.names]

    def is_hidden(self, label: str) -> bool:
        """Whether a label is missing, or hidden as -1."""
        return label == "" or (self.kind.has_classes and label == "-1")


@dataclass
class _Rows:
    """The rows of a file.

    Attributes:
        table: File of the table.
        class_names: Names of the classes that the table itself gives, or None.
        first: Number of the first row in the list of all texts.
        decimal: Decimal separator of numbers.
        labels: Labels of each row, one for each column.
        ids: Name of each row, if there is such a column.
        splits: Name of the split of each row, if there is such a column.
        groups: Group of each row, if there is such a column.
        places: Name of each row for messages, such as ``line 3``.
        has_labels: Whether labels are there, and not all hidden (-1).
    """

    table: Table
    class_names: list[str] | None
    first: int
    decimal: str = "."
    labels: list[tuple[str, ...]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    has_labels: bool = False

    @property
    def numbers(self) -> range:
        """Numbers of the rows in the list of all texts."""
        return range(self.first, self.first + len(self.labels))


def _read_manual(texts: TextList) -> _Rows:
    """Read the paragraphs of Python's manual, and add them to the texts."""
    rows = _Rows(Table(Path("python-manual"), TRAIN, {}), None, len(texts))
    for number, (text, topic) in enumerate(manual_paragraphs()):
        texts.append((text,))
        rows.labels.append((topic,))
        rows.places.append(f"paragraph {number}")
    rows.has_labels = True
    return rows


def _read_table(table: Table, columns: _Columns, texts: TextList) -> _Rows:
    """Read the rows of a file, and add their texts to those of other files."""
    roles, kind = columns.roles, columns.kind
    lists = roles.labels if roles.may_lack_labels else ()
    content = open_table(table.file, columns.names, lists)
    check_columns(content, columns.names, ADVICE)
    described = content.class_names | classes_in(table.features)
    names = described.get(roles.labels[0]) if len(roles.labels) == 1 else None
    class_names = None if kind.outputs == "values" else names
    rows = _Rows(table, class_names, len(texts), content.decimal)
    pairs = ((roles.id, rows.ids), (roles.split, rows.splits), (roles.group, rows.groups))
    targets = [values for column, values in pairs if column is not None]
    gaps = []
    count = len(columns.texts)
    for number, values in content.rows(columns.names):
        place = f"{content.unit} {number}"
        labels, others = values[count:][: len(roles.labels)], values[count + len(roles.labels) :]
        if names is not None and kind.has_classes:
            [label] = labels
            is_known = label.isdecimal() and int(label) < len(names)
            labels = (names[int(label)] if is_known else "",)
        faults = [label_fault(label, is_list=roles.may_lack_labels) for label in labels]
        if reason := next(filter(None, faults), None):
            raise DataError(f"{table.file}, {place}: {reason}.")
        texts.append(values[:count])
        rows.labels.append(labels)
        rows.places.append(place)
        rows.has_labels |= not all(map(columns.is_hidden, labels))
        for target, value in zip(targets, others, strict=True):
            target.append(value)
        if (roles.id and not others[0]) or (roles.group and not others[-1]):
            gaps.append(place)
    if gaps:
        needed = " or ".join(filter(None, (roles.id, roles.group)))
        raise DataError(f"{table.file}: {needed} is empty in {join_some(gaps)}.")
    if not rows.labels:
        raise DataError(f"{table.file} contains no texts.")
    return rows


def _join(
    root: Path,
    tables: Sequence[_Rows],
    texts: TextList,
    columns: _Columns,
    class_names: Sequence[str] | None,
) -> TextSamples:
    """Join the rows of all files, and number their classes."""
    tables = _labelled(root, tables)
    if class_names is None and tables[0].class_names is not None:
        class_names = tables[0].class_names
        if any(rows.class_names != class_names for rows in tables):
            raise DataError(f"{root}: its files have different names of classes.")
    label_columns = [LabelColumn(root, name) for name in columns.roles.labels]
    parts: list[int] = []
    for rows in tables:
        prefix = "" if len(tables) == 1 else f"{rows.table.file.name} "
        for labels, place in zip(rows.labels, rows.places, strict=True):
            for column, label in zip(label_columns, labels, strict=True):
                column.add(label, f"{prefix}{place}")
        if rows.splits and rows.table.part == TRAIN:
            parts += parts_of_names(rows.splits, rows.table.file)
        else:
            parts += [rows.table.part] * len(rows.labels)
    if not columns.roles.may_lack_labels:
        _check_labels_exist(root, label_columns)
    decimal = "," if any(rows.decimal == "," for rows in tables) else "."
    return TextSamples(
        where=root,
        texts=Selection(texts, array("q", itertools.chain(*(rows.numbers for rows in tables)))),
        targets=read_targets(label_columns, class_names, columns.kind.name, decimal=decimal),
        parts=parts,
        ids=[name for rows in tables for name in rows.ids] or list(_ids_of(parts)),
        groups=[group for rows in tables for group in rows.groups],
        columns=tuple(columns.texts),
    )


def _check_labels_exist(root: Path, columns: Sequence[LabelColumn]) -> None:
    for column in columns:
        pairs = zip(column.labels, column.samples, strict=True)
        gaps = [place for label, place in pairs if not label]
        if gaps:
            raise DataError(f"{root}: {column.name} is empty in {join_some(gaps)}.")


def _labelled(root: Path, tables: Sequence[_Rows]) -> list[_Rows]:
    """Return the files with labels, after a warning about the others."""
    labelled = [rows for rows in tables if rows.has_labels]
    if not any(rows.table.part == TRAIN for rows in labelled):
        raise DataError(f"{root} contains no texts with labels for training.")
    hidden = [rows.table.file.name for rows in tables if not rows.has_labels]
    if hidden:
        warnings.warn(
            f"{root}: the texts of {join_some(hidden)} have no labels and are not used.",
            LimbeckWarning,
            stacklevel=4,
        )
    return labelled


def _ids_of(parts: Sequence[int]) -> Iterator[str]:
    """Yield the id of each text: its row, with its split if the table has several."""
    if len(set(parts)) == 1:
        yield from map(str, range(len(parts)))
        return
    counts = {part: itertools.count() for part in PARTS.values()}
    splits = {part: split for split, part in PARTS.items()}
    for part in parts:
        yield f"{splits[part]}/{next(counts[part])}"
