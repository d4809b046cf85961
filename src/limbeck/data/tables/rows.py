"""Rows of tables: the values of their columns, their labels, splits and ids."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from limbeck._base.errors import DataError
from limbeck.data.checks import MAX_LISTED, join_some
from limbeck.data.parts import TRAIN, parts_of_names
from limbeck.data.randomness import split_position
from limbeck.data.tables.frame import FrameTable
from limbeck.data.tables.labels import LabelColumn, label_fault
from limbeck.data.tables.table_file import TableFile
from limbeck.data.tables.values import ColumnValues

AnyTable: TypeAlias = TableFile | FrameTable


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Columns of a table that are no features.

    Attributes:
        labels: Columns of the labels: one, or several of values to predict or of labels.
        id: Column of the names of the samples; None for row numbers.
        split: Column of the names of the splits; None if the table has none.
        group: Column of the groups of rows that stay in one split; None without groups.
    """

    labels: list[str]
    id: str | None
    split: str | None
    group: str | None
    may_lack_labels: bool = False
    """Whether the labels may be lists, where an empty cell is a sample without labels."""

    @property
    def names(self) -> list[str]:
        """Names of these columns."""
        return [*self.labels, *self.others]

    @property
    def others(self) -> list[str]:
        """Names of the columns that are no labels."""
        return [name for name in (self.id, self.split, self.group) if name is not None]


@dataclass
class TableRows:
    """Rows of one or several files.

    Attributes:
        where: File or folder, for messages.
        labels: Columns of the labels, whose samples are the places of the rows.
        decimal: Decimal separator of numbers.
        columns: Values of the features.
        parts: Number of the split of each row.
        ids: Name of each row; empty without a column of names.
        groups: Group of each row; empty without groups.
        has_files_of_splits: Whether each split has files of its own.
    """

    where: Path
    labels: list[LabelColumn]
    decimal: str
    columns: list[ColumnValues] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    has_files_of_splits: bool = False

    def __len__(self) -> int:
        return len(self.parts)

    def positions(self, split_seed: int) -> list[float]:
        """Return a position from 0 to 1 for each row, by which splits are cut.

        Rows of a group have the same position; without groups rows with equal features have,
        however their values are written.
        """
        if self.groups:
            return [split_position(group, split_seed) for group in self.groups]
        keys = np.stack([column.keys() for column in self.columns], 1)
        return [split_position(row.tobytes().hex(), split_seed) for row in keys]

    def place(self, row: int) -> str:
        """Return the place of a row for messages."""
        return self.labels[0].samples[row]


def read_rows(
    tables: Sequence[tuple[AnyTable, int]],
    where: Path,
    roles: Roles,
    features: Sequence[str],
) -> TableRows:
    """Read all rows.

    Args:
        tables: Tables that have all columns, and the number of their split.
        where: File or folder, for messages.
        roles: Columns that are no features.
        features: Columns of the features.

    Raises:
        DataError: If a file is damaged, a label or name is missing, or a column has a value that it
            should not have.
    """
    decimal = "," if any(table.decimal == "," for table, _ in tables) else "."
    rows = TableRows(where, [LabelColumn(where, name) for name in roles.labels], decimal)
    rows.has_files_of_splits = len({part for _, part in tables}) > 1
    rows.columns = [ColumnValues(name, where, decimal, rows.place) for name in features]
    for table, part in tables:
        name = f"{Path(table.file).name}, " if len(tables) > 1 else ""
        _add_rows(rows, table, part, roles, f"{name}{table.unit}")
    if not len(rows):
        raise DataError(f"{where} has no rows.")
    return rows


def _add_rows(rows: TableRows, table: AnyTable, part: int, roles: Roles, unit: str) -> None:
    """Add the rows of a table."""
    others = roles.names
    names = [*others, *(column.name for column in rows.columns)]
    splits: list[str] = []
    pairs = ((roles.id, rows.ids), (roles.split, splits), (roles.group, rows.groups))
    targets = [texts for column, texts in pairs if column is not None]
    gaps: list[str] = []
    first = len(rows)
    first_needed = len(rows.labels) if roles.may_lack_labels else 0
    for number, values in table.rows(names):
        row, place = len(rows), f"{unit} {number}"
        if not all(values[first_needed : len(others)]):
            gaps.append(place)
        for label, text in zip(rows.labels, values, strict=False):
            if fault := label_fault(text, is_list=roles.may_lack_labels):
                raise DataError(f"{rows.where}, {place}: {fault}.")
            label.add(text, place)
        for column, text in zip(rows.columns, values[len(others) :], strict=True):
            column.add(text, row)
        rows.parts.append(part)
        for texts, text in zip(targets, values[len(rows.labels) :], strict=False):
            texts.append(text)
        if len(gaps) > MAX_LISTED:
            break
    if gaps:
        needed = " or ".join(others[first_needed:])
        raise DataError(f"{rows.where}: {needed} is empty in {join_some(gaps)}.")
    if roles.split is not None and part == TRAIN:
        rows.parts[first:] = parts_of_names(splits, rows.where)
