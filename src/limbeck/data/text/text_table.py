"""Texts in the rows of a table, with one class each."""

import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data.checks import absolute, join_some
from limbeck.data.dataset import Dataset
from limbeck.data.parts import PARTS, TRAIN, parts_of_names
from limbeck.data.tables.labels import LabelColumn, label_fault, number_labels
from limbeck.data.tables.listing import Table, list_tables
from limbeck.data.tables.parquet import classes_in
from limbeck.data.tables.table_file import TABLE_SUFFIXES, check_columns, open_table
from limbeck.data.text.manual import manual_paragraphs
from limbeck.data.text.samples import TextSampleOptions, TextSamples, build_text_dataset
from limbeck.data.text.tokenizer import Text, Tokenizer

ADVICE = "Set data.text= and data.label=."
SUFFIXES = tuple(suffix for suffix in TABLE_SUFFIXES if suffix != ".json")
"""Suffixes of the tables in a folder, where a JSON file describes them."""


def text_csv(
    path: str | Path | None = None,
    *,
    text: str | Sequence[str] = "text",
    label: str = "label",
    split: str | None = None,
    group: str | None = None,
    class_names: Sequence[str] | None = None,
    tokenizer: str | Path | Tokenizer = "bpe",
    vocabulary: int = 8192,
    length: int = 128,
    val: float = 0.1,
    test: float = 0.2,
    split_seed: int = 0,
    cache: str | Path | None = None,
    name: str | None = None,
) -> Dataset:
    """Load texts of one class each from a table.

    The table is a CSV or TSV file, JSON lines, a Parquet or Arrow file, a folder of such files, or
    a folder that Hugging Face's ``datasets`` has saved. Files and folders whose names contain
    ``train``, ``validation`` or ``test`` are these splits; a missing one is cut from ``train``.
    Texts that differ only in case, white space and punctuation are then in the same split.

    Args:
        path: File or folder of the table; None for the paragraphs of the longer topics of Python's
            own manual.
        text: Column of the texts, or two columns for pairs of texts.
        label: Column of the labels: names of classes, or numbers.
        split: Column of the names of the splits: train, val (or validation) and test. None without
            such a column.
        group: Column whose value, such as an author, is the same for texts that should be in one
            split. None without such a column.
        class_names: Names of the classes in their order. Labels may then be numbers from 0. None
            for the names in the table, or else for its labels, sorted.
        tokenizer: ``bpe`` (trained on the training split), ``bytes``, the path of a
            ``tokenizer.json`` or of a folder that contains one, or a tokenizer. Use that of the
            teacher if there is one.
        vocabulary: Largest number of entries of ``bpe``.
        length: Number L of tokens to which longer texts are cut.
        val: Share of the texts for validation.
        test: Share of the texts for testing.
        split_seed: Seed of the splits.
        cache: Folder for the tokens; None for ``limbeck/tokens`` in the user's cache folder.
        name: Name for tables and messages; None for the name of the file or folder.

    Returns:
        Dataset with token ids int32 ``[N, L]``, padded at their end, and one class for each text.

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
        root = Path(str(path)).expanduser()  # Hydra parses a file name such as 0 as a number
    options = TextSampleOptions(
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        length=length,
        val=val,
        test=test,
        split_seed=split_seed,
        cache=cache,
        name=name or (root.name if path is None else absolute(root).name),
    )
    texts = [text] if isinstance(text, str) else list(map(str, text))
    if not 1 <= len(texts) <= 2 or not all(texts):
        raise ConfigError(f"data.text={text!r} should be a column, or two columns for pairs.")
    columns = _Columns(
        texts,
        str(label),
        None if split is None else str(split),
        None if group is None else str(group),
    )
    if path is None:
        tables = [_read_manual()]
    else:
        tables = [_read_table(table, columns) for table in list_tables(root, SUFFIXES)]
    return build_text_dataset(_join(root, tables, columns, class_names), options)


@dataclass(frozen=True)
class _Columns:
    """Columns of a table that are used."""

    texts: list[str]
    label: str
    split: str | None
    group: str | None

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        others = [column for column in (self.split, self.group) if column is not None]
        return [*self.texts, self.label, *others]


@dataclass(frozen=True)
class _Rows:
    """The rows of a file.

    Attributes:
        table: File of the table.
        class_names: Names of the classes that the table itself gives, or None.
        texts: Text of each row.
        labels: Label of each row.
        splits: Name of the split of each row, if there is such a column.
        groups: Group of each row, if there is such a column.
        places: Name of each row for messages, such as ``line 3``.
    """

    table: Table
    class_names: list[str] | None
    texts: list[Text] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)

    @property
    def has_labels(self) -> bool:
        """Whether labels are there, and not all hidden (-1)."""
        return not set(self.labels) <= {"", "-1"}


def _read_manual() -> _Rows:
    """Return the paragraphs of Python's manual."""
    rows = _Rows(Table(Path("python-manual"), TRAIN, {}), None)
    for number, (text, topic) in enumerate(manual_paragraphs()):
        rows.texts.append((text,))
        rows.labels.append(topic)
        rows.places.append(f"paragraph {number}")
    return rows


def _read_table(table: Table, columns: _Columns) -> _Rows:
    """Read the rows of a file."""
    content = open_table(table.file, columns.names)
    check_columns(content, columns.names, ADVICE)
    described = content.class_names | classes_in(table.features)
    names = described.get(columns.label)
    rows = _Rows(table, names)
    gaps = []
    count = len(columns.texts)
    for number, values in content.rows(columns.names):
        place = f"{content.unit} {number}"
        label, others = values[count], iter(values[count + 1 :])
        if names is not None:
            label = names[int(label)] if label.isdecimal() and int(label) < len(names) else ""
        if reason := label_fault(label):
            raise DataError(f"{table.file}, {place}: {reason}.")
        rows.texts.append(values[:count])
        rows.labels.append(label)
        rows.places.append(place)
        if columns.split is not None:
            rows.splits.append(next(others))
        if columns.group is not None:
            rows.groups.append(next(others))
            if not rows.groups[-1]:
                gaps.append(place)
    if gaps:
        raise DataError(f"{table.file}: {columns.group} is empty in {join_some(gaps)}.")
    if not rows.texts:
        raise DataError(f"{table.file} contains no texts.")
    return rows


def _join(
    root: Path, tables: Sequence[_Rows], columns: _Columns, class_names: Sequence[str] | None
) -> TextSamples:
    """Join the rows of all files, and number their classes."""
    tables = _labelled(root, tables)
    if class_names is None and tables[0].class_names is not None:
        class_names = tables[0].class_names
        if any(rows.class_names != class_names for rows in tables):
            raise DataError(f"{root}: its files have different names of classes.")
    column = LabelColumn(root, columns.label)
    parts: list[int] = []
    for rows in tables:
        for label, place in zip(rows.labels, rows.places, strict=True):
            column.add(label, place if len(tables) == 1 else f"{rows.table.file.name} {place}")
        if rows.splits and rows.table.part == TRAIN:
            parts += parts_of_names(rows.splits, rows.table.file)
        else:
            parts += [rows.table.part] * len(rows.texts)
    gaps = [place for label, place in zip(column.labels, column.samples, strict=True) if not label]
    if gaps:
        raise DataError(f"{root}: {columns.label} is empty in {join_some(gaps)}.")
    labels, names = number_labels(column, class_names, "natural")
    return TextSamples(
        where=root,
        texts=[text for rows in tables for text in rows.texts],
        labels=labels,
        parts=parts,
        class_names=names,
        ids=list(_ids_of(parts)),
        groups=[group for rows in tables for group in rows.groups],
        columns=tuple(columns.texts),
    )


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
