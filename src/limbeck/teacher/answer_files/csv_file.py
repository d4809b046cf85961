"""Answers in a CSV file, read in blocks of rows."""

import csv
import io
import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck._base.errors import TeacherError
from limbeck._base.runtime.files import open_file
from limbeck.teacher.answer_files.columns import Columns, Requirements, find_columns
from limbeck.teacher.answer_files.table import BLOCK_ROWS, AnswerTable, TableBuilder

MAX_HEADER = 16 << 20
"""Largest number of characters of the first line."""
TEXT_COLUMNS = {"id": "ids", "split": "splits", "member": "members", "label": "labels"}
"""Attributes of the columns with text, and the attributes of the table."""


def read_csv(file: Path, needs: Requirements, where: str) -> AnswerTable:
    """Read a CSV file, separated by commas, semicolons or tabs.

    Args:
        file: File to read.
        needs: Requirements of the dataset.
        where: Name of the file for messages.

    Raises:
        TeacherError: If it is damaged, or a value is no number.
        OSError: If it cannot be read.
    """
    try:
        with (
            open_file(file) as stream,
            io.TextIOWrapper(stream, "utf-8-sig", newline="") as text,
        ):
            header = text.readline(MAX_HEADER)
            delimiter = max(",;\t", key=header.count)
            names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
            columns = find_columns(names, needs, where)
            if columns.is_list:
                raise TeacherError(
                    f"{where}: a CSV file has no lists; expected one column for each class instead "
                    f"of {columns.values[0]}. Use JSON lines or Parquet for lists."
                )
            reader = csv.reader(text, delimiter=delimiter, strict=True)
            return _Blocks(where, names, columns).read(reader)
    except UnicodeDecodeError as error:
        raise TeacherError(f"{where} is not a CSV file in UTF-8 ({error}).") from None
    except csv.Error as error:
        raise TeacherError(f"{where} is not a valid CSV file ({error}).") from None


class _Blocks:
    """Converter of rows of text, block by block."""

    def __init__(self, where: str, names: Sequence[str], columns: Columns):
        self.where, self.names, self.columns = where, names, columns
        self.builder = TableBuilder(where, columns)

    def read(self, reader: Any) -> AnswerTable:
        rows = (row for row in reader if row)  # the csv module returns blank lines as []
        first = 0
        while block := list(itertools.islice(rows, BLOCK_ROWS)):
            self._check_lengths(block, first)
            self._add(block, first)
            first += len(block)
        return self.builder.build()

    def _check_lengths(self, block: Sequence[Sequence[str]], first: int) -> None:
        expected = len(self.names)
        for number, row in enumerate(block):
            if len(row) != expected:
                raise TeacherError(
                    f"{self.where}: row {first + number} has {len(row)} values, but the first line "
                    f"names {expected} columns."
                )

    def _add(self, block: Sequence[Sequence[str]], first: int) -> None:
        columns = self.columns
        for attribute, name in TEXT_COLUMNS.items():
            column = getattr(columns, attribute)
            if column is not None:
                self.builder.add(name, self._text(block, [column])[:, 0])
        if columns.values:
            self.builder.add("values", self._numbers(block, columns.values, first))
        if columns.top:
            self.builder.add("top", self._text(block, columns.top))
        if columns.rest is not None:
            self.builder.add("rest", self._numbers(block, [columns.rest], first)[:, 0])

    def _text(self, block: Sequence[Sequence[str]], names: Sequence[str]) -> NDArray:
        indices = [self.names.index(name) for name in names]
        array = np.empty((len(block), len(indices)), dtype=object)
        for position, index in enumerate(indices):
            array[:, position] = [row[index].strip() for row in block]
        return array

    def _numbers(self, block: Sequence[Sequence[str]], names: Sequence[str], first: int) -> NDArray:
        indices = [self.names.index(name) for name in names]
        cells = itertools.chain.from_iterable(map(_getter(indices), block))
        count = len(block) * len(indices)
        try:
            values = np.fromiter(map(float, cells), np.float32, count)
        except ValueError:
            raise self._no_number(block, indices, first) from None
        return values.reshape(len(block), len(indices))

    def _no_number(
        self, block: Sequence[Sequence[str]], indices: Sequence[int], first: int
    ) -> TeacherError:
        for number, text, index in _cells(block, indices):
            try:
                float(text)
            except ValueError:
                what = f"{text[:40]!r} is no number" if text.strip() else "a number is missing"
                return TeacherError(
                    f"{self.where}: {what} in column {self.names[index]}, row {first + number}."
                )
        raise AssertionError("one of the values is no number")


def _getter(indices: Sequence[int]) -> Callable[[Sequence[str]], Sequence[str]]:
    """Return a function from a row to its cells at some positions."""
    first, last = indices[0], indices[-1] + 1
    if list(indices) == list(range(first, last)):
        return operator.itemgetter(slice(first, last))  # twice as fast
    if len(indices) == 1:
        return lambda row: [row[first]]
    return operator.itemgetter(*indices)


def _cells(
    block: Sequence[Sequence[str]], indices: Sequence[int]
) -> Iterator[tuple[int, str, int]]:
    for number, row in enumerate(block):
        for index in indices:
            yield number, row[index], index
