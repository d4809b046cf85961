"""Conversion of trainings to bytes, without the large tensors that many trainings share.

A study sends each of its trainings to another process. Samples and stored answers are the same in
all of them, so they are sent once to each machine, where the processes read them from shared
memory.
"""

import io
import pickle
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

MIN_SHARED_BYTES = 1 << 16
"""Size from which a tensor is shared, or the memory of which it is a part: pickled, that would go
with it.
"""
_BITS = {torch.bfloat16: torch.int16}
"""Types that NumPy lacks, and the type of the same size that stands for them."""


class PackedTensor(Protocol):
    """A tensor that another process has sent, or says where to read."""

    def tensor(self) -> Tensor:
        """Return the tensor."""


@dataclass(frozen=True)
class SharedTensor:
    """A tensor as an array, which Ray passes between processes without copying.

    Attributes:
        values: Values, possibly the bits of a type that NumPy lacks.
        dtype: Type of the tensor.
        is_parameter: Whether it is a frozen parameter of a model.
    """

    values: np.ndarray
    dtype: torch.dtype
    is_parameter: bool

    @classmethod
    def of(cls, tensor: Tensor) -> "SharedTensor":
        """Convert a tensor without gradient."""
        values = tensor.detach().cpu()
        bits = _BITS.get(values.dtype)
        array = (values if bits is None else values.view(bits)).numpy()
        return cls(array, tensor.dtype, isinstance(tensor, nn.Parameter))

    def tensor(self) -> Tensor:
        """Return the tensor. Its memory may be shared, so it must not be changed."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable")
            values = torch.from_numpy(self.values)
        if self.dtype in _BITS:
            values = values.view(self.dtype)
        return nn.Parameter(values, requires_grad=False) if self.is_parameter else values


def pack(
    content: object, pickler: type[pickle.Pickler], *, changing: Iterable[Tensor] = ()
) -> tuple[bytes, list[Tensor]]:
    """Convert an object to bytes.

    Args:
        content: Object to convert.
        changing: Tensors that training changes, such as weights; they are never shared.
        pickler: Class that pickles the other objects, such as ``ray.cloudpickle.Pickler``, which
            also takes functions and classes of the main program.

    Returns:
        Bytes for :func:`unpack`, and the large tensors that they refer to.
    """
    tensors: list[Tensor] = []
    numbers: dict[int, int] = {}
    copied = {_address(tensor) for tensor in changing}

    class Packer(pickler):  # type: ignore[misc, valid-type]
        """A pickler that leaves out large tensors."""

        def persistent_id(self, item: object) -> int | None:
            """Return the number of a large tensor; None for other objects."""
            if not isinstance(item, Tensor) or not _can_share(item) or _address(item) in copied:
                return None
            if id(item) not in numbers:
                numbers[id(item)] = len(tensors)
                tensors.append(item)
            return numbers[id(item)]

    stream = io.BytesIO()
    Packer(stream, protocol=pickle.HIGHEST_PROTOCOL).dump(content)
    return stream.getvalue(), tensors


def unpack(content: bytes, shared: Sequence[PackedTensor]) -> Any:
    """Convert bytes of :func:`pack` back to the object.

    Args:
        content: Bytes from another process of the same study. They can run code.
        shared: The large tensors, in their order.
    """
    tensors = [item.tensor() for item in shared]

    class Unpacker(pickle.Unpickler):
        """An unpickler that inserts the large tensors."""

        def persistent_load(self, number: int) -> Tensor:
            """Return the tensor of a number."""
            return tensors[number]

    return Unpacker(io.BytesIO(content)).load()


def _address(tensor: Tensor) -> int:
    """Address of the memory of a tensor; views of a tensor have the same."""
    return tensor.untyped_storage().data_ptr()


def _can_share(tensor: Tensor) -> bool:
    is_plain = type(tensor) in (Tensor, nn.Parameter) and not tensor.requires_grad
    if not is_plain or tensor.layout != torch.strided:
        return False
    return max(tensor.nbytes, tensor.untyped_storage().nbytes()) >= MIN_SHARED_BYTES
