"""Texts for embeddings: a text per line of a file, or per row of a table."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from limbeck._base.copies import local_copy
from limbeck._base.errors import DataError
from limbeck.data.checks import absolute
from limbeck.data.dataset import Dataset
from limbeck.data.parts import TRAIN, parts_of_names
from limbeck.data.tables.labels import LabelColumn
from limbeck.data.tables.listing import Table, list_tables
from limbeck.data.tables.table_file import TEXT_TABLE_SUFFIXES, check_columns, open_table
from limbeck.data.tables.targets import Targets, read_targets
from limbeck.data.text.files import read_text
from limbeck.data.text.samples import TextSampleOptions, TextSamples, build_text_dataset
from limbeck.data.text.text_list import TextList
from limbeck.data.text.tokenizer import Tokenizer
from limbeck.losses.base import UNLABELLED
from limbeck.losses.tasks import TASKS

LINES = (".txt", ".gz", "")
"""Suffixes of files with a text per line."""
ADVICE = "Set data.text= to the column of the texts."


def sentences(
    path: str | Path,
    *,
    text: str = "text",
    label: str | None = None,
    split: str | None = None,
    group: str | None = None,
    tokenizer: str | Path | Tokenizer | None = None,
    vocabulary: int = 8192,
    length: int = 128,
    val: float = 0.1,
    test: float = 0.2,
    split_seed: int = 0,
    cache: str | Path | None = None,
    in_memory: bool | None = None,
    name: str | None = None,
) -> Dataset:
    """Load texts for embeddings, which need no labels.

    The file has a text per line (``.txt``, gzipped or not), or is a table: a CSV or TSV file, JSON
    lines, a Parquet or Arrow file, or a folder of such files. Texts that differ only in case, white
    space and punctuation are in the same split.

    Args:
        path: File or folder of the texts.
        text: Column of the texts in a table.
        label: Column of classes, with which a linear probe judges the embeddings after training.
            None without labels.
        split: Column of the names of the splits: train, val (or validation) and test. None without
            such a column.
        group: Column whose value, such as an author, is the same for texts that should be in one
            split. None without such a column.
        tokenizer: That of the teacher: the path of its ``tokenizer.json``, or of a folder that
            contains one. Without such a teacher ``bytes``, a tokenizer, or ``bpe`` (trained on the
            training split), which is also the value of None.
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
        Dataset of the task ``embedding``, with token ids int32 ``[N, L]``, padded at their end.

    Raises:
        ConfigError: If a setting is out of range, or if a package is missing.
        DataError: If a column or text is missing, or a label is there for some texts alone.

    Warns:
        LimbeckWarning: If texts are cut, or if copies of a text are in several splits.
    """
    root = local_copy(str(path)).expanduser()  # Hydra parses a file name such as 0 as a number
    options = TextSampleOptions(
        tokenizer="bpe" if tokenizer is None else tokenizer,
        vocabulary=vocabulary,
        length=length,
        val=val,
        test=test,
        split_seed=split_seed,
        cache=cache,
        in_memory=in_memory,
        name=name or absolute(root).name,
    )
    roles = {"label": label, "split": split, "group": group}
    columns = {role: str(column) for role, column in roles.items() if column is not None}
    rows = _Rows(TextList(in_memory=in_memory))
    if os.path.isdir(root) or root.suffix.lower() not in LINES:
        for table in list_tables(root, TEXT_TABLE_SUFFIXES):
            _add_table(rows, table, str(text), columns)
    else:
        _add_lines(rows, root, columns, in_memory=in_memory)
    if not rows.texts:
        raise DataError(f"{root} contains no texts.")
    return build_text_dataset(_samples_of(rows, root, str(text), columns), options)


@dataclass
class _Rows:
    """Texts with the values of other columns, in the order of the files.

    Attributes:
        texts: Texts.
        parts: Split of each text.
        places: Name of each text for messages.
        others: Values of the columns of labels and groups, by role.
    """

    texts: TextList
    parts: list[int] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    others: dict[str, list[str]] = field(default_factory=dict)


def _add_lines(rows: _Rows, file: Path, columns: dict[str, str], *, in_memory: bool | None) -> None:
    """Add the lines of a file, without blank ones."""
    if columns:
        role, column = next(iter(columns.items()))
        raise DataError(
            f"{file} has a text per line and no columns, but data.{role}={column}. Use a table, or "
            f"data.{role}=null."
        )
    for number, line in enumerate(read_text(file, in_memory=in_memory).lines(), 1):
        if not line or line.isspace():
            continue
        rows.texts.append((line,))
        rows.parts.append(TRAIN)
        rows.places.append(f"line {number}")


def _add_table(rows: _Rows, table: Table, text: str, columns: dict[str, str]) -> None:
    """Add the rows of a table."""
    names = [text, *columns.values()]
    content = open_table(table.file, names)
    check_columns(content, names, ADVICE)
    splits = []
    for number, values in content.rows(names):
        rows.texts.append((values[0],))
        rows.places.append(f"{table.file.name} {content.unit} {number}")
        for role, value in zip(columns, values[1:], strict=True):
            if role == "split":
                splits.append(value)
            else:
                rows.others.setdefault(role, []).append(value)
    count = len(rows.texts) - len(rows.parts)
    is_split = bool(splits) and table.part == TRAIN
    rows.parts += parts_of_names(splits, table.file) if is_split else [table.part] * count


def _samples_of(rows: _Rows, root: Path, text: str, columns: dict[str, str]) -> TextSamples:
    """Number the labels, and name the texts by their rows."""
    targets = Targets(torch.full((len(rows.texts),), UNLABELLED), [])
    values: Sequence[str] = rows.others.get("label", ())
    if values:
        gaps = [place for value, place in zip(values, rows.places, strict=True) if not value]
        if gaps:
            raise DataError(
                f"{root}: {columns['label']} is empty in {len(gaps)} of {len(values)} texts, first "
                f"in {gaps[0]}. Fill it in, or set data.label=null to do without a probe."
            )
        column = LabelColumn(root, columns["label"])
        for value, place in zip(values, rows.places, strict=True):
            column.add(value, place)
        targets = read_targets([column], None, "classes")
    return TextSamples(
        where=root,
        texts=rows.texts,
        targets=replace(targets, kind=TASKS["embedding"]),
        parts=rows.parts,
        ids=[str(number) for number in range(len(rows.texts))],
        groups=rows.others.get("group", []),
        columns=(text,),
    )
