"""The standard streams of a process that is started without them, or whose reader goes away."""

import io
import os
import sys
from typing import Any, TextIO


def prepare_standard_streams() -> None:
    """Make sure that the standard streams can be used. Call it first in a process.

    Streams that the caller has closed lead nowhere: without them, the next file that is opened
    would take their place, and messages of libraries would be written into it. Writing to standard
    error never fails, so a full disk or a closed pipe behind the messages ends no training.
    """
    _open_closed_descriptors()
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = _writer(io.FileIO(1, "w", closefd=False))
    sys.stderr = _writer(_LenientFile(2, "w", closefd=False), like=sys.stderr)


class _LenientFile(io.FileIO):
    """File whose content may get lost."""

    def write(self, content: Any) -> int:
        """Write bytes, or drop them if that fails."""
        try:
            return super().write(content) or memoryview(content).nbytes
        except OSError:
            return memoryview(content).nbytes


def _open_closed_descriptors() -> None:
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number, and so the missing one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _writer(file: io.FileIO, like: TextIO | None = None) -> TextIO:
    encoding = like.encoding if like is not None else "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(file), encoding, errors="backslashreplace", line_buffering=True
    )
