"""Files of checkpoints: what ``torch.save`` writes, followed by a digest of it."""

import hashlib
import pickle
from pathlib import Path
from typing import IO, Any, cast

import torch

from limbeck._base.errors import first_line
from limbeck._base.files import open_atomically
from limbeck._base.runtime.files import open_file

LOAD_ERRORS = (
    pickle.UnpicklingError,
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)
"""Errors of ``torch.load`` and ``load_state_dict`` for content that is damaged or does not fit."""
_DIGEST_LENGTH = 64


class UnusableError(Exception):
    """A checkpoint cannot be used; the message is a predicate, such as ``is damaged``."""


def write_checkpoint(file: Path, content: dict[str, Any]) -> None:
    """Write a file of ``torch.save``, followed by the SHA-256 of its bytes.

    Raises:
        OSError: If it cannot be written.
    """
    with open_atomically(file) as output:
        stream = _HashingStream(output)
        try:
            torch.save(content, cast(IO[bytes], stream))
        except RuntimeError:
            if stream.error is not None:  # which PyTorch hides
                raise stream.error from None
            raise
        output.write(stream.digest.hexdigest().encode())


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Read a file of :func:`write_checkpoint` into CPU memory, without running code in it.

    Raises:
        UnusableError: If it is damaged.
    """
    try:
        with open_file(file) as stream:
            remaining = file.stat().st_size - _DIGEST_LENGTH
            digest = hashlib.sha256()
            while remaining > 0:
                chunk = stream.read(min(remaining, 1 << 20))
                digest.update(chunk)
                remaining -= len(chunk) or remaining  # the file may have been cut short meanwhile
            if stream.read() != digest.hexdigest().encode():
                raise UnusableError("is damaged (its checksum is wrong)")
        content = torch.load(file, map_location="cpu", weights_only=True)
    except LOAD_ERRORS as error:
        raise UnusableError(f"cannot be read ({first_line(error)})") from None
    if not isinstance(content, dict):
        raise UnusableError("holds no checkpoint")
    return content


class _HashingStream:
    """A stream that computes the SHA-256 of what is written to it, and remembers an error."""

    def __init__(self, file: IO[bytes]):
        self.file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write bytes to the file."""
        self.digest.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Do nothing: the file is flushed when it is closed."""
