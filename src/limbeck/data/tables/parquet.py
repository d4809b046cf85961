"""Parquet files, read through pyarrow within limits of memory.

Only the columns that are used are read. pyarrow checks offsets and lengths of untrusted files when
it is asked to, so every column is validated before its values are used.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from limbeck._base.errors import DataError, ResourceError
from limbeck._base.reading import parse_json
from limbeck._base.runtime import parquet_file
from limbeck._base.runtime.errors import InputError
from limbeck._base.runtime.files import open_file


def import_pyarrow() -> ModuleType:
    """Import pyarrow with its reader of Parquet.

    Raises:
        ResourceError: If it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ResourceError(
            "Parquet and Arrow files need the package pyarrow: pip install 'limbeck[parquet]'."
        ) from None
    return pyarrow


@contextmanager
def explain_errors(file: Path) -> Iterator[None]:
    """Turn errors of reading a file into one message.

    Raises:
        DataError: If it cannot be read, or is damaged.
    """
    import_pyarrow()
    try:
        with parquet_file.explain_errors(file):
            yield
    except InputError as error:
        raise DataError(str(error)) from None


class BinaryTable(ABC):
    """A file of typed columns as a table of texts.

    Args:
        file: Path of the file.
        schema: Description of the columns by pyarrow.
        lists: Columns that may contain lists, which are texts in JSON then.

    Attributes:
        file: Path of the file.
        columns: Names of the columns.
        class_names: Names of the classes in columns of their numbers, by column.
        unit: Word for a row in messages.
        decimal: Decimal separator of numbers.
    """

    unit = "row"
    decimal = "."

    def __init__(self, file: Path, schema: Any, lists: Collection[str] = ()):
        self.file = file
        self._schema = schema
        self._lists = frozenset(lists)
        self.columns: list[str] = list(schema.names)
        self.class_names = described_classes(schema)

    @abstractmethod
    def batches(self, names: Sequence[str]) -> Iterator[Any]:
        """Yield pyarrow's ``RecordBatch`` of some columns, at most 16,384 rows at a time.

        Raises:
            DataError: If the file is damaged or too large.
        """

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield the number of each row, from 1, and its values in some columns as texts.

        Rows without any value in these columns are left out.

        Args:
            names: Names of columns that exist.

        Raises:
            DataError: If a column contains no texts or numbers, or if the file is damaged or too
                large.
        """
        for name in names:
            check_text(self.file, self._schema.field(name), is_list=name in self._lists)
        number = 0
        with explain_errors(self.file):
            for batch in self.batches(list(dict.fromkeys(names))):
                batch.validate(full=True)
                columns = [batch.column(name).to_pylist() for name in names]
                for values in zip(*columns, strict=True):
                    number += 1
                    texts = tuple([as_text(value) for value in values])
                    if any(texts):
                        yield number, texts


class ParquetTable(BinaryTable):
    """A Parquet file as a table of texts.

    Args:
        file: Path of the file.
        lists: Columns that may contain lists.

    Raises:
        DataError: If it is damaged, or not such a file.
        ResourceError: If pyarrow is not installed.
    """

    def __init__(self, file: Path, lists: Collection[str] = ()):
        with explain_errors(file), open_file(file) as stream:
            schema = import_pyarrow().parquet.ParquetFile(stream).schema_arrow
        super().__init__(file, schema, lists)

    def batches(self, names: Sequence[str]) -> Iterator[Any]:
        """See :meth:`BinaryTable.batches`."""
        with open_file(self.file) as stream:
            table = import_pyarrow().parquet.ParquetFile(stream)
            check_size(self.file, table.metadata, names)
            yield from table.iter_batches(parquet_file.ROWS_AT_ONCE, columns=names)


def as_text(value: Any) -> str:
    """Return a value of a table as a CSV file would contain it; a list as JSON."""
    if isinstance(value, (list, tuple)):
        return json.dumps([as_text(item) for item in value], ensure_ascii=False)
    return parquet_file.cell_text(value)


def described_classes(schema: Any) -> dict[str, list[str]]:
    """Return the names of classes that Hugging Face's description of a table contains, by column.

    Args:
        schema: Schema of pyarrow.
    """
    text = (schema.metadata or {}).get(b"huggingface")
    try:
        content = parse_json(text) if text else {}
    except ValueError:  # the description is optional
        return {}
    for key in ("info", "features"):
        content = content.get(key) if isinstance(content, dict) else None
    return classes_in(content)


def classes_in(features: Any) -> dict[str, list[str]]:
    """Return the names of the classes in Hugging Face's description of columns, by column.

    A column of lists describes their entries.
    """
    classes = {}
    for column, feature in features.items() if isinstance(features, Mapping) else ():
        if isinstance(feature, Mapping) and isinstance(feature.get("feature"), Mapping):
            feature = feature["feature"]
        names = feature.get("names") if isinstance(feature, Mapping) else None
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            classes[column] = names
    return classes


def check_text(file: Path, column: Any, *, is_list: bool = False) -> None:
    """Check that a column contains texts or numbers.

    Args:
        file: Path of the file, for messages.
        column: Field of a schema of pyarrow.
        is_list: Whether it may contain lists of these.

    Raises:
        DataError: If it does not.
    """
    types = import_pyarrow().types
    kind = column.type
    if is_list and hasattr(kind, "value_type") and not types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        raise DataError(
            f"{file}: column {column.name} contains {kind}, expected text or numbers. A table that "
            "contains the images themselves is read with data=image_table."
        )


def check_size(file: Path, metadata: Any, columns: Sequence[str]) -> None:
    """Check the size of columns of a Parquet file before they are read.

    Raises:
        DataError: If it is above the limits.
    """
    if fault := parquet_file.size_fault(metadata, columns):
        raise DataError(f"{file}: {fault}.")
