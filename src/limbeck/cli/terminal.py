"""Errors and warnings on the terminal, one message each."""

import errno
import io
import os
import sys
import warnings
from typing import Any

from limbeck._base.errors import LimbeckWarning
from limbeck._base.version import __version__

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk and of an exhausted quota."""

_python_format = warnings.formatwarning


def announce_start() -> None:
    """Print a first line on a terminal, before PyTorch is imported."""
    is_first_process = os.environ.get("LOCAL_RANK", "0") == "0"
    if sys.stderr.isatty() and is_first_process:
        print(f"limbeck {__version__}: loading PyTorch", file=sys.stderr, flush=True)


def fail(message: str, exit_code: int) -> int:
    """Print an error message to standard error and return the exit code."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    console.print(Text("error: ", style="bold red") + Text(message))
    return exit_code


def escape_unencodable_characters() -> None:
    """Print characters that the terminal or file cannot encode as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show_warnings_in_one_line() -> None:
    """Print limbeck's own warnings without the line of code that raised them."""
    warnings.formatwarning = _format_warning


def _format_warning(
    message: Warning | str, category: type[Warning], *location: Any, **line: Any
) -> str:
    if issubclass(category, LimbeckWarning):
        return f"warning: {message}\n"
    return _python_format(message, category, *location, **line)
