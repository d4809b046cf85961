"""Helpers of all disk caches: folders, keys, locks and free space.

A cache entry is computed once, and its name is a digest of everything that determines it. The
teacher's answers (:mod:`limbeck.store`), decoded images and tokens are such caches.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from limbeck._base.errors import ResourceError

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class CacheKind:
    """A kind of cache, and where it is on the disk.

    Attributes:
        name: Name of its folder in the user's cache folder, ``~/.cache/limbeck``.
        variable: Environment variable for another folder.
        subfolder: Subfolder of the folder in the variable.
    """

    name: str
    variable: str
    subfolder: str = ""

    @property
    def default_folder(self) -> Path:
        """The folder in the environment variable, or one in the user's cache folder.

        Raises:
            ResourceError: If there is neither a variable nor a home folder.
        """
        folder = os.environ.get(self.variable)
        if folder:
            return Path(folder).expanduser() / self.subfolder
        cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
        if cache.is_absolute():
            return cache / "limbeck" / self.name
        try:
            return Path.home() / ".cache" / "limbeck" / self.name
        except RuntimeError:
            raise ResourceError(
                f"There is no home folder for the cache ({self.name}). Set {self.variable}=DIR."
            ) from None


ANSWERS = CacheKind("store", "LIMBECK_STORE")
IMAGES = CacheKind("images", "LIMBECK_CACHE")
TOKENS = CacheKind("tokens", "LIMBECK_CACHE", "tokens")


def key_of(description: str) -> str:
    """Return the key of a cache entry: 32 hexadecimal digits of the SHA-256 of a description."""
    return hashlib.sha256(description.encode()).hexdigest()[:32]


@contextmanager
def hold_lock(path: Path, on_wait: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the lock of a cache entry, so that one process at a time writes it.

    Args:
        path: Path of the entry; the lock file next to it ends in ``.lock``.
        on_wait: Function to call once if another process holds the lock.
    """
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def read_or_write(
    path: Path, read: Callable[[], Entry | None], write: Callable[[], object]
) -> Entry:
    """Read a cache entry, after one process has written it if necessary.

    Args:
        path: Path of the entry. Missing folders are created with access for the owner only, since
            the content may be private.
        read: Function that returns the content, or None if the entry is missing or damaged.
        write: Function that computes the content and writes it.

    Raises:
        OSError: If the folder cannot be written to, or the entry cannot be read back.
    """
    entry = read()
    if entry is None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with hold_lock(path):
            entry = read()  # another process may have written it meanwhile
            if entry is None:
                write()
                entry = read()
    if entry is None:
        raise OSError(errno.EIO, "it cannot be read back", str(path))
    return entry


def lacks_space(folder: Path, size: int) -> bool:
    """Whether a disk has less than ``size`` bytes free; false if the file system cannot tell."""
    usage = shutil.disk_usage(folder)
    return usage.total > 0 and usage.free < size
