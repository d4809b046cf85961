"""A table in a file: CSV, JSON lines, Parquet or Arrow."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypeAlias

from limbeck._base.checks import closest
from limbeck._base.errors import DataError
from limbeck.data.tables.arrow_file import ArrowTable
from limbeck.data.tables.csv_file import CsvTable
from limbeck.data.tables.frame import FrameTable
from limbeck.data.tables.json_lines import JsonLinesTable
from limbeck.data.tables.parquet import ParquetTable

TableFile: TypeAlias = CsvTable | JsonLinesTable | ParquetTable | ArrowTable
PARQUET_SUFFIXES = (".parquet", ".pq")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
TABLE_SUFFIXES = (".csv", ".tsv", *JSON_SUFFIXES, *PARQUET_SUFFIXES, ".arrow")
"""Suffixes by which the files of a table in a folder are known."""
TEXT_TABLE_SUFFIXES = tuple(suffix for suffix in TABLE_SUFFIXES if suffix != ".json")
"""Suffixes of the tables of texts in a folder, where a JSON file describes them."""


def open_table(file: Path, names: Collection[str], lists: Collection[str] = ()) -> TableFile:
    """Open a table.

    Args:
        file: Parquet or Arrow file or JSON lines, by its suffix, or CSV file.
        names: Columns that it should have.
        lists: Columns that may contain lists, which are read as JSON.

    Raises:
        DataError: If it is damaged.
        ResourceError: If it is a Parquet or Arrow file, and pyarrow is not installed.
    """
    if file.suffix.lower() == ".arrow":
        return ArrowTable(file, lists)
    if file.suffix.lower() in JSON_SUFFIXES:
        return JsonLinesTable(file, lists)
    if file.suffix.lower() in PARQUET_SUFFIXES:
        return ParquetTable(file, lists)
    return CsvTable(file, names)


def column_name(column: object) -> str | None:
    """Return the name of a column that a user gives; Hydra parses a name such as 0 as a number."""
    return None if column is None else str(column)


def column_names(columns: object) -> list[str]:
    """Return the names of columns that a user gives: one name, a list of names, or None."""
    if isinstance(columns, Sequence) and not isinstance(columns, str):
        return [str(column) for column in columns]
    return [] if columns is None else [str(columns)]


def check_columns(table: TableFile | FrameTable, names: Sequence[str], advice: str) -> None:
    """Check that a table has each of some columns once.

    Args:
        table: Table.
        names: Names of the columns.
        advice: Sentence for a name that is not like any column.

    Raises:
        DataError: If a column is missing, or is there twice.
    """
    for column in names:
        if table.columns.count(column) > 1:
            raise DataError(f"{table.file} has several columns {column}. Give each another name.")
        if column not in table.columns:
            if match := closest(column, table.columns):
                advice = f"Did you mean {match}?"
            raise DataError(
                f"{table.file}: column {column} is missing; the columns are "
                f"{', '.join(table.columns) or 'none'}. {advice}"
            )
