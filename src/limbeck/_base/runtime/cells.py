"""Cells of tables: numbers, categories and missing values."""

import functools
import math
import re
import unicodedata
from collections.abc import Callable, Sequence

MISSING_VALUES = ("", "nan", "-nan", "nat", "null", "<na>", "#n/a", "na", "n/a", "none", "?")
"""Cells without a number or a known category, in lower case."""
MAX_FLOAT = (2 - 2**-23) * 2.0**127
"""Largest number of float32."""
MAX_LISTED = 10
"""Largest number of lines, columns or categories that a message lists."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def number_in(cell: str, decimal: str = ".") -> float:
    """Return the number in a cell of a table; NaN if the cell stands for a missing value.

    Args:
        cell: Text of the cell without white space around it.
        decimal: Decimal separator: a full stop, or a comma instead.

    Raises:
        ValueError: If it is something else, or too large for float32.
    """
    text = cell
    if decimal == "," and "." not in cell:  # programs write 1.5 in spite of the separator
        text = cell.replace(",", ".")
    if NUMBER.fullmatch(text):
        value = float(text)
        if abs(value) <= MAX_FLOAT:
            return value
        raise ValueError(f"{_quote(cell)} is too large")
    if cell.lower() in MISSING_VALUES:
        return math.nan
    raise ValueError(f"{_quote(cell)} is not a number")


def category_in(cell: str, categories: Sequence[str], decimal: str = ".") -> float:
    """Return the code of the category in a cell of a table; NaN if its value is missing.

    A whole number may be written as ``3.0``, as programs do if a column lacks values.

    Args:
        cell: Text of the cell without white space around it.
        categories: Categories in the order of their codes.
        decimal: Decimal separator: a full stop, or a comma instead.

    Raises:
        ValueError: If it is another category.
    """
    text = unicodedata.normalize("NFC", cell)
    for form in (cell, text, re.sub(rf"^([+-]?\d+){re.escape(decimal)}0*$", r"\1", text)):
        if form in categories:
            return float(categories.index(form))
    if cell.lower() in MISSING_VALUES:
        return math.nan
    raise ValueError(f"{_quote(cell)} is none of the categories {list_some(categories)}")


def cell_reader(categories: Sequence[str] | None, decimal: str) -> Callable[[str], float]:
    """Return the function that reads the cells of a column."""
    if categories is None:
        return functools.partial(number_in, decimal=decimal)
    codes = {category: float(code) for code, category in enumerate(categories)}

    def read(cell: str) -> float:
        code = codes.get(cell)
        return category_in(cell, categories, decimal) if code is None else code

    return read


def _quote(cell: str) -> str:
    return repr(cell[:40])


def list_some(names: Sequence[str]) -> str:
    """Return a text with some names, and the number of those that are left out."""
    text = "; ".join(names[:MAX_LISTED])
    return text if len(names) <= MAX_LISTED else f"{text}; and {len(names) - MAX_LISTED:,} more"
