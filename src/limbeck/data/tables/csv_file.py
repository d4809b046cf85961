"""CSV files as spreadsheets and programs write them."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck._base.runtime.csv_file import CsvFile
from limbeck._base.runtime.errors import InputError
from limbeck.data.checks import join_some


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

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield the number of each line, and its values in some columns.

        A line that repeats the names of the columns, as in files that were joined, is left out.

        Args:
            names: Names of columns that exist.

        Raises:
            DataError: If the file is damaged, or a line has more values than there are columns.

        Warns:
            LimbeckWarning: If a line repeats the names of the columns.
        """
        header = tuple(names) if len(names) > 1 else None
        repeated = []
        for number, values in super().rows(names):
            if values == header:
                repeated.append(f"line {number}")
            else:
                yield number, values
        if repeated:
            lines = "1 line repeats" if len(repeated) == 1 else f"{len(repeated)} lines repeat"
            warnings.warn(
                f"{self.file}: {lines} the names of the columns, and is left out: "
                f"{join_some(repeated)}.",
                LimbeckWarning,
                stacklevel=2,
            )

    @contextmanager
    def open_text(self) -> Iterator[TextIO]:
        """Open the file as text, and turn errors of reading it into one message."""
        try:
            with super().open_text() as content:
                yield content
        except InputError as error:
            raise DataError(str(error)) from None
