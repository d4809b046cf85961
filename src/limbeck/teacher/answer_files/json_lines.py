"""Answers in a file of JSON lines, such as the replies of an API: one object per line."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck._base.bundle_runtime import open_file
from limbeck._base.errors import TeacherError
from limbeck._base.reading import parse_json
from limbeck.teacher.answer_files.columns import Columns, find_columns
from limbeck.teacher.answer_files.table import (
    BLOCK_ROWS,
    AnswerTable,
    TableBuilder,
    text_array,
)

MAX_LINE = 64 << 20
"""Largest number of characters of a line."""


def read_json_lines(file: Path, class_names: Sequence[str] | None, where: str) -> AnswerTable:
    """Read a file of JSON lines, or a single list of objects.

    The values may be a list, an object with a number for each class, as in ``{"probabilities":
    {"cat": 0.9, "dog": 0.1}}``, or keys of the line itself.

    Args:
        file: File to read.
        class_names: Classes of the dataset; None if they are unknown.
        where: Name of the file for messages.

    Raises:
        TeacherError: If it is damaged, or lines have different keys.
        OSError: If it cannot be read.
    """
    lines: _Lines | None = None
    try:
        for number, row in enumerate(_rows(file, where), 1):
            if lines is None:
                lines = _Lines(where, find_columns(list(row), class_names, where))
            lines.add(row, number)
    except UnicodeDecodeError as error:
        raise TeacherError(f"{where} is not UTF-8 ({error}).") from None
    if lines is None:
        raise TeacherError(f"{where} has no rows.")
    return lines.build(class_names)


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
    """Converter of parsed lines, block by block."""

    def __init__(self, where: str, columns: Columns):
        self.where, self.columns = where, columns
        self.builder = TableBuilder(where, columns)
        self._rows: list[Mapping[str, Any]] = []
        self._values: list[list[float]] = []
        self._top: list[list[Any]] = []
        self._keys: list[tuple[str, ...]] = []
        self._key_blocks: list[NDArray | tuple[str, ...]] = []

    def add(self, row: Mapping[str, Any], line: int) -> None:
        """Add a line."""
        try:
            self._add(row, line)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise TeacherError(f"{self.where}, line {line}: {reason}.") from None
        if len(self._rows) == BLOCK_ROWS:
            self._flush()

    def _add(self, row: Mapping[str, Any], line: int) -> None:
        columns = self.columns
        names = (columns.id, columns.split, columns.member, columns.label, columns.rest)
        for name in names:
            if name is not None and isinstance(row[name], (dict, list, type(None))):
                raise ValueError(f"{name} should be text or a number")
        self._rows.append(row)
        if columns.is_list:
            self._add_list(row)
        elif columns.values:
            self._values.append([float(row[name]) for name in columns.values])
            if columns.top:
                self._top.append([row[name] for name in columns.top])

    def _add_list(self, row: Mapping[str, Any]) -> None:
        values = row[self.columns.values[0]]
        if isinstance(values, list):
            self._values.append(list(map(float, values)))
            if self.columns.top:
                self._top.append(list(row[self.columns.top[0]]))
            return
        if not isinstance(values, dict):
            raise ValueError(f"{self.columns.values[0]} should be a list or an object")
        self._values.append(list(map(float, values.values())))
        self._add_keys(tuple(values))

    def _add_keys(self, keys: tuple[str, ...]) -> None:
        """Add the classes of an object of values; equal ones share one tuple."""
        is_known = bool(self._keys) and self._keys[-1] == keys
        self._keys.append(self._keys[-1] if is_known else keys)

    def _flush(self) -> None:
        columns, rows = self.columns, self._rows
        if not rows:
            return
        texts = {"ids": columns.id, "splits": columns.split, "members": columns.member}
        for name, column in {**texts, "labels": columns.label}.items():
            if column is not None:
                self.builder.add(name, text_array([row[column] for row in rows]))
        if columns.rest is not None:
            rest = np.array([float(row[columns.rest]) for row in rows], np.float32)
            self.builder.add("rest", rest)
        if self._values:
            self.builder.add("values", self._matrix(self._values, np.float32))
        if self._top:
            self.builder.add("top", self._matrix(self._top, object))
        if self._keys:
            self._key_blocks.append(self._join_keys())
        self._rows, self._values, self._top, self._keys = [], [], [], []

    def _join_keys(self) -> NDArray | tuple[str, ...]:
        """Return the classes of a block: one tuple if all rows have the same."""
        first = self._keys[0]
        if all(keys is first for keys in self._keys):
            return first
        return self._matrix(self._keys, object)

    def _matrix(self, rows: Sequence[Sequence[Any]], dtype: Any) -> NDArray:
        widths = sorted({len(row) for row in rows})
        if len(widths) > 1 or len(rows) != len(self._rows):
            raise TeacherError(
                f"{self.where}: rows have from {widths[0]} to {widths[-1]} values; expected the "
                "same number in each."
            )
        matrix = np.empty((len(rows), widths[0]), dtype)
        matrix[:] = rows
        return matrix

    def build(self, class_names: Sequence[str] | None) -> AnswerTable:
        """Return the table of all lines.

        Args:
            class_names: Classes of the dataset; None if they are unknown.
        """
        self._flush()
        table = self.builder.build()
        if not self._key_blocks:
            return table
        first = self._key_blocks[0]
        is_same = all(isinstance(keys, tuple) and keys == first for keys in self._key_blocks)
        if is_same and (class_names is None or len(first) == len(class_names)):
            return replace(table, classes=tuple(first))
        tops = []
        for start, keys in enumerate(self._key_blocks):
            rows = min(BLOCK_ROWS, len(table) - start * BLOCK_ROWS)
            tops.append(np.tile(np.array(keys, object), (rows, 1)) if _is_row(keys) else keys)
        return replace(table, top=np.concatenate(tops))


def _is_row(keys: NDArray | tuple[str, ...]) -> bool:
    return isinstance(keys, tuple)
