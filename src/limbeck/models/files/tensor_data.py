"""Tensors of a file of ``torch.save``, created from the bytes of their storages."""

from collections.abc import Sequence

import torch
from torch import Tensor

STORAGE_DTYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
    "torch.ComplexFloatStorage": torch.complex64,
    "torch.ComplexDoubleStorage": torch.complex128,
    "torch.storage.UntypedStorage": torch.uint8,
}
"""Types of the values of a storage, by its name in files."""
DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}
"""Types of numbers by their name in files, such as ``torch.float16``."""
TENSOR_FUNCTIONS = (
    "_rebuild_tensor",
    "_rebuild_tensor_v2",
    "_rebuild_tensor_v3",
    "_rebuild_parameter",
    "_rebuild_parameter_with_state",
    "_rebuild_from_type_v2",
    "_rebuild_device_tensor_from_cpu_tensor",
)
"""Names by which files say that a tensor follows, with a storage or a tensor as first argument."""


def values_of(content: bytes, dtype: torch.dtype | None) -> Tensor | None:
    """Return the values of a storage, ``[N]``; None without a type."""
    if dtype is None:
        return None
    if not content:
        return torch.empty(0, dtype=dtype)
    return torch.frombuffer(bytearray(content), dtype=dtype)


def rebuild_tensor(
    values: Tensor | None,
    offset: int,
    shape: Sequence[int],
    strides: Sequence[int],
    *,
    dtype: torch.dtype | None = None,
) -> Tensor | None:
    """Return a view of the values of a storage.

    Args:
        values: Values of the storage; None for a kind that is not read.
        offset: Index of the first value.
        shape: Shape of the tensor.
        strides: Number of values between neighbours in each dimension.
        dtype: Type of the tensor if the storage has none.

    Raises:
        ValueError: If the tensor is larger than its storage.
    """
    if values is None:
        return None
    if dtype is not None:
        values = values.view(dtype)
    steps = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    is_empty = 0 in shape
    if min(offset, *shape, *strides, 0) < 0 or (
        not is_empty and offset + sum(steps) >= len(values)
    ):
        raise ValueError("a tensor is larger than its storage")
    return values.as_strided(tuple(shape), tuple(strides), offset)
