"""Folders for temporary files in the system's temporary folder."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "limbeck-"
LOCK = ".lock"
_MIN_AGE = 60.0
"""Age in seconds from which a folder without a process counts as left; its lock is taken before."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create a folder for temporary files that is removed at the end of the block.

    Folders of processes that were killed are removed, too: nobody holds their lock.
    """
    _remove_leftovers(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, ExitStack() as stack:
        with suppress(OSError, NotImplementedError):  # a file system without locks
            stack.enter_context(FileLock(Path(name) / LOCK))
        yield Path(name)


def _remove_leftovers(parent: Path) -> None:
    with suppress(OSError):
        for path in parent.glob(f"{PREFIX}*"):
            with suppress(OSError, Timeout, NotImplementedError):
                if _is_old(path):
                    with FileLock(path / LOCK, timeout=0):
                        shutil.rmtree(path, ignore_errors=True)


def _is_old(path: Path) -> bool:
    """Whether a folder of this user is old enough to have been left; links are not followed."""
    lock = (path / LOCK).lstat()
    status = path.lstat()
    is_ours = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    is_locked_folder = stat.S_ISDIR(status.st_mode) and stat.S_ISREG(lock.st_mode)
    return is_ours and is_locked_folder and time.time() - lock.st_mtime > _MIN_AGE
