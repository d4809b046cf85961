"""Arrow files, such as those that Hugging Face's ``datasets`` saves."""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from limbeck._base.runtime.files import open_file
from limbeck._base.runtime.parquet_file import MAX_COLUMN_BYTES, ROWS_AT_ONCE
from limbeck.data.tables.parquet import (
    BinaryTable,
    explain_errors,
    import_pyarrow,
)

MAX_RATIO = 200
"""Largest ratio of the content to the size of its file, if the file is compressed."""


class ArrowTable(BinaryTable):
    """An Arrow file as a table of texts.

    Args:
        file: Path of the file.
        lists: Columns that may contain lists.

    Raises:
        DataError: If it is damaged, or not such a file.
        ResourceError: If pyarrow is not installed.
    """

    def __init__(self, file: Path, lists: Collection[str] = ()):
        with explain_errors(file):
            size = os.stat(file).st_size
            self._content = read_arrow(file, min(MAX_COLUMN_BYTES, MAX_RATIO * max(size, 1 << 20)))
        super().__init__(file, self._content.schema, lists)

    def batches(self, names: Sequence[str]) -> Iterator[Any]:
        """See :meth:`BinaryTable.batches`."""
        yield from self._content.select(names).to_batches(ROWS_AT_ONCE)


def read_arrow(file: Path, max_bytes: int) -> Any:
    """Map the content of an Arrow file, or of the stream that Hugging Face's datasets write.

    Args:
        file: Path of the file.
        max_bytes: Largest size of its content.

    Returns:
        pyarrow's ``Table``.

    Raises:
        ValueError: If it is larger.
    """
    pyarrow = import_pyarrow()
    with open_file(file) as stream:
        is_stream = stream.read(6) != b"ARROW1"
    source = pyarrow.memory_map(str(file))
    if is_stream:
        reader = pyarrow.ipc.open_stream(source)
        parts = iter(reader)
    else:
        reader = pyarrow.ipc.open_file(source)
        parts = map(reader.get_batch, range(reader.num_record_batches))
    batches, size = [], 0
    for batch in parts:  # memory-mapped, unless the file is compressed
        batches.append(batch)
        size += batch.nbytes
        if size > max_bytes:
            raise ValueError(f"it unpacks to more than {max_bytes:,} bytes")
    return pyarrow.Table.from_batches(batches, reader.schema)
