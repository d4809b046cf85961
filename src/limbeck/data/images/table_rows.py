"""Rows of a table of image files: CSV as spreadsheets and programs write it, or Parquet."""

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO, TypeAlias

from limbeck._base.bundle_runtime import open_file
from limbeck._base.checks import closest
from limbeck._base.errors import DataError
from limbeck.data.checks import join_some
from limbeck.data.images.arrow import read_texts

if TYPE_CHECKING:
    import _csv

MAX_EMPTY_LINES = 100
"""Largest number of lines before the one with the names of the columns."""
MAX_HEADER, MAX_LABEL = 1 << 20, 1000
"""Largest number of characters of the first line, and of a label."""
DELIMITERS = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r"sep=.", re.IGNORECASE)
"""First line that tells Excel the separator of the columns."""


@dataclass(frozen=True)
class Rows:
    """Rows of a table.

    Attributes:
        table: File of the table, for messages.
        column: Name of the column with the labels, for messages.
        files: Name of the image file of each row.
        labels: Label of each row.
        splits: Name of the split of each row; empty if the table has no column of splits.
    """

    table: Path
    column: str
    files: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)


def read_rows(
    table: Path, file_column: str, label_column: str, split_column: str | None = None
) -> Rows:
    """Read the names of image files and their labels from a table.

    Args:
        table: CSV file in UTF-8 or UTF-16, separated by commas, semicolons or tabs, or a Parquet
            file. Rows without any value are skipped.
        file_column: Column of the names.
        label_column: Column of the labels.
        split_column: Column of the names of splits, or None.

    Raises:
        DataError: If the table is damaged, if a column is missing, or if a value is.
        ResourceError: If it is a Parquet file, and pyarrow is not installed.
    """
    columns = [file_column, label_column, *([split_column] if split_column else [])]
    is_parquet = table.suffix.lower() in (".parquet", ".pq")
    cells = _read_parquet(table, columns) if is_parquet else _read_csv(table, columns)
    unit = "row" if is_parquet else "line"
    rows, gaps = Rows(table, label_column), []
    for number, values in cells:
        if not all(values):
            gaps.append(f"{unit} {number}")
        if reason := _fault_of(values):
            raise DataError(f"{table}, {unit} {number}: {reason}.")
        file, label, *split = values
        rows.files.append(file)
        rows.labels.append(label)
        rows.splits.extend(split)
    if gaps:
        raise DataError(f"{table}: {' or '.join(columns)} is empty in {join_some(gaps)}.")
    if not rows.files:
        raise DataError(f"{table} lists no images.")
    return rows


def _fault_of(values: Sequence[str]) -> str | None:
    """Return what is wrong with the values of a row, if anything is."""
    file, label = values[:2]
    if len(label) > MAX_LABEL:
        return f"a label of {len(label):,} characters; expected at most {MAX_LABEL}"
    return "a name contains NUL" if "\0" in file else None


Cells: TypeAlias = list[tuple[int, tuple[str, ...]]]
"""Number of each row or line in its table, and the values of the columns that are used."""


def _read_parquet(table: Path, columns: Sequence[str]) -> Cells:
    rows = zip(*read_texts(table, columns, _check_columns), strict=True)
    return [(number, values) for number, values in enumerate(rows, 1) if any(values)]


def _check_columns(table: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    """Check that each column exists once."""
    for column in names:
        if columns.count(column) > 1:
            raise DataError(f"{table} has several columns {column}. Give each another name.")
        if column not in columns:
            hint = "Set data.file_column= and data.label_column=."
            if match := closest(column, columns):
                hint = f"Did you mean {match}?"
            raise DataError(
                f"{table}: column {column} is missing; the columns are "
                f"{', '.join(columns) or 'none'}. {hint}"
            )


# CSV ----------------------------------------------------------------------------------------------


def _read_csv(table: Path, names: Sequence[str]) -> Cells:
    try:
        with open_file(table) as stream:
            encoding = _encoding(stream.peek(100)[:100])
            with io.TextIOWrapper(stream, encoding, newline="") as content:
                return _parse_csv(table, content, names)
    except OSError as error:
        raise DataError(f"{table} cannot be read ({error.strerror}).") from None
    except UnicodeError as error:
        with open_file(table) as stream:
            is_workbook = stream.read(4) == b"PK\x03\x04"
        kind = f"not a CSV file in UTF-8 or UTF-16 ({error})"
        if is_workbook:
            kind = "an Excel workbook, not a CSV file"
        raise DataError(
            f"{table} is {kind}. Spreadsheets save such files as 'CSV UTF-8'."
        ) from None
    except csv.Error as error:
        raise DataError(f"{table} is not a valid CSV file ({error}).") from None
    except ValueError as error:
        raise DataError(f"{table} cannot be read ({error}).") from None


def _encoding(beginning: bytes) -> str:
    """Return the encoding of a table from its first bytes."""
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for part, encoding in ((slice(1, None, 2), "utf-16-le"), (slice(0, None, 2), "utf-16-be")):
        if len(beginning) > 3 and not any(beginning[part]):  # half of all bytes are zero
            return encoding
    return "utf-8-sig"


class _Line(NamedTuple):
    """A line of a table.

    Attributes:
        number: Number of the line in the file.
        values: Number of values in it.
        columns: Number of values in it without empty ones after the last column.
        cells: Values of the columns that are used, if the columns are those of the header.
        next_cells: These values, if there is one column more before them.
    """

    number: int
    values: int
    columns: int
    cells: tuple[str, ...]
    next_cells: tuple[str, ...]


def _parse_csv(table: Path, content: TextIO, names: Sequence[str]) -> Cells:
    header, header_lines = _read_header(content)
    delimiter = _find_delimiter(header, names)
    columns = _split_line(header, delimiter)
    _check_columns(table, names, columns)
    picks = [columns.index(name) for name in names]
    reader = csv.reader(content, delimiter=delimiter)
    lines = list(_read_lines(reader, header_lines, picks, len(columns)))
    has_numbers = _has_row_numbers(lines, len(columns))
    too_long = [line for line in lines if line.columns > len(columns) + has_numbers]
    if too_long:
        places = join_some([f"line {line.number}" for line in too_long])
        raise DataError(
            f"{table} has {len(columns)} columns, but more values in {places}. Quote values that "
            'contain the separator, as in "a, b".'
        )
    return [(line.number, line.next_cells if has_numbers else line.cells) for line in lines]


def _has_row_numbers(lines: Sequence[_Line], columns: int) -> bool:
    """Whether the header names one column less than there are, as in files of R.

    Their first column contains the numbers of the rows. If instead the last one is always empty,
    each line ends with a separator.
    """
    has_one_more = all(line.values == columns + 1 for line in lines)
    return has_one_more and any(line.columns == columns + 1 for line in lines)


def _read_header(content: TextIO) -> tuple[str, int]:
    """Return the line with the names of the columns, and its number."""
    header, number = content.readline(MAX_HEADER), 1
    while header and number <= MAX_EMPTY_LINES:
        is_empty = not header.strip(" \t\r\n,;")
        if not is_empty and not _SEPARATOR_LINE.fullmatch(header.strip("\r\n")):
            break
        header, number = content.readline(MAX_HEADER), number + 1
    return header, number


def _read_lines(
    lines: "_csv.Reader", header_lines: int, picks: Sequence[int], columns: int
) -> Iterator[_Line]:
    """Yield the lines that contain a value."""
    for values in lines:
        values = [value.strip() for value in values]
        if not any(values):
            continue
        count = len(values)
        while count > columns and not values[count - 1]:
            count -= 1
        padded = [*values, *[""] * (columns + 1)]
        cells = tuple([padded[pick] for pick in picks])
        next_cells: tuple[str, ...] = ()
        if len(values) > columns:
            next_cells = tuple([padded[pick + 1] for pick in picks])
        yield _Line(header_lines + lines.line_num, len(values), count, cells, next_cells)


def _find_delimiter(header: str, columns: Collection[str]) -> str:
    """Return the delimiter that gives all columns, or else the most."""
    for delimiter in DELIMITERS:
        if set(columns) <= set(_split_line(header, delimiter)):
            return delimiter
    return max(DELIMITERS, key=lambda delimiter: len(_split_line(header, delimiter)))


def _split_line(line: str, delimiter: str) -> list[str]:
    """Return the values of a line, without the white space around them."""
    return [value.strip() for value in next(csv.reader([line], delimiter=delimiter), [])]
