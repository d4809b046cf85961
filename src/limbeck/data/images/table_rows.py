"""Rows of a table of image files, CSV or Parquet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from limbeck._base.errors import DataError
from limbeck.data.checks import join_some
from limbeck.data.tables.labels import LabelColumn, label_fault
from limbeck.data.tables.rows import Roles
from limbeck.data.tables.table_file import check_columns, open_table


@dataclass(frozen=True)
class Rows:
    """Rows of a table.

    Attributes:
        labels: Columns of the labels, whose samples are the names of the image files.
        decimal: Decimal separator of numbers.
        splits: Name of the split of each row; empty if the table has no column of splits.
        groups: Group of each row; empty without groups.
    """

    labels: list[LabelColumn]
    decimal: str
    splits: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        """Name of the image file of each row."""
        return self.labels[0].samples


def read_rows(table: Path, file_column: str, roles: Roles) -> Rows:
    """Read the names of image files and their labels from a table.

    Args:
        table: CSV file in UTF-8 or UTF-16, separated by commas, semicolons or tabs, or a Parquet
            file. Rows without any value are skipped.
        file_column: Column of the names.
        roles: Columns of the labels, splits and groups.

    Raises:
        DataError: If the table is damaged, if a column is missing, or if a value is.
        ResourceError: If it is a Parquet file, and pyarrow is not installed.
    """
    needed = [file_column, *(() if roles.may_lack_labels else roles.labels), *roles.others]
    columns = [file_column, *roles.names]
    lists = roles.labels if roles.may_lack_labels else ()
    content = open_table(table, columns, lists)
    check_columns(content, columns, "Set data.file_column= and data.label_column=.")
    rows = Rows([LabelColumn(table, name) for name in roles.labels], content.decimal)
    gaps = []
    for number, values in content.rows(columns):
        cells = dict(zip(columns, values, strict=True))
        if not all(cells[name] for name in needed):
            gaps.append(f"{content.unit} {number}")
        if reason := _fault_of(cells, file_column, roles):
            raise DataError(f"{table}, {content.unit} {number}: {reason}.")
        for column in rows.labels:
            column.add(cells[column.name], cells[file_column])
        if roles.split is not None:
            rows.splits.append(cells[roles.split])
        if roles.group is not None:
            rows.groups.append(cells[roles.group])
    if gaps:
        raise DataError(f"{table}: {' or '.join(needed)} is empty in {join_some(gaps)}.")
    if not rows.files:
        raise DataError(f"{table} lists no images.")
    return rows


def _fault_of(cells: Mapping[str, str], file_column: str, roles: Roles) -> str | None:
    """Return what is wrong with the cells of a row, if anything is."""
    if "\0" in cells[file_column]:
        return "a name contains NUL"
    faults = [label_fault(cells[name], is_list=roles.may_lack_labels) for name in roles.labels]
    return next(filter(None, faults), None)
