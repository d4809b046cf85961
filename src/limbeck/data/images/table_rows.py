"""Rows of a table of image files, CSV or Parquet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from limbeck._base.errors import DataError
from limbeck.data.checks import join_some
from limbeck.data.tables.labels import LabelColumn, label_fault
from limbeck.data.tables.table_file import check_columns, open_table


@dataclass(frozen=True)
class Rows:
    """Rows of a table.

    Attributes:
        labels: Labels of the rows, whose samples are the names of the image files.
        splits: Name of the split of each row; empty if the table has no column of splits.
    """

    labels: LabelColumn
    splits: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        """Name of the image file of each row."""
        return self.labels.samples


def read_rows(
    table: Path, file_column: str, label_column: str, split_column: str | None = None
) -> Rows:
    """Read the names of image files and their labels from a table.

    Args:
        table: CSV file in UTF-8 or UTF-16, separated by commas, semicolons or tabs, or a Parquet
            file. Rows without any value are skipped.
        file_column: Column of the names.
        label_column: Column of the labels.
        split_column: Column of the names of splits, or None.

    Raises:
        DataError: If the table is damaged, if a column is missing, or if a value is.
        ResourceError: If it is a Parquet file, and pyarrow is not installed.
    """
    columns = [file_column, label_column, *([split_column] if split_column else [])]
    content = open_table(table, columns)
    check_columns(content, columns, "Set data.file_column= and data.label_column=.")
    rows, gaps = Rows(LabelColumn(table, label_column)), []
    for number, values in content.rows(columns):
        if not all(values):
            gaps.append(f"{content.unit} {number}")
        if reason := _fault_of(values):
            raise DataError(f"{table}, {content.unit} {number}: {reason}.")
        file, label, *split = values
        rows.labels.add(label, file)
        rows.splits.extend(split)
    if gaps:
        raise DataError(f"{table}: {' or '.join(columns)} is empty in {join_some(gaps)}.")
    if not rows.files:
        raise DataError(f"{table} lists no images.")
    return rows


def _fault_of(values: Sequence[str]) -> str | None:
    """Return what is wrong with the values of a row, if anything is."""
    file, label = values[:2]
    return label_fault(label) or ("a name contains NUL" if "\0" in file else None)
