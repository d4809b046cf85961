"""Values of a column of a table, as they are read: numbers, or texts of categories."""

import hashlib
import math
import re
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from limbeck._base.errors import DataError
from limbeck._base.runtime.cells import MISSING_VALUES, number_in
from limbeck.data.class_names import natural_sort, normal_name, whole_numbers

MAX_CATEGORIES = 1000
"""Largest number of categories of a column."""
MAX_TEXTS = 10_000
"""Number of different texts of a column from which on all of them have to be numbers."""
MAX_EXAMPLES = 3
"""Largest number of texts that a message names."""
_THOUSANDS = re.compile(
    r"[+-]?\d{1,3}(?:(?:\.\d{3})+,\d+|(?:,\d{3})+\.\d+|(?:\.\d{3}){2,}|(?:,\d{3}){2,})", re.ASCII
)
"""Numbers with thousands separators; a single separator, as in 1,234, may be the decimal one."""


class Codes(NamedTuple):
    """Values of a column of categories.

    Attributes:
        values: Codes, float32 ``[N]``, with NaN for missing values and for categories that no
            training row has.
        categories: Categories in the order of their codes.
        unknown: Categories that no training row has.
    """

    values: np.ndarray
    categories: tuple[str, ...]
    unknown: list[str]


class ColumnValues:
    """Values of a column, in memory that a column of numbers or few texts needs.

    Args:
        name: Name of the column.
        where: File or folder of the table, for messages.
        decimal: Decimal separator of numbers.
        place: Function that returns the place of a row for messages, such as ``line 3``.

    Attributes:
        name: Name of the column.
        is_categorical: Whether the values are categories, to be set when all are read.
    """

    def __init__(self, name: str, where: Path, decimal: str, place: Callable[[int], str]):
        self.name = name
        self.is_categorical = False
        self._where, self._decimal, self._place = where, decimal, place
        self._numbers: dict[str, int] = {}  # of texts, in the order in which they occur
        self._first_rows: list[int] = []
        self._values = array("i")  # numbers of texts
        self._floats: array[float] | None = None  # in place of texts, if there are many

    def __len__(self) -> int:
        return len(self._values if self._floats is None else self._floats)

    def add(self, text: str, row: int) -> None:
        """Add a value.

        Args:
            text: Text of the cell without white space around it.
            row: Number of the row.

        Raises:
            DataError: If it is a text after thousands of different ones.
        """
        if self._floats is not None:
            self._floats.append(self._float(text, row))
            return
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self._numbers)
            self._first_rows.append(row)
        self._values.append(number)
        if number >= MAX_TEXTS:
            pairs = zip(self._numbers, self._first_rows, strict=True)
            floats = [self._float(text, first) for text, first in pairs]
            self._floats = array("f", [floats[number] for number in self._values])
            self._numbers, self._first_rows, self._values = {}, [], array("i")

    def _float(self, text: str, row: int) -> float:
        try:
            return parse_number(text, self._decimal)
        except ValueError as error:
            raise DataError(
                f"{self._where}, {self._place(row)}: column {self.name} has more than "
                f"{MAX_TEXTS:,} different values, so it should contain numbers, but {error}. "
                "Replace such values with empty cells, or leave the column out with "
                f"data.ignore=[{self.name}]."
            ) from None

    @property
    def texts(self) -> list[str]:
        """Different texts, in the order in which they occur; none in a column of many numbers."""
        return list(self._numbers)

    @property
    def is_empty(self) -> bool:
        """Whether no row has a value."""
        return self._floats is None and all(text.lower() in MISSING_VALUES for text in self.texts)

    def other_texts(self) -> list[str]:
        """Return the texts that neither are numbers nor stand for missing values, with a place."""
        texts = []
        for text, row in zip(self._numbers, self._first_rows, strict=True):
            try:
                parse_number(text, self._decimal)
            except ValueError:
                texts.append(f"{text[:40]!r} ({self._place(row)})")
        return texts

    def numbers(self) -> np.ndarray:
        """Return the values of a column of numbers, float32 ``[N]``; NaN for missing ones."""
        if self._floats is not None:
            return np.array(self._floats, np.float32)
        numbers = [parse_number(text, self._decimal) for text in self._numbers]
        return np.array(numbers, np.float32)[np.array(self._values)]

    def keys(self) -> np.ndarray:
        """Return a number for each value, uint64 ``[N]``, equal for values that mean the same.

        It does not depend on the other rows.

        Raises:
            DataError: If there are too many categories.
        """
        if not self.is_categorical:
            return (self.numbers() + np.float32(0)).view(np.uint32).astype(np.uint64)  # no -0
        if self._floats is not None:
            raise self._too_many(f"over {MAX_TEXTS:,}")
        forms = _category_forms(self.texts)
        digests = [hashlib.blake2b(form.encode(), digest_size=8).digest() for form in forms]
        return np.frombuffer(b"".join(digests), "<u8")[np.array(self._values)]

    def _too_many(self, count: str) -> DataError:
        others = self.other_texts()
        example = f", such as {others[0]}" if others else ""
        return DataError(
            f"{self._where}: column {self.name} has {count} categories{example}; at most "
            f"{MAX_CATEGORIES:,} are read. If they are numbers, write them as 1234.5; otherwise "
            f"group the rare ones, or leave the column out with data.ignore=[{self.name}]."
        )

    def codes(self, is_train: np.ndarray) -> Codes:
        """Return the values of a column of categories.

        Args:
            is_train: Whether each row belongs to the training split, bool ``[N]``.

        Raises:
            DataError: If there are too many categories.
        """
        values = np.array(self._values, np.int64)
        forms = _category_forms(self.texts)
        in_training = {forms[number] for number in np.unique(values[is_train]).tolist()} - {""}
        if len(in_training) > MAX_CATEGORIES:
            raise self._too_many(f"{len(in_training):,}")
        if not in_training:
            raise DataError(
                f"{self._where}: column {self.name} has no value in the training split. Leave "
                f"it out with data.ignore=[{self.name}]."
            )
        categories = natural_sort(in_training)
        code_of = {category: code for code, category in enumerate(categories)}
        codes = [code_of.get(form, math.nan) for form in forms]
        unknown = natural_sort(set(forms) - in_training - {""})
        return Codes(np.array(codes, np.float32)[values], tuple(categories), unknown)


def has_thousands(text: str) -> bool:
    """Whether a cell is a number with thousands separators, such as 1.234,5 or 1,234.5."""
    return _THOUSANDS.fullmatch(text) is not None


def parse_number(text: str, decimal: str) -> float:
    """Return the number in a cell; NaN for a missing value.

    It is :func:`limbeck._base.runtime.cells.number_in`, faster for the usual forms.

    Raises:
        ValueError: If it is something else, or too large for float32.
    """
    try:
        number = float(text)
    except ValueError:
        if has_thousands(text):
            raise ValueError(f"{text!r} has thousands separators (write it as 1234.5)") from None
        return number_in(text, decimal)
    return number if abs(number) < 1e38 and "_" not in text else number_in(text, decimal)


def _category_forms(texts: Sequence[str]) -> list[str]:
    """Return the category of each text; empty for a missing value.

    Whole numbers lose the decimals that pandas gives to them, ``3`` for ``3.0``.
    """
    names = {normal_name(text) for text in texts if text}
    missing = {name for name in names if name.lower() in MISSING_VALUES}
    forms = whole_numbers(names - missing)
    return [forms.get(normal_name(text), "") for text in texts]
