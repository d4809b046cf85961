"""Arrow files, such as those that Hugging Face's ``datasets`` saves."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from limbeck._base.bundle_runtime import open_file
from limbeck.data.tables.parquet import (
    MAX_COLUMN_BYTES,
    ROWS_AT_ONCE,
    as_text,
    check_text,
    described_classes,
    explain_errors,
    import_pyarrow,
)

MAX_RATIO = 200
"""Largest ratio of the content to the size of its file, if the file is compressed."""


class ArrowTable:
    """An Arrow file as a table of texts.

    Args:
        file: Path of the file.

    Attributes:
        file: Path of the file.
        columns: Names of the columns.
        class_names: Names of the classes in columns of their numbers, by column.
        unit: Word for a row in messages.
        decimal: Decimal separator of numbers.

    Raises:
        DataError: If it is damaged, or not such a file.
        ResourceError: If pyarrow is not installed.
    """

    unit = "row"
    decimal = "."

    def __init__(self, file: Path):
        self.file = file
        with explain_errors(file):
            size = os.stat(file).st_size
            self._content = read_arrow(file, min(MAX_COLUMN_BYTES, MAX_RATIO * max(size, 1 << 20)))
        self.columns: list[str] = list(self._content.schema.names)
        self.class_names = described_classes(self._content.schema)

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield the number of each row, from 1, and its values in some columns as texts.

        Rows without any value in these columns are left out.

        Args:
            names: Names of columns that exist.

        Raises:
            DataError: If a column contains no texts or numbers, or if the file is damaged.
        """
        for name in names:
            check_text(self.file, self._content.schema.field(name))
        number = 0
        with explain_errors(self.file):
            content = self._content.select(list(dict.fromkeys(names)))
            for batch in content.to_batches(ROWS_AT_ONCE):
                batch.validate(full=True)
                columns = [batch.column(name).to_pylist() for name in names]
                for values in zip(*columns, strict=True):
                    number += 1
                    texts = tuple([as_text(value) for value in values])
                    if any(texts):
                        yield number, texts


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
