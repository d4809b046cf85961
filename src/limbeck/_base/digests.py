"""Digests of files."""

import hashlib
from pathlib import Path

from limbeck._base.runtime.files import GapError, open_file


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
    try:
        with open_file(file) as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except GapError:
        return ""
