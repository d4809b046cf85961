"""Errors, warnings and results on the terminal, without the control characters of names."""

import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from limbeck._base.addresses import with_addresses
from limbeck._base.errors import LimbeckWarning
from limbeck._base.peers import is_first
from limbeck._base.printable import printable_lines
from limbeck._base.version import __version__

_python_format = warnings.formatwarning


def announce_start() -> None:
    """Print a first line on a terminal, before PyTorch is imported."""
    if sys.stderr.isatty() and is_first():
        print(f"limbeck {__version__}: loading PyTorch", file=sys.stderr, flush=True)


def say(text: object) -> None:
    """Print a text of one or more lines to standard output."""
    print(_display_text(text), flush=True)


def text_table(rows: Sequence[Sequence[str]], *, names: int) -> str:
    """Align the columns of a table.

    Args:
        rows: Heading and rows.
        names: Number of columns on the left that hold names; the others are right-aligned.
    """
    from rich.cells import cell_len  # some letters are two columns wide

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            room = " " * (width - cell_len(cell))
            cells.append(cell + room if number < names else room + cell)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def note(text: object) -> None:
    """Print a remark to standard error, apart from the results."""
    print(_display_text(text), file=sys.stderr)


def _display_text(text: object, indent: str = "") -> str:
    """Return a text for people: with addresses, and without control characters."""
    return printable_lines(with_addresses(str(text)), indent)


def fail(message: str, exit_code: int) -> int:
    """Print an error message to standard error and return the exit code."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    console.print(Text("error: ", style="bold red") + Text(_display_text(message, indent="  ")))
    return exit_code


def ignore_empty_size() -> None:
    """Forget a terminal's size of 0, which terminals without a size export: nothing would fit."""
    for name in ("COLUMNS", "LINES"):
        if os.environ.get(name, "").strip("0") == "":
            os.environ.pop(name, None)


def escape_unencodable_characters() -> None:
    """Print characters that the terminal or file cannot encode as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show_warnings_in_one_line() -> None:
    """Print limbeck's own warnings without the line of code that raised them, and only once.

    Of processes that train together, the first one prints them.
    """
    warnings.formatwarning = _format_warning
    if not is_first():
        warnings.simplefilter("ignore", LimbeckWarning)


def _format_warning(
    message: Warning | str, category: type[Warning], *location: Any, **line: Any
) -> str:
    if issubclass(category, LimbeckWarning):
        return f"warning: {_display_text(message, indent='  ')}\n"
    return _python_format(message, category, *location, **line)
