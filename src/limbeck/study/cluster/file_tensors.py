"""Samples on the disk, which a worker reads itself instead of receiving them.

A worker reads the samples of a block as a whole. A training sees its samples again and again in
random order, so its worker maps the file, as this machine does.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limbeck._base.errors import ResourceError
from limbeck._base.mapped_memory import MAPPED_FILES
from limbeck._base.runtime.files import open_file

PROBES, PROBE_BYTES = 64, 1 << 12
"""Number of places at which a mapped file is compared with that of the study, and their size."""


class UnreadableSamplesError(ResourceError):
    """A worker cannot read the file of the samples, or finds other samples in it."""


@dataclass(frozen=True)
class FileTensor:
    """A part of a memory-mapped file, read where it is needed.

    Attributes:
        file: Absolute path of the file.
        offset: Position of the first byte in the file.
        shape: Shape of the tensor.
        strides: Steps between its values, in values.
        dtype: Type of the tensor.
        sha256: Digest of the bytes from its first value to its last one.
    """

    file: Path
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype
    sha256: str

    @classmethod
    def of(cls, tensor: Tensor) -> "FileTensor | None":
        """Describe a tensor in a memory-mapped file; None for other tensors."""
        place = MAPPED_FILES.place_of(tensor.data_ptr()) if tensor.device.type == "cpu" else None
        if place is None or not tensor.numel():
            return None
        file, offset = place
        shape, strides = tuple(tensor.shape), tensor.stride()
        values = tensor.as_strided((_length(shape, strides),), (1,), tensor.storage_offset())
        digest = hashlib.sha256(values.view(torch.uint8).numpy().data).hexdigest()
        return cls(file, offset, shape, strides, tensor.dtype, digest)

    def tensor(self) -> Tensor:
        """Read the tensor.

        Raises:
            UnreadableSamplesError: If the file cannot be read on this machine, or differs.
        """
        content = bytearray(_length(self.shape, self.strides) * self.dtype.itemsize)
        try:
            with open_file(self.file) as stream:
                stream.seek(self.offset)
                size = stream.readinto(content)
        except (OSError, ValueError) as error:
            raise _unreadable(self.file, error) from None
        if size != len(content) or hashlib.sha256(content).hexdigest() != self.sha256:
            raise _different(self.file)
        return torch.frombuffer(content, dtype=self.dtype).as_strided(self.shape, self.strides)


@dataclass(frozen=True)
class MappedTensor:
    """A tensor in a file that stays on the disk: its worker maps the file, too.

    Attributes:
        file: Absolute path of the file.
        size: Size of the file in bytes.
        offset: Position of the first byte in the file.
        shape: Shape of the tensor.
        strides: Steps between its values, in values.
        dtype: Type of the tensor.
        sha256: Digest of the bytes at :data:`PROBES` places, from the first value to the last one.
    """

    file: Path
    size: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype
    sha256: str

    @classmethod
    def of(cls, tensor: Tensor) -> "MappedTensor | None":
        """Describe a tensor in a file that stays on the disk; None for other tensors."""
        if tensor.device.type != "cpu" or not tensor.numel():
            return None
        address = tensor.data_ptr()
        place = MAPPED_FILES.place_of(address) if MAPPED_FILES.holds(address) else None
        if place is None:
            return None
        file, offset = place
        try:
            size = file.stat().st_size
        except OSError:  # the file is gone, and its pages are still mapped
            return None
        shape, strides = tuple(tensor.shape), tensor.stride()
        values = tensor.as_strided((_length(shape, strides),), (1,), tensor.storage_offset())
        digest = _probe(values.view(torch.uint8).numpy())
        return cls(file, size, offset, shape, strides, tensor.dtype, digest)

    def tensor(self) -> Tensor:
        """Map the tensor.

        Raises:
            UnreadableSamplesError: If the file cannot be read on this machine, or differs.
        """
        try:
            with open_file(self.file) as stream:
                content = MAPPED_FILES.map(stream, in_memory=False, path=self.file)
        except (OSError, ValueError) as error:
            raise _unreadable(self.file, error) from None
        size = _length(self.shape, self.strides) * self.dtype.itemsize
        if len(content) != self.size or self.offset + size > self.size:
            raise _different(self.file)
        values = np.frombuffer(content, np.uint8, size, self.offset)
        if _probe(values) != self.sha256:
            raise _different(self.file)
        return torch.from_numpy(values).view(self.dtype).as_strided(self.shape, self.strides)


def _probe(values: np.ndarray) -> str:
    """Digest of some of the bytes, spread evenly from the first to the last one."""
    digest = hashlib.sha256()
    last = max(0, len(values) - PROBE_BYTES)
    for number in range(PROBES):
        start = last * number // (PROBES - 1)
        digest.update(values[start : start + PROBE_BYTES].data)
    MAPPED_FILES.release()
    return digest.hexdigest()


def _unreadable(file: Path, error: Exception) -> UnreadableSamplesError:
    reason = getattr(error, "strerror", None) or str(error)
    return UnreadableSamplesError(f"A worker of the cluster cannot read {file} ({reason}).")


def _different(file: Path) -> UnreadableSamplesError:
    return UnreadableSamplesError(
        f"A worker of the cluster reads other samples in {file} than this machine."
    )


def _length(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Number of values from the first to the last one of a tensor that is not empty."""
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
