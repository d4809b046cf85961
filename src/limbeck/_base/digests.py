"""Digests of files."""

import hashlib
from pathlib import Path


def file_digest(file: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is a pipe or device.
    """
    from limbeck._base.bundle_runtime import open_file

    with open_file(file) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
