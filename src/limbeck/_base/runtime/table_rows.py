"""Rows of CSV and Parquet files as inputs of a model."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .cells import cell_reader, list_some
from .csv_file import CsvFile
from .errors import InputError
from .parquet_file import ParquetFile, is_parquet
from .samples import Sample

TableFile = CsvFile | ParquetFile


def open_table(path: Path, names: Sequence[str]) -> TableFile:
    """Open a CSV or Parquet file that has some columns, in any order and among others.

    Args:
        path: Path of the file.
        names: Names of the columns.

    Raises:
        InputError: If the file cannot be read, or lacks a column.
        MissingLibraryError: If it is a Parquet file, and pyarrow is not installed.
    """
    table = ParquetFile(path) if is_parquet(path) else CsvFile(path, names)
    missing = [name for name in names if name not in table.columns]
    if missing:
        columns = "column" if len(missing) == 1 else "columns"
        raise InputError(
            f"{path} lacks the {columns} {list_some(missing)}. Its columns are "
            f"{list_some(table.columns)}."
        )
    repeated = [name for name in names if table.columns.count(name) > 1]
    if repeated:
        raise InputError(f"{path} has several columns {list_some(repeated)}.")
    return table


def rows_with_id(
    table: TableFile, names: Sequence[str], id_column: str | None
) -> Iterator[tuple[int, tuple[str, ...], str]]:
    """Yield the number of each line, its values in some columns, and its name.

    Args:
        table: File from :func:`open_table`.
        names: Names of the columns.
        id_column: Column of the names of the samples; None for none. A file may lack it.

    Raises:
        InputError: If the file is damaged.
    """
    has_ids = id_column is not None and table.columns.count(id_column) == 1
    extra = [id_column] if has_ids and id_column is not None else []
    for line, cells in table.rows([*names, *extra]):
        yield line, cells[: len(names)], cells[-1] if has_ids else ""


def read_rows(
    table: TableFile, columns: Sequence[Mapping[str, Any]], id_column: str | None = None
) -> Iterator[Sample]:
    """Read the rows of a table.

    A row with a value that is no number, or no category that the model knows, has an error.

    Args:
        table: File from :func:`open_table`.
        columns: Columns of the model: ``name``, and ``categories`` or None for numbers.
        id_column: Column of the names of the samples; None for none. A file may lack it.

    Raises:
        InputError: If the file is damaged.
    """
    names = [column["name"] for column in columns]
    readers = [cell_reader(column.get("categories"), table.decimal) for column in columns]
    for line, cells, name_of_row in rows_with_id(table, names, id_column):
        values, error = [], ""
        for cell, name, read in zip(cells, names, readers, strict=True):
            try:
                values.append(read(cell))
            except ValueError as reason:
                error = error or f"{table.file}, line {line}: {name}: {reason}"
        array = None if error else np.array(values, np.float32)
        yield Sample(table.file, line, array, error, name_of_row)
