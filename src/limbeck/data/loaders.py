"""Faults in the values of a user's own loaders."""

import itertools
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from limbeck._base.errors import DataError
from limbeck.data.batch_reader import BatchReader
from limbeck.data.checks import check_finite
from limbeck.data.inputs import tensors_of
from limbeck.losses.base import UNLABELLED

TYPE_NAMES = {
    torch.float16: "Half",
    torch.bfloat16: "BFloat16",
    torch.float32: "Float",
    torch.float64: "Double",
}
"""Names of types in PyTorch's messages; some messages have those of C++ in lower case."""


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


def find_fault(
    loader: Iterable[Any],
    *,
    batches: float,
    classes: int | None,
    reader: BatchReader | None = None,
) -> DataError | None:
    """Read a loader in search of values that no model can learn from.

    Args:
        loader: Loader of a training that failed.
        batches: Maximum number of batches to read.
        classes: Number of outputs of the model; None if it is unknown.
        reader: Reader of the batches; None for one without names.

    Returns:
        The error that names the first bad sample; None if there is none.
    """
    in_order = _in_order(loader)
    reader = reader or BatchReader()
    samples = 0
    last = None if batches == math.inf else int(batches)
    try:
        for number, batch in enumerate(itertools.islice(in_order or loader, last)):
            read = reader.read(batch)
            y = read.y[0]
            name = partial(name_in_batch, number)
            if in_order is not None:
                name = partial(_name_in_dataset, samples)
            for inputs in (read.x[0], read.inputs, read.teacher_inputs):
                for values in () if inputs is None else tensors_of(inputs):
                    check_finite(values, name)
            if classes is not None and not y.is_floating_point():
                check_labels(y, classes, name)
            samples += len(y)
    except DataError as error:
        return error
    return None


def name_in_batch(number: int, row: int) -> str:
    """Return the name of a sample for messages, from the number of its batch and its row."""
    return f"Sample {row} of batch {number} of the loader"


def _name_in_dataset(first: int, row: int) -> str:
    return f"Sample {first + row} of the loader's dataset"


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
