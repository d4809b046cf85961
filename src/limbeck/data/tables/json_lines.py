"""JSON lines: one object per line, or a single list of objects."""

import io
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from limbeck._base.errors import DataError
from limbeck._base.reading import parse_json
from limbeck._base.runtime.files import open_file

MAX_LINE = 64 << 20
"""Largest number of characters of a line."""
FIRST_ROWS = 100
"""Number of objects whose keys are the columns."""


class JsonLinesTable:
    """A file of JSON objects as a table of texts.

    Args:
        file: Path of the file.
        lists: Keys whose values may be lists, which are texts in JSON then.

    Attributes:
        file: Path of the file.
        columns: Keys of the first objects.
        class_names: Names of classes by column; there are none.
        unit: Word for a row in messages.
        decimal: Decimal separator of numbers.

    Raises:
        DataError: If it cannot be read, or contains something else.
    """

    unit = "line"
    decimal = "."

    def __init__(self, file: Path, lists: Collection[str] = ()):
        self.file = file
        self._lists = frozenset(lists)
        self.class_names: dict[str, list[str]] = {}
        keys: dict[str, None] = {}
        with self._open() as content:
            for count, (_, row) in enumerate(self._objects(content)):
                keys |= dict.fromkeys(row)
                if count == FIRST_ROWS:
                    break
        self.columns = list(keys)

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield the number of each line, and the values of some keys as texts.

        Objects without any value of these keys are left out.

        Args:
            names: Keys.

        Raises:
            DataError: If the file is damaged, or a value is a list or an object.
        """
        with self._open() as content:
            for number, row in self._objects(content):
                values = tuple([self._text(row.get(name), name, number) for name in names])
                if any(values):
                    yield number, values

    def _text(self, value: Any, name: str, number: int) -> str:
        if isinstance(value, list) and name in self._lists:
            return json.dumps(value, ensure_ascii=False)
        if isinstance(value, (list, dict)):
            kind = "a list" if isinstance(value, list) else "an object"
            raise DataError(
                f"{self.file}, line {number}: {name} is {kind}; expected text or a number."
            )
        return "" if value is None or value != value else str(value).strip()

    @contextmanager
    def _open(self) -> Iterator[TextIO]:
        """Open the file as text, and turn errors of reading it into one message."""
        try:
            with open_file(self.file) as stream, io.TextIOWrapper(stream, "utf-8-sig") as content:
                yield content
        except OSError as error:
            raise DataError(f"{self.file} cannot be read ({error.strerror}).") from None
        except UnicodeError as error:
            raise DataError(f"{self.file} is not JSON in UTF-8 ({error}).") from None
        except ValueError as error:
            raise DataError(f"{self.file} cannot be read ({error}).") from None

    def _objects(self, content: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the number of each line and its object; of a list the number of the object."""
        number = 0
        while line := content.readline(MAX_LINE):
            number += 1
            if number == 1 and line.lstrip().startswith("["):
                rows = self._parse(line + content.read(MAX_LINE), number)
                for position, row in enumerate(rows, 1):
                    yield position, self._check(row, position)
                return
            if line.strip():
                yield number, self._check(self._parse(line, number), number)

    def _parse(self, text: str, number: int) -> Any:
        try:
            return parse_json(text)
        except ValueError as error:
            raise DataError(f"{self.file}, line {number} is not valid JSON ({error}).") from None

    def _check(self, row: Any, number: int) -> dict[str, Any]:
        if not isinstance(row, dict):
            raise DataError(
                f'{self.file}, line {number} should be an object, such as {{"text": "a book", '
                '"label": "good"}.'
            )
        return row
