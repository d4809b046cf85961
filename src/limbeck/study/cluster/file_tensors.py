"""Samples on the disk, which a worker reads itself instead of receiving them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from limbeck._base.errors import ResourceError
from limbeck._base.mapped_memory import MAPPED_FILES
from limbeck._base.runtime.files import open_file


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
            reason = getattr(error, "strerror", None) or str(error)
            raise UnreadableSamplesError(
                f"A worker of the cluster cannot read {self.file} ({reason})."
            ) from None
        if size != len(content) or hashlib.sha256(content).hexdigest() != self.sha256:
            raise UnreadableSamplesError(
                f"A worker of the cluster reads other samples in {self.file} than this machine."
            )
        return torch.frombuffer(content, dtype=self.dtype).as_strided(self.shape, self.strides)


def _length(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Number of values from the first to the last one of a tensor that is not empty."""
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
