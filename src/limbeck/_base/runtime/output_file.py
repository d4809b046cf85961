"""The file of a table, which appears only when it is complete."""

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from .errors import RuntimeFailure

LEFTOVER_SECONDS = 2.0
"""Age at which the temporary file of a process that has ended is removed."""


@contextlib.contextmanager
def open_output(file: Path | None, inputs: Sequence[str | Path]) -> Iterator[TextIO]:
    """Open standard output, or a file that appears only when it is complete."""
    if file is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    if any(is_same_file(Path(path), file) for path in inputs):
        raise RuntimeFailure(f"--out {file} is one of the files to classify. Choose another file.")
    if not file.parent.is_dir():
        raise RuntimeFailure(f"--out {file}: the folder {file.parent} does not exist.")
    temporary, flags = file, os.O_WRONLY  # a device or a pipe cannot be replaced
    if file.is_file() or not file.exists():
        _remove_leftovers(file)
        temporary = file.with_name(f".{file.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
        flags |= os.O_CREAT | os.O_EXCL  # an existing file or link would be another user's
    try:
        handle = os.open(temporary, flags, 0o666)
        with open(handle, "w", encoding="utf-8", newline="", errors="backslashreplace") as out:
            yield out
            if temporary != file:
                out.flush()
                os.fsync(handle)
        if temporary != file:
            os.replace(temporary, file)
    finally:
        if temporary != file:
            temporary.unlink(missing_ok=True)


def is_same_file(file: Path, other: Path | None) -> bool:
    """Whether two paths lead to the same file, which exists."""
    return other is not None and file.exists() and other.exists() and file.samefile(other)


def _remove_leftovers(file: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote a table.

    A recent one may belong to a process on another machine that shares the folder.
    """
    if os.name != "posix":  # elsewhere nothing tells whether a process runs
        return
    name = re.compile(rf"\.{re.escape(file.name)}\.([1-9][0-9]{{0,8}})-[0-9a-f]{{8}}\.tmp")
    with contextlib.suppress(OSError):
        for path in file.parent.iterdir():
            match = name.fullmatch(path.name)
            if match and time.time() - path.lstat().st_mtime > LEFTOVER_SECONDS:
                try:
                    os.kill(int(match[1]), 0)
                except ProcessLookupError:
                    path.unlink(missing_ok=True)
                except PermissionError:
                    pass  # it runs, as another user
