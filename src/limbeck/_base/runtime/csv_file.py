"""CSV files with their forms: encodings, separators, empty lines and columns without a name."""

import codecs
import contextlib
import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from .cells import list_some
from .errors import InputError
from .files import open_file

MAX_EMPTY_LINES = 100
"""Largest number of lines before the one with the names of the columns."""
MAX_HEADER = 1 << 20
"""Largest number of characters of the line with the names of the columns."""
DELIMITERS = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r"sep=.", re.IGNORECASE)
"""First line that tells Excel the separator of the columns."""


class CsvFile:
    """A CSV file in UTF-8 or UTF-16, separated by commas, semicolons or tabs.

    Args:
        file: Path of the file.
        names: Columns that it should have, by which the separator is recognised.

    Attributes:
        file: Path of the file.
        columns: Names of the columns, those of the first line that is not empty.
        decimal: Decimal separator of numbers: a comma where semicolons separate columns.

    Raises:
        InputError: If it cannot be read, or is no CSV file.
    """

    def __init__(self, file: Path, names: Collection[str]):
        self.file = file
        with self.open_text() as content:
            header, _ = _read_first_line(content)
            self._delimiter = _find_delimiter(header, names)
            self.columns = _split_line(header, self._delimiter)
        self.decimal = "," if self._delimiter == ";" else "."

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield the number of each line, and its values in some columns.

        Lines without any value are left out. The file is read twice: once to find out whether its
        rows have numbers that the header does not name.

        Args:
            names: Names of columns that exist.

        Raises:
            InputError: If the file is damaged, or a line has more values than there are columns.
        """
        with self.open_text() as content:
            first = self._first_column(content)
        picks = [self.columns.index(name) + first for name in names]
        last = max(picks, default=0)
        with self.open_text() as content:
            for number, values in self._lines(content):
                if len(values) <= last:
                    values += [""] * (last + 1 - len(values))
                yield number, tuple([values[pick] for pick in picks])

    @contextlib.contextmanager
    def open_text(self) -> Iterator[TextIO]:
        """Open the file as text, and turn errors of reading it into one message."""
        try:
            with open_file(self.file) as stream:
                encoding = _text_encoding(stream.peek(100)[:100])
                with io.TextIOWrapper(stream, encoding, newline="") as content:
                    yield content
        except OSError as error:
            raise InputError(f"{self.file} cannot be read ({error.strerror}).") from None
        except UnicodeError as error:
            raise InputError(
                f"{self.file} is {self._kind(error)}. Spreadsheets save such files as 'CSV UTF-8'."
            ) from None
        except csv.Error as error:
            raise InputError(f"{self.file} is not a valid CSV file ({error}).") from None
        except ValueError as error:
            raise InputError(f"{self.file} cannot be read ({error}).") from None

    def _kind(self, error: UnicodeError) -> str:
        with open_file(self.file) as stream:
            is_workbook = stream.read(4) == b"PK\x03\x04"
        if is_workbook:
            return "an Excel workbook, not a CSV file"
        return f"not a CSV file in UTF-8 or UTF-16 ({error})"

    def _lines(self, content: TextIO) -> Iterator[tuple[int, list[str]]]:
        """Yield the number and the values of each line with a value, after the header."""
        _, header_lines = _read_first_line(content)
        lines = csv.reader(content, delimiter=self._delimiter)
        for values in lines:
            values = [value.strip() for value in values]
            if any(values):
                yield header_lines + lines.line_num, values

    def _first_column(self, content: TextIO) -> int:
        """Return the position of the first column that the header names.

        It is 1 if the header names one column less than there are, as in files of R, whose first
        column contains the numbers of the rows. If instead the last one is always empty, each line
        ends with a separator.
        """
        columns = len(self.columns)
        has_one_more, has_value = True, False
        longer: list[int] = []  # lines with one value more than columns
        too_long: list[int] = []
        for number, values in self._lines(content):
            has_one_more &= len(values) == columns + 1
            count = len(values)
            while count > columns and not values[count - 1]:
                count -= 1
            has_value |= count == columns + 1
            if count > columns:
                lines = longer if count == columns + 1 else too_long
                lines.append(number)
        first = int(has_one_more and has_value)
        if not first:
            too_long = sorted(longer + too_long)
        if too_long:
            lines_text = list_some([f"line {number}" for number in too_long])
            raise InputError(
                f"{self.file} has {columns} columns, but more values in {lines_text}. Quote values "
                'that contain the separator, as in "a, b".'
            )
        return first


def _text_encoding(beginning: bytes) -> str:
    """Return the encoding of a table from its first bytes."""
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for part, encoding in ((slice(1, None, 2), "utf-16-le"), (slice(0, None, 2), "utf-16-be")):
        if len(beginning) > 3 and not any(beginning[part]):  # half of all bytes are zero
            return encoding
    return "utf-8-sig"


def _read_first_line(content: TextIO) -> tuple[str, int]:
    """Return the line with the names of the columns, and its number."""
    header, number = content.readline(MAX_HEADER), 1
    while header and number <= MAX_EMPTY_LINES:
        is_empty = not header.strip(" \t\r\n,;")
        if not is_empty and not _SEPARATOR_LINE.fullmatch(header.strip("\r\n")):
            break
        header, number = content.readline(MAX_HEADER), number + 1
    return header, number


def _find_delimiter(header: str, columns: Collection[str]) -> str:
    """Return the delimiter that gives all columns, or else the most."""
    for delimiter in DELIMITERS:
        if set(columns) <= set(_split_line(header, delimiter)):
            return delimiter
    return max(DELIMITERS, key=lambda delimiter: len(_split_line(header, delimiter)))


def _split_line(line: str, delimiter: str) -> list[str]:
    """Return the values of a line, without the white space around them."""
    return [value.strip() for value in next(csv.reader([line], delimiter=delimiter), [])]
