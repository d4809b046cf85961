"""Files that others may have written, opened within limits of their size."""

import io
import os
import stat
import zipfile
from pathlib import Path

MAX_GAPS = 1 << 30
"""Largest size of the parts of a file that are not on the disk, in bytes."""
MAX_TEXT_BYTES = 4 << 20
"""Largest size of a file of text, and of any file in a zip file whose ratio is not checked."""
MAX_RATIO = 200
"""Largest ratio of a file's size to its compressed size in a zip file."""


class GapError(ValueError):
    """A file claims to be much larger than what is on the disk."""


def open_file(path: Path, *, allow_gaps: bool = False) -> io.BufferedReader:
    """Open a file for reading, but no pipe or device, from which a read may wait forever.

    A small file can claim terabytes that are not on the disk, and take as long to read.

    Args:
        path: Path of the file.
        allow_gaps: Whether the file may have large gaps, because it is not read from end to end.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is not a file, or has large gaps.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    stream = open(path, "rb", opener=opener)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise ValueError("neither a file nor a folder")
    if not allow_gaps and _has_large_gaps(stream.fileno()):
        stream.close()
        raise GapError("most of it is a gap that is not on the disk")
    return stream


def _has_large_gaps(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    blocks = getattr(status, "st_blocks", None)
    if blocks is None or status.st_size - 512 * blocks <= MAX_GAPS:
        return False
    # Some network file systems count no blocks. They report no gap either.
    first_gap = os.lseek(descriptor, 0, os.SEEK_HOLE)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return first_gap < status.st_size


def check_archive(archive: zipfile.ZipFile, max_bytes: int, max_ratio: int = MAX_RATIO) -> None:
    """Check the sizes of the files in a zip file before they are read.

    Args:
        archive: Open zip file.
        max_bytes: Largest size of all files together.
        max_ratio: Largest ratio of the size of a file above 4 MiB to its compressed size.

    Raises:
        ValueError: If the files are too large.
    """
    total = 0
    for entry in archive.infolist():
        total += entry.file_size
        ratio_is_high = entry.file_size > max_ratio * entry.compress_size
        if ratio_is_high and entry.file_size > MAX_TEXT_BYTES:
            raise ValueError(f"{entry.filename} in it unpacks to {entry.file_size:,} bytes")
    if total > max_bytes:
        raise ValueError(f"it unpacks to {total:,} bytes; at most {max_bytes:,} are read")
