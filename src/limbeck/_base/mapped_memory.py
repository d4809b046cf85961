"""Memory-mapped files; large ones stay on the disk: their pages leave the memory after use.

A page of a mapped file is read when it is first used, and counts as memory of the process until it
is released. The system keeps released pages in its own cache while memory is free, so that they are
seldom read from the disk again.
"""

import ctypes
import math
import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from weakref import WeakKeyDictionary

from limbeck._base.errors import ConfigError

SHARE = 0.25
"""Share of the available memory that a mapped file may fill."""
MAX_RESIDENT = 128 << 20
"""Number of bytes of mapped files that may be in memory before they are released."""
_CAN_RELEASE = hasattr(mmap, "MADV_DONTNEED")
_MEMORY = Path("/proc/meminfo")
_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)
"""Files of containers with a limit of memory: the limit, and what is in use."""


class MappedFiles:
    """The mapped files of this process that stay on the disk."""

    def __init__(self) -> None:
        self._addresses: WeakKeyDictionary[mmap.mmap, int] = WeakKeyDictionary()
        self._places: WeakKeyDictionary[mmap.mmap, tuple[int, Path]] = WeakKeyDictionary()
        self._floor = 0

    def map(
        self,
        file: BinaryIO,
        size: int = 0,
        *,
        in_memory: bool | None = None,
        path: Path | None = None,
    ) -> mmap.mmap:
        """Map a file; writing to the map does not change the file.

        Args:
            file: Open file.
            size: Number of bytes; 0 for all.
            in_memory: Whether its pages stay in memory. None to decide by :func:`fits_memory`.
            path: Path of the file, for :meth:`place_of`; None if nothing reads it again.

        Raises:
            OSError: If it cannot be mapped.
            ValueError: If it is empty.
        """
        content = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
        if path is not None:
            self._places[content] = (_address_of(content), path.absolute())
        stays = fits_memory(len(content)) if in_memory is None else in_memory
        if not stays and _CAN_RELEASE:
            self._addresses[content] = _address_of(content)
            self._floor = max(self._floor, _file_pages())
        return content

    def holds(self, address: int) -> bool:
        """Whether an address in memory is that of a file that stays on the disk."""
        maps = list(self._addresses.items())
        return any(start <= address < start + len(content) for content, start in maps)

    def place_of(self, address: int) -> tuple[Path, int] | None:
        """Return the file at an address in memory, and the position in it; None if it is none.

        The values in memory may have been changed since, as those in the file may.
        """
        for content, (start, path) in list(self._places.items()):
            if start <= address < start + len(content):
                return path, address - start
        return None

    def release(self) -> None:
        """Release the pages of the files that stay on the disk, if there are many in memory."""
        if not self._addresses or _file_pages() - self._floor < MAX_RESIDENT:
            return
        for content in list(self._addresses):
            content.madvise(mmap.MADV_DONTNEED)
        self._floor = _file_pages()


MAPPED_FILES = MappedFiles()


def check_in_memory(value: object) -> None:
    """Check the setting that places data in memory or on the disk.

    Raises:
        ConfigError: If it is neither true, false nor null.
    """
    if value is not None and not isinstance(value, bool):
        raise ConfigError(
            f"data.in_memory={value!r} should be true, false, or null to decide by the size."
        )


def fits_memory(size: int) -> bool:
    """Whether a file may stay in memory: it fills at most a quarter of the available memory."""
    return size <= SHARE * available_memory()


def available_memory() -> float:
    """Return the number of bytes that programs can still use; infinite if it is not known."""
    available = math.inf
    with suppress(OSError, ValueError, LookupError):
        lines = dict(line.split(":") for line in _MEMORY.read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) << 10
    for limit, usage in _LIMITS:
        with suppress(OSError, ValueError):  # a limit may be the word "max"
            limit_bytes = int(Path(limit).read_text())
            available = min(available, max(0, limit_bytes - int(Path(usage).read_text())))
    return available


def _address_of(content: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(content))


def _file_pages() -> int:
    """Return the number of bytes of mapped files in the memory of this process; 0 if unknown."""
    with suppress(OSError, ValueError, LookupError):
        pages = int(Path("/proc/self/statm").read_text().split()[2])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0
