"""Text for terminals, spreadsheets and JSON, without harmful characters."""

import json
import re
from typing import Any

from .cells import NUMBER

_HARMFUL = re.compile(
    "["
    "\\x00-\\x1f\\x7f-\\x9f"  # control characters, with the escapes of terminals
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of the text
    "\u2028\u2029"  # ends of lines and paragraphs
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # invisible marks
    "\ud800-\udfff"  # bytes of file names that are not UTF-8
    "]"
)
_FORMULA = re.compile(r"[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""Beginnings of a formula in spreadsheets; the last four are their full-width forms."""


def printable(text: object) -> str:
    """Return a text on one line, with escapes such as ``\\x1b`` in place of harmful characters."""
    return _HARMFUL.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def csv_cell(text: str) -> str:
    """Return a cell of a CSV file that spreadsheets show as text, or as a number.

    A name such as ``=1+1.png`` would be computed as a formula, so an apostrophe is put before it.
    """
    text = printable(text)
    is_formula = _FORMULA.match(text) is not None and NUMBER.fullmatch(text) is None
    return f"'{text}" if is_formula else text


def json_line(row: dict[str, Any]) -> str:
    """Return a JSON object on one line, with escapes that JSON readers turn back."""
    return _HARMFUL.sub(_json_escape, json.dumps(row, ensure_ascii=False))


def _json_escape(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]
