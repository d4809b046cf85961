"""Batches of a user's own loaders: their form, and faults in their values."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from limbeck._base.errors import DataError
from limbeck.data.checks import check_finite
from limbeck.losses.base import UNLABELLED

LABEL_KEYS = ("label", "labels", "target", "targets", "y")
"""Keys under which a batch that is a dictionary may have its labels."""
TYPE_NAMES = {
    torch.float16: "Half",
    torch.bfloat16: "BFloat16",
    torch.float32: "Float",
    torch.float64: "Double",
}
"""Names of types in PyTorch's messages; some messages have those of C++ in lower case."""


def read_pair(batch: object) -> tuple[Tensor, Tensor]:
    """Return the inputs and the labels of a batch.

    Args:
        batch: Pair ``(x, y)`` of tensors, NumPy arrays or lists; or a dictionary of two entries, of
            which one has a key of :data:`LABEL_KEYS`.

    Returns:
        Inputs ``[B, ...]`` and labels, int64 ``[B]`` or ``[B, T]``.

    Raises:
        DataError: If the batch has another form, if it is empty, or if inputs and labels do not
            match.
    """
    inputs, labels = _pair(batch)
    x, y = _as_tensor(inputs, "inputs"), _as_tensor(labels, "labels")
    if y.ndim == 0:
        raise DataError(
            "A batch should have a label for each input, but has a single label. If the loader is "
            "a dataset, wrap it: DataLoader(dataset, batch_size=64)."
        )
    if x.ndim == 0 or len(x) != len(y):
        raise DataError(
            f"A batch should have one label per input, but has inputs of shape {list(x.shape)} and "
            f"labels of shape {list(y.shape)}."
        )
    if len(x) == 0:
        raise DataError("A batch of the loader is empty; expected at least one sample.")
    return x, _class_numbers(x, y)


def match_double(x: Tensor, model: nn.Module) -> Tensor:
    """Convert float64 inputs, NumPy's default, to float32 unless the model has float64 weights."""
    if x.dtype != torch.float64:
        return x
    dtypes = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
    return x if torch.float64 in dtypes or not dtypes else x.float()


def check_labels(y: Tensor, classes: int, name: Callable[[int], str]) -> None:
    """Check that labels are classes of a model, or -100 for no label.

    Args:
        y: Labels, int64 ``[B]`` or ``[B, T]``.
        classes: Number of outputs of the model.
        name: Function that returns the name of a row for messages.

    Raises:
        DataError: If a label is out of range.
    """
    bad = ((y < 0) | (y >= classes)) & (y != UNLABELLED)
    if not bool(bad.any()):
        return
    row = int(bad.flatten(1).any(1).nonzero()[0]) if y.ndim > 1 else int(bad.nonzero()[0])
    raise DataError(
        f"{name(row)} has the label {int(y[bad][0])}, but the model has {classes} outputs for "
        f"labels from 0 to {classes - 1} (or {UNLABELLED} for none). Number the classes from 0, or "
        f"give the model an output for each class."
    )


def dtype_fault(x: Tensor, error: RuntimeError) -> DataError | None:
    """Return the error that explains why a model refuses inputs of a type.

    Args:
        x: Inputs of the model.
        error: Error of the model.

    Returns:
        None if the error is about something else.
    """
    reason = " ".join(str(error).split())
    if x.is_floating_point():
        if "dtype" not in reason or TYPE_NAMES.get(x.dtype, "?").lower() not in reason.lower():
            return None
        return DataError(
            f"The model refuses inputs of {x.dtype} ({reason[:200]}). Inputs and weights should "
            "have the same type: convert the inputs in the loader, or the model with model.float()."
        )
    if not ("type" in reason or "not implemented for" in reason):
        return None
    remedy = "x.float() / 255" if x.dtype == torch.uint8 else "x.float()"
    return DataError(
        f"The model refuses inputs of {x.dtype} ({reason[:200]}). Convert them in the loader, for "
        f"example with {remedy}."
    )


def find_fault(loader: Iterable[Any], *, batches: float, classes: int | None) -> DataError | None:
    """Read a loader in search of values that no model can learn from.

    Args:
        loader: Loader of a training that failed.
        batches: Maximum number of batches to read.
        classes: Number of outputs of the model; None if it is unknown.

    Returns:
        The error that names the first bad sample; None if there is none.
    """
    in_order = _in_order(loader)
    samples = 0
    last = None if batches == math.inf else int(batches)
    try:
        for number, batch in enumerate(itertools.islice(in_order or loader, last)):
            x, y = read_pair(batch)
            name = partial(name_in_batch, number)
            if in_order is not None:
                name = partial(_name_in_dataset, samples)
            check_finite(x, name)
            if classes is not None:
                check_labels(y, classes, name)
            samples += len(x)
    except DataError as error:
        return error
    return None


def name_in_batch(number: int, row: int) -> str:
    """Return the name of a sample for messages, from the number of its batch and its row."""
    return f"Sample {row} of batch {number} of the loader"


def _name_in_dataset(first: int, row: int) -> str:
    return f"Sample {first + row} of the loader's dataset"


def _pair(batch: object) -> tuple[Any, Any]:
    """Split a batch into inputs and labels."""
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    if isinstance(batch, Mapping):
        label_keys = [key for key in batch if key in LABEL_KEYS]
        if len(batch) == 2 and len(label_keys) == 1:
            (input_key,) = batch.keys() - label_keys
            return batch[input_key], batch[label_keys[0]]
        keys = ", ".join(map(str, batch))
        raise DataError(
            f"A batch should be a pair (x, y), got a dictionary with the keys {keys}. A dictionary "
            f"may have one key for the inputs and one of {', '.join(LABEL_KEYS)}. Select them in "
            "the loader's collate_fn."
        )
    if isinstance(batch, (tuple, list)):
        kinds = ", ".join(type(part).__name__ for part in batch)
        raise DataError(
            f"A batch should be a pair (x, y), got a {type(batch).__name__} of {len(batch)} "
            f"({kinds}). Return inputs and labels alone, for example with "
            "collate_fn=lambda samples: default_collate([sample[:2] for sample in samples])."
        )
    raise DataError(f"A batch should be a pair (x, y), got {type(batch).__name__}.")


def _as_tensor(values: object, part: str) -> Tensor:
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"The {part} of a batch should be one tensor or array of numbers, got "
            f"{type(values).__name__} ({reason})."
        ) from None


def _class_numbers(x: Tensor, y: Tensor) -> Tensor:
    """Return labels as int64, without a last dimension of size 1."""
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        remedy = "y.argmax(-1)" if y.ndim > 1 and y.shape[-1] > 1 else "y.long()"
        raise DataError(
            f"The labels of a batch are {y.dtype} of shape {list(y.shape)}; expected class numbers "
            f"as integers [{len(y)}]. Convert them, for example with {remedy}."
        )
    is_text = x.shape == y.shape and not x.is_floating_point()
    if y.ndim == 2 and y.shape[1] == 1 and not is_text:
        y = y[:, 0]
    return y.long()


def _in_order(loader: Any) -> DataLoader[Any] | None:
    """Return a loader that does not shuffle, so that its samples have the numbers of the dataset.

    Returns:
        None unless the loader reads every sample of a dataset with indices.
    """
    if not isinstance(loader, DataLoader) or loader.batch_size is None:
        return None
    if not isinstance(loader.sampler, (RandomSampler, SequentialSampler)):
        return None
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
    )
