"""The idx format of MNIST's files.

A file holds two zero bytes, the type (8 for unsigned bytes), the number of dimensions, each size as
a big-endian 32-bit integer, and the data (LeCun, Cortes and Burges, "The MNIST database of
handwritten digits").
"""

import zlib
from gzip import BadGzipFile
from pathlib import Path

import numpy as np

from limbeck._base.errors import DataError
from limbeck._base.reading import decompress, read_bytes

MAX_BYTES = 1 << 30
"""Largest size of a file; MNIST's largest one has 47 million bytes."""


def read_idx(file: Path, *, dimensions: int) -> np.ndarray:
    """Read an idx file of unsigned bytes.

    Args:
        file: Path of the file, gzipped or not, as detected from its content.
        dimensions: Number of dimensions that the file should have.

    Returns:
        uint8 array with ``dimensions`` axes.

    Raises:
        DataError: If the file cannot be read, is damaged or has another format.
    """
    content = _read(file)
    header = 4 + 4 * dimensions
    magic = bytes([0, 0, 8, dimensions])
    if content[:4] != magic:
        axes = "dimension" if dimensions == 1 else "dimensions"
        raise DataError(
            f"{file} is not the expected idx file: it begins with "
            f"{content[:4].hex(' ') or 'nothing'}, but unsigned bytes in {dimensions} {axes} begin "
            f"with {magic.hex(' ')}."
        )
    if len(content) < header:
        raise DataError(
            f"{file} is damaged: it ends within its header of {header} bytes. Download it again."
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4))
    expected = int(np.prod(shape, dtype=object))
    size = len(content) - header
    if size != expected:
        raise DataError(
            f"{file} is damaged: its header specifies {' x '.join(map(str, shape))} = {expected} "
            f"bytes, but {size} follow. Download it again."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def _read(file: Path) -> bytes:
    try:
        content = read_bytes(file, MAX_BYTES)
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise DataError(f"{file} is not an idx file: {error}.") from None
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return decompress(content)
    except (EOFError, zlib.error, BadGzipFile) as error:
        raise DataError(f"{file} is damaged ({error}). Download it again.") from None
    except ValueError as error:
        raise DataError(f"{file} is not an idx file: {error}.") from None
