"""Parquet files, read through pyarrow, if it is installed, within limits of memory.

Only the columns that are used are read. pyarrow checks offsets and lengths of untrusted files when
it is asked to, so every column is validated before its values are used.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import InputError, MissingLibraryError
from .files import open_file

MAX_COLUMN_BYTES = 4 << 30
"""Largest size of the columns of a table, or of the images in a part of a table, unpacked."""
MAX_ROWS = 100_000_000
ROWS_AT_ONCE = 1 << 14
"""Number of rows that are converted to text at once."""
_MAGIC = b"PAR1"


class ParquetFile:
    """A Parquet file as a table of texts.

    Args:
        file: Path of the file.

    Attributes:
        file: Path of the file.
        columns: Names of the columns.
        decimal: Decimal separator of numbers.

    Raises:
        InputError: If it is damaged, or not such a file.
        MissingLibraryError: If pyarrow is not installed.
    """

    decimal = "."

    def __init__(self, file: Path):
        self.file = file
        with explain_errors(file), open_file(file) as stream:
            self.columns: list[str] = list(_import_parquet().ParquetFile(stream).schema_arrow.names)

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield the number of each row, from 1, and its values in some columns as texts.

        Args:
            names: Names of columns that exist.

        Raises:
            InputError: If a column contains no texts or numbers, or if the file is damaged or too
                large.
        """
        number = 0
        with explain_errors(self.file), open_file(self.file) as stream:
            table = _import_parquet().ParquetFile(stream)
            if fault := size_fault(table.metadata, names):
                raise InputError(f"{self.file}: {fault}.")
            for batch in table.iter_batches(ROWS_AT_ONCE, columns=list(dict.fromkeys(names))):
                batch.validate(full=True)
                columns = [self._cells(batch.column(name), name) for name in names]
                for values in zip(*columns, strict=True):
                    number += 1
                    yield number, values

    def _cells(self, column: Any, name: str) -> list[str]:
        cells = column.to_pylist()
        if any(isinstance(cell, (bytes, list, dict)) for cell in cells):
            raise InputError(
                f"{self.file}: column {name} contains {column.type}, expected text or numbers."
            )
        return list(map(cell_text, cells))


def is_parquet(file: Path) -> bool:
    """Whether the first bytes of a file are those of a Parquet file."""
    try:
        with open_file(file) as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except (OSError, ValueError):  # whoever reads it reports it
        return False


@contextmanager
def explain_errors(file: Path) -> Iterator[None]:
    """Turn errors of reading a file into one message.

    Raises:
        InputError: If it cannot be read, or is damaged.
    """
    _import_parquet()
    import pyarrow

    try:
        yield
    except pyarrow.ArrowMemoryError:
        raise MemoryError from None
    except (pyarrow.ArrowException, EOFError, OverflowError, UnicodeDecodeError) as error:
        reason = str(error).split("\n")[0][:200]
        raise InputError(f"{file} is damaged, or of another kind ({reason}).") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror or error}).") from None
    except ValueError as error:
        raise InputError(f"{file} cannot be read ({str(error)[:200]}).") from None


def cell_text(value: Any) -> str:
    """Return a value of a table as a CSV file would contain it."""
    is_nan = isinstance(value, float) and value != value
    if value is None or is_nan:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    return str(value).strip()


def size_fault(metadata: Any, columns: Sequence[str]) -> str | None:
    """Return what is too large in columns of a Parquet file, before they are read; or None.

    Args:
        metadata: Metadata of the file by pyarrow.
        columns: Names of the columns.
    """
    parts = range(metadata.num_row_groups)
    size = sum(column_size(metadata.row_group(part), columns) for part in parts)
    if size <= MAX_COLUMN_BYTES and metadata.num_rows <= MAX_ROWS:
        return None
    return (
        f"{', '.join(columns)} take {size:,} bytes in {metadata.num_rows:,} rows; at most "
        f"{MAX_COLUMN_BYTES:,} bytes and {MAX_ROWS:,} rows are read"
    )


def column_size(group: Any, columns: Sequence[str]) -> int:
    """Return the size of columns in a part of a Parquet file, in bytes, as the file states it."""
    size = 0
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema.split(".")[0] in columns:
            size += column.total_uncompressed_size
    return size


def _import_parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingLibraryError(
            "Parquet files are read with pyarrow, which is not installed: pip install pyarrow"
        ) from None
    return pyarrow.parquet
