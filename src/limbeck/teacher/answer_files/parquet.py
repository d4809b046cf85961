"""Answers in a Parquet file or a folder of them (extra ``parquet``)."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck._base.errors import TeacherError
from limbeck._base.reading import MAX_ARRAY_RATIO, MIN_UNPACKED_BYTES, parse_json
from limbeck._base.runtime.files import open_file
from limbeck.data.tables.parquet import import_pyarrow
from limbeck.teacher.answer_files.columns import Columns, Requirements, find_columns
from limbeck.teacher.answer_files.table import AnswerTable, TableBuilder

BATCH_ROWS = 1 << 16
CLASSES_KEY = b"limbeck.classes"
"""Key of the file's metadata with the class names of lists, as JSON."""
TEXT_COLUMNS = {"id": "ids", "split": "splits", "member": "members", "label": "labels"}
"""Attributes of the columns with text, and the attributes of the table."""


def read_parquet(files: Sequence[Path], needs: Requirements, where: str) -> AnswerTable:
    """Read Parquet files of the same columns.

    Args:
        files: Files in the order of their rows.
        needs: Requirements of the dataset.
        where: Name of the file or folder for messages.

    Raises:
        TeacherError: If a file is damaged, or files have different columns.
        ResourceError: If pyarrow is not installed.
        OSError: If a file cannot be read.
    """
    pyarrow = import_pyarrow()
    reader: _Batches | None = None
    for file in files:
        try:
            with open_file(file) as stream, pyarrow.parquet.ParquetFile(stream) as table:
                schema = table.schema_arrow
                if reader is None:
                    classes = _classes_of(schema)
                    columns = find_columns(schema.names, needs, where)
                    reader = _Batches(where, columns, classes, schema.names)
                _check_size(table.metadata, file.stat().st_size)
                reader.read(table, file.name)
        except (pyarrow.ArrowException, ValueError, EOFError) as error:
            if isinstance(error, TeacherError):
                raise
            reason = " ".join(str(error).split())[:200]
            raise TeacherError(f"{file} is not a sound Parquet file ({reason}).") from None
    if reader is None:
        raise TeacherError(f"{where} contains no Parquet files.")
    return reader.build()


def _check_size(metadata: Any, file_size: int) -> None:
    """Check the size of the columns before they are read.

    Raises:
        ValueError: If they unpack to much more than the size of the file.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    max_bytes = max(MIN_UNPACKED_BYTES, MAX_ARRAY_RATIO * file_size)
    if size > max_bytes:
        raise ValueError(f"it unpacks to {size:,} bytes; at most {max_bytes:,} are read")


def _classes_of(schema: Any) -> tuple[str, ...] | None:
    """Return the class names in the metadata of a file."""
    with suppress(KeyError, TypeError, ValueError):
        names = parse_json(schema.metadata[CLASSES_KEY])
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None


class _Batches:
    """Converter of record batches."""

    def __init__(
        self,
        where: str,
        columns: Columns,
        classes: tuple[str, ...] | None,
        names: Sequence[str],
    ):
        self.where, self.columns, self.classes, self.names = where, columns, classes, names
        self.pyarrow = import_pyarrow()
        self.builder = TableBuilder(where, columns)

    def read(self, table: Any, name: str) -> None:
        """Read all batches of a file."""
        if table.schema_arrow.names != list(self.names):
            raise TeacherError(f"{self.where}: {name} has other columns than the first file.")
        columns = self.columns
        texts = {key: getattr(columns, key) for key in TEXT_COLUMNS}
        used = [*filter(None, texts.values()), *columns.values, *columns.top]
        if columns.rest is not None:
            used.append(columns.rest)
        for batch in table.iter_batches(BATCH_ROWS, columns=used):
            if batch.num_rows == 0:
                continue
            batch.validate(full=True)  # offsets in a file of somebody else may be wrong
            for key, column in texts.items():
                if column is not None:
                    self.builder.add(TEXT_COLUMNS[key], self._text(batch, column))
            if columns.values:
                self.builder.add("values", self._values(batch))
            if columns.top:
                self.builder.add("top", self._top(batch))
            if columns.rest is not None:
                self.builder.add("rest", self._numbers(batch, columns.rest))

    def _values(self, batch: Any) -> NDArray:
        columns = self.columns
        if columns.is_list:
            return self._list(batch, columns.values[0]).astype(np.float32, copy=False)
        values = np.empty((batch.num_rows, len(columns.values)), np.float32)
        for position, name in enumerate(columns.values):
            values[:, position] = self._numbers(batch, name)
        return values

    def _top(self, batch: Any) -> NDArray:
        columns = self.columns
        if columns.is_list:
            return self._list(batch, columns.top[0])
        return np.stack([self._text(batch, name) for name in columns.top], 1)

    def _column(self, batch: Any, name: str) -> Any:
        column = batch.column(batch.schema.get_field_index(name))
        if column.null_count:
            raise TeacherError(f"{self.where}: {column.null_count} values of {name} are missing.")
        if self.pyarrow.types.is_dictionary(column.type):  # a categorical column
            return column.dictionary_decode()
        return column

    def _numbers(self, batch: Any, name: str) -> NDArray:
        values = self._column(batch, name).to_numpy(zero_copy_only=False)
        if values.dtype.kind not in "iuf":
            raise TeacherError(f"{self.where}: {name} should hold numbers, got {values.dtype}.")
        return values.astype(np.float32, copy=False)

    def _text(self, batch: Any, name: str) -> NDArray:
        values = self._column(batch, name).to_numpy(zero_copy_only=False)
        if values.dtype.kind in "iu":
            return values.astype(np.int64, copy=False)
        return values.astype(object, copy=False)

    def _list(self, batch: Any, name: str) -> NDArray:
        """Return a column of lists of one length as ``[N, K]``."""
        column = self._column(batch, name)
        if not hasattr(column, "flatten") or not hasattr(column.type, "value_type"):
            raise TeacherError(f"{self.where}: {name} should hold lists, got {column.type}.")
        flat = column.flatten()
        if flat.null_count:
            raise TeacherError(f"{self.where}: {flat.null_count} values of {name} are missing.")
        width, remainder = divmod(len(flat), len(column))
        lengths = column.value_lengths() if hasattr(column, "value_lengths") else None
        is_even = lengths is None or np.all(lengths.to_numpy(zero_copy_only=False) == width)
        if remainder or not is_even:
            raise TeacherError(
                f"{self.where}: rows of {name} have different numbers of values; expected the same."
            )
        return flat.to_numpy(zero_copy_only=False).reshape(len(column), width)

    def build(self) -> AnswerTable:
        """Return the table of all batches."""
        table = self.builder.build()
        if self.columns.is_list and not self.columns.top:
            return _with_classes(table, self.classes)
        return table


def _with_classes(table: AnswerTable, classes: tuple[str, ...] | None) -> AnswerTable:
    assert table.values is not None
    if classes is not None and len(classes) != table.values.shape[1]:
        raise TeacherError(
            f"{table.where}: its metadata names {len(classes)} classes, but rows have "
            f"{table.values.shape[1]} values."
        )
    return replace(table, classes=classes)
