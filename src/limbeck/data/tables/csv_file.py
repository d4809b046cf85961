"""CSV files as spreadsheets and programs write them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from limbeck._base.errors import DataError
from limbeck._base.runtime.csv_file import CsvFile
from limbeck._base.runtime.errors import InputError


class CsvTable(CsvFile):
    """A CSV file of a dataset, read as bundles read theirs.

    Attributes:
        unit: Word for a row in messages.

    Raises:
        DataError: If it cannot be read, or is no CSV file.
    """

    unit = "line"

    @property
    def class_names(self) -> dict[str, list[str]]:
        """Names of the classes in columns of their numbers; a CSV file has none."""
        return {}

    @contextmanager
    def open_text(self) -> Iterator[TextIO]:
        """Open the file as text, and turn errors of reading it into one message."""
        try:
            with super().open_text() as content:
                yield content
        except InputError as error:
            raise DataError(str(error)) from None
