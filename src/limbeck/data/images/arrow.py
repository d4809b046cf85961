"""Parquet and Arrow files with images, read through pyarrow within limits of memory.

Only the columns that are used are read, and every column is validated before its values are used.
"""

import bisect
import io
import itertools
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from limbeck._base.errors import DataError
from limbeck._base.runtime.files import open_file
from limbeck._base.runtime.parquet_file import MAX_COLUMN_BYTES, MAX_ROWS, column_size
from limbeck.data.tables.arrow_file import read_arrow
from limbeck.data.tables.parquet import (
    check_size,
    explain_errors,
    import_pyarrow,
)

MAX_RATIO, MIN_UNPACKED_BYTES = 200, 256 << 20
"""Largest ratio of images to the size of their file, and size up to which any ratio is read."""
PARTS_IN_MEMORY = 3
"""Number of parts of a Parquet file (row groups) that are kept in memory."""


class TableFile:
    """A Parquet or Arrow file with images, of which few parts are in memory at a time.

    Args:
        file: Path of the file.

    Attributes:
        file: Path of the file.
        schema: Names and types of the columns, as pyarrow's ``Schema``.
        starts: Number of the first row of each part, and the number of rows.

    Raises:
        DataError: If it is damaged, or not such a file.
        ResourceError: If pyarrow is not installed.
    """

    def __init__(self, file: Path):
        self.file = file
        self._lock = threading.Lock()
        self._images: OrderedDict[int, Any] = OrderedDict()
        with explain_errors(file), open_file(file) as stream:
            status = os.fstat(stream.fileno())
            self.identity: list[str | int] = [
                str(file.absolute()),
                status.st_size,
                status.st_mtime_ns,
            ]
            self._max_bytes = max(MIN_UNPACKED_BYTES, MAX_RATIO * status.st_size)
            self._is_parquet = stream.read(4) == b"PAR1"
            if self._is_parquet:
                table = import_pyarrow().parquet.ParquetFile(stream)
                self.schema, metadata = table.schema_arrow, table.metadata
                groups = [metadata.row_group(part) for part in range(metadata.num_row_groups)]
                sizes = [group.num_rows for group in groups]
            else:
                content = self._read_arrow()
                self.schema, sizes = content.schema, [content.num_rows]
        self.starts = [0, *itertools.accumulate(sizes)]
        if self.starts[-1] > MAX_ROWS:
            raise DataError(f"{file} has {self.starts[-1]:,} rows; at most {MAX_ROWS:,} are read.")

    def _read_arrow(self) -> Any:
        return read_arrow(self.file, self._max_bytes)

    def values(self, column: str) -> list[Any]:
        """Return the values of a column that contains no images."""
        with explain_errors(self.file):
            if not self._is_parquet:
                content = self._read_arrow().column(column)
            else:
                with open_file(self.file) as stream:
                    table = import_pyarrow().parquet.ParquetFile(stream)
                    check_size(self.file, table.metadata, [column])
                    content = table.read(columns=[column]).column(column)
            _check_column(content, self.starts[-1])
            values: list[Any] = content.to_pylist()
        return values

    def image(self, column: str, row: int) -> bytes:
        """Return the content of the image file in a row.

        Raises:
            DataError: If there is none, or if the table is damaged.
        """
        part = bisect.bisect_right(self.starts, row) - 1
        with self._lock:
            if part not in self._images:
                with explain_errors(self.file):
                    self._images[part] = self._read_images(column, part)
            self._images.move_to_end(part)
            images = self._images[part]
            while len(self._images) > PARTS_IN_MEMORY:
                self._images.popitem(last=False)
        value = images[row - self.starts[part]].as_py()
        record = value if isinstance(value, dict) else {"bytes": value}
        content, path = record.get("bytes"), record.get("path")
        if isinstance(content, bytes):
            return content
        kind = "no image" if path is None else f"only the path of an image, {path}"
        raise DataError(f"{self.file}, row {row} (contains {kind})")

    def _read_images(self, column: str, part: int) -> Any:
        """Read the images of a part."""
        if not self._is_parquet:
            content = self._read_arrow().column(column)
        else:
            with open_file(self.file) as stream:
                table = import_pyarrow().parquet.ParquetFile(stream)
                size = column_size(table.metadata.row_group(part), [column])
                if size > min(MAX_COLUMN_BYTES, self._max_bytes):
                    raise ValueError(
                        f"the images of a row group unpack to {size:,} bytes; write it with "
                        "row_group_size=1000"
                    )
                content = table.read_row_group(part, columns=[column]).column(column)
        _check_column(content, self.starts[part + 1] - self.starts[part])
        return content


def _check_column(content: Any, rows: int) -> None:
    """Check the offsets of a column, and that it has as many rows as its file says."""
    content.validate(full=True)
    if len(content) != rows:
        raise ValueError(f"a column has {len(content):,} rows, but the file says {rows:,}")


@dataclass(frozen=True, slots=True)
class ImageInTable:
    """An image file in a row of a table.

    Attributes:
        table: File of the table.
        column: Column of the images.
        row: Number of the row, from 0.
        where: Name of the table for messages.
    """

    table: TableFile
    column: str
    row: int
    where: str

    def read(self) -> BinaryIO:
        """Return the content of the image file."""
        return io.BytesIO(self.table.image(self.column, self.row))

    def identity(self) -> list[str | int]:
        """Return what changes with its content, for the keys of caches."""
        return [*self.table.identity, self.row]

    def __str__(self) -> str:
        return f"{self.where} row {self.row}"
