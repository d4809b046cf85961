"""Answers in a file of JSON lines, such as the replies of an API: one object per line."""

import io
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck._base.errors import TeacherError
from limbeck._base.reading import parse_json
from limbeck._base.runtime.files import open_file
from limbeck.teacher.answer_files.columns import Columns, Requirements, find_columns
from limbeck.teacher.answer_files.table import (
    BLOCK_ROWS,
    AnswerTable,
    TableBuilder,
    text_array,
)

MAX_LINE = 64 << 20
"""Largest number of characters of a line."""


def read_json_lines(file: Path, needs: Requirements, where: str) -> AnswerTable:
    """Read a file of JSON lines, or a single list of objects.

    The values may be a list, an object with a number for each class, as in ``{"probabilities":
    {"cat": 0.9, "dog": 0.1}}``, or keys of the line itself.

    Args:
        file: File to read.
        needs: Requirements of the dataset.
        where: Name of the file for messages.

    Raises:
        TeacherError: If it is damaged, or lines have different keys.
        OSError: If it cannot be read.
    """
    lines: _Lines | None = None
    try:
        for number, row in enumerate(_rows(file, where), 1):
            if lines is None:
                lines = _Lines(where, find_columns(list(row), needs, where))
            lines.add(row, number)
    except UnicodeDecodeError as error:
        raise TeacherError(f"{where} is not UTF-8 ({error}).") from None
    if lines is None:
        raise TeacherError(f"{where} has no rows.")
    return lines.build(needs)


def _rows(file: Path, where: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file."""
    with open_file(file) as stream, io.TextIOWrapper(stream, "utf-8-sig") as text:
        number = 0
        while line := text.readline(MAX_LINE):
            number += 1
            if number == 1 and line.lstrip().startswith("["):
                content = _parse(line + text.read(MAX_LINE), where)
                for position, row in enumerate(content, 1):
                    yield _check_object(row, f"{where}, object {position}")
                return
            if line.strip():
                place = f"{where}, line {number}"
                yield _check_object(_parse(line, place), place)


def _parse(text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise TeacherError(f"{where} is not valid JSON ({error}).") from None


def _check_object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise TeacherError(f'{where} should be an object, such as {{"id": 0, "label": 3}}.')
    return row


class _Lines:
    """Converter of parsed lines, block by block.

    It copies the values of a line at once: objects that live longer would slow down the parser,
    because the garbage collector visits them again and again.
    """

    def __init__(self, where: str, columns: Columns):
        self.where, self.columns = where, columns
        self.builder = TableBuilder(where, columns)
        names = {
            "ids": columns.id,
            "splits": columns.split,
            "members": columns.member,
            "labels": columns.label,
            "rest": columns.rest,
        }
        self._names = {name: column for name, column in names.items() if column is not None}
        self._key_blocks: list[NDArray | tuple[str, ...]] = []
        self._start_block()

    def _start_block(self) -> None:
        self._rows = 0
        self._scalars: dict[str, list[Any]] = {name: [] for name in self._names}
        self._values = array("d")
        self._widths: set[int] = set()
        self._top: list[list[Any]] = []
        self._keys: list[tuple[str, ...]] = []

    def add(self, row: Mapping[str, Any], line: int) -> None:
        """Add a line."""
        try:
            self._add(row)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise TeacherError(f"{self.where}, line {line}: {reason}.") from None
        self._rows += 1
        if self._rows == BLOCK_ROWS:
            self._flush()

    def _add(self, row: Mapping[str, Any]) -> None:
        columns = self.columns
        for name, column in self._names.items():
            value = row[column]
            if isinstance(value, (dict, list, NoneType)):
                raise ValueError(f"{column} should be text or a number")
            self._scalars[name].append(value)
        if columns.is_list:
            self._add_list(row)
        elif columns.values:
            self._add_values([row[name] for name in columns.values])
            if columns.top:
                self._top.append([row[name] for name in columns.top])

    def _add_list(self, row: Mapping[str, Any]) -> None:
        values = row[self.columns.values[0]]
        if isinstance(values, list):
            self._add_values(values)
            if self.columns.top:
                self._top.append(list(row[self.columns.top[0]]))
            return
        if isinstance(values, (int, float)):
            self._add_values([values])
            return
        if not isinstance(values, dict):
            raise ValueError(f"{self.columns.values[0]} should be a list or an object")
        self._add_values(values.values())
        self._add_keys(tuple(values))

    def _add_values(self, values: Collection[Any]) -> None:
        self._values.extend(map(float, values))
        self._widths.add(len(values))

    def _add_keys(self, keys: tuple[str, ...]) -> None:
        """Add the classes of an object of values; equal ones share one tuple."""
        is_known = bool(self._keys) and self._keys[-1] == keys
        self._keys.append(self._keys[-1] if is_known else keys)

    def _flush(self) -> None:
        if not self._rows:
            return
        for name, values in self._scalars.items():
            is_number = name == "rest"
            part = np.array([*map(float, values)], np.float32) if is_number else text_array(values)
            self.builder.add(name, part)
        if self._widths:
            self._check_widths(self._widths)
            matrix = np.array(self._values).reshape(self._rows, *self._widths)
            self.builder.add("values", matrix.astype(np.float32))
        if self._top:
            self.builder.add("top", self._matrix(self._top))
        if self._keys:
            self._key_blocks.append(self._join_keys())
        self._start_block()

    def _join_keys(self) -> NDArray | tuple[str, ...]:
        """Return the classes of a block: one tuple if all rows have the same."""
        first = self._keys[0]
        if all(keys is first for keys in self._keys):
            return first
        return self._matrix(self._keys)

    def _matrix(self, rows: Sequence[Sequence[Any]]) -> NDArray:
        """Return classes as an array of objects ``[N, K]``."""
        widths = {len(row) for row in rows}
        self._check_widths(widths)
        matrix = np.empty((len(rows), widths.pop()), object)
        matrix[:] = rows
        return matrix

    def _check_widths(self, widths: Collection[int]) -> None:
        if len(widths) > 1:
            raise TeacherError(
                f"{self.where}: rows have from {min(widths)} to {max(widths)} values; expected the "
                "same number in each."
            )

    def build(self, needs: Requirements) -> AnswerTable:
        """Return the table of all lines.

        Args:
            needs: Requirements of the dataset.
        """
        self._flush()
        table = self.builder.build()
        if not self._key_blocks:
            return table
        first = self._key_blocks[0]
        is_same = all(isinstance(keys, tuple) and keys == first for keys in self._key_blocks)
        if is_same and (needs.names is None or len(first) == len(needs.names)):
            return replace(table, classes=tuple(first))
        tops = []
        for start, keys in enumerate(self._key_blocks):
            rows = min(BLOCK_ROWS, len(table) - start * BLOCK_ROWS)
            tops.append(np.tile(np.array(keys, object), (rows, 1)) if _is_row(keys) else keys)
        return replace(table, top=np.concatenate(tops))


def _is_row(keys: NDArray | tuple[str, ...]) -> bool:
    return isinstance(keys, tuple)
