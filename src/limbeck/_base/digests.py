"""Digests of files."""

import hashlib
import io
import os
from pathlib import Path

MAX_GAPS = 1 << 30
"""Largest size of the parts of a file that are not on the disk, in bytes."""


def file_digest(file: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal.

    A file can claim terabytes that are not on the disk. limbeck writes no such file, so its digest
    is not computed.

    Returns:
        The digest; an empty text, which differs from every digest, for a file with large gaps.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is a pipe or device.
    """
    from limbeck._base.bundle_runtime import open_file

    with open_file(file) as content:
        if _has_large_gaps(content):
            return ""
        return hashlib.file_digest(content, "sha256").hexdigest()


def _has_large_gaps(file: io.BufferedReader) -> bool:
    status = os.fstat(file.fileno())
    blocks = getattr(status, "st_blocks", None)
    if blocks is None or status.st_size - 512 * blocks <= MAX_GAPS:
        return False
    # Some network file systems count no blocks. They report no gap either.
    first_gap = os.lseek(file.fileno(), 0, os.SEEK_HOLE)
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return first_gap < status.st_size
