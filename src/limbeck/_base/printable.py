"""Text from files, models and users, made harmless before people see it.

A name may contain control characters that move the cursor or colour a terminal, and characters that
turn the direction of the text around it. Every output replaces them by escapes such as ``\\x1b``.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from limbeck._base.runtime.printable import printable

T = TypeVar("T")

MAX_NAME, MAX_TEXT = 200, 2000
"""Largest number of characters of a name on the demo page, and of any text in a report."""

_LINE_BREAK = re.compile(r"\s*[\r\n]\s*")


def printable_lines(text: object, indent: str = "") -> str:
    """Return a text of several lines, with escapes in place of harmful characters.

    Args:
        text: Text with line breaks.
        indent: Start of all lines but the first. With one, a name that contains a line break cannot
            pretend to be a message of its own.
    """
    lines = [printable(line.replace("\t", "    ")) for line in str(text).split("\n")]
    return f"\n{indent}".join(lines)


def path_from_here(path: Path) -> str:
    """Return a path from the working directory if it is inside, else the whole path."""
    path, here = path.absolute(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def cut(text: str, limit: int) -> str:
    """Return a text without its middle if it has more characters than a limit."""
    if len(text) <= limit:
        return text
    tail = limit // 3
    return f"{text[: limit - tail - 1]}\N{HORIZONTAL ELLIPSIS}{text[-tail:]}"


def printable_record(value: T) -> T:
    """Return a copy of a record in which every text is harmless, on one line, and not very long.

    Args:
        value: Record, mapping, list or tuple, with texts at any depth. Other values stay the same.
    """
    result: T = _printable_value(value)
    return result


def _printable_value(value: Any) -> Any:
    if isinstance(value, str):
        return cut(printable(_LINE_BREAK.sub(" ", value)), MAX_TEXT)
    if isinstance(value, Mapping):
        return {_printable_value(key): _printable_value(inner) for key, inner in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_printable_value, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(_printable_value, value))
    if is_dataclass(value) and not isinstance(value, type):
        content = {item.name: getattr(value, item.name) for item in fields(value) if item.init}
        return replace(value, **_printable_value(content))
    return value
