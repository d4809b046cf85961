"""Conversion of a user's arrays to the tensors of a dataset, and checks of their form."""

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck.data.checks import join_some
from limbeck.data.precision import rounding
from limbeck.losses.tasks import TASKS, Task

MAX_CHANNELS = 4
MAX_CLASSES = 1 << 20
"""Largest number of channels of an image that is not a stack of feature maps."""


def convert_arrays(
    x: ArrayLike | Tensor, y: ArrayLike | Tensor, where: str, task: Task = TASKS["classes"]
) -> tuple[Tensor, Tensor]:
    """Convert inputs and labels to tensors.

    Args:
        x: Inputs: uint8 images ``[N, C, H, W]`` or ``[N, H, W]``, or floats ``[N, ...]``.
        y: Integer labels ``[N]``; for regression values ``[N]`` or ``[N, D]``.
        where: Name of the dataset, for messages.
        task: Kind of target.

    Returns:
        uint8 images or float32 inputs, and int64 labels or float32 values ``[N, D]``.

    Raises:
        DataError: If inputs or labels are not numbers of these types, or if the inputs look like
            images ``[N, H, W, C]``.
    """
    inputs, labels = _as_tensor(x, f"{where}: inputs"), _as_tensor(y, f"{where}: labels")
    if labels.ndim == 0:
        raise DataError(f"{where}: expected one label per input, got a single number.")
    labels = _as_classes(labels, where) if task.has_classes else _as_values(labels, where)
    is_float = inputs.is_floating_point() or inputs.dtype == torch.bool
    if not is_float and inputs.dtype != torch.uint8:
        raise DataError(
            f"{where}: inputs are {inputs.dtype}; expected uint8 images (0 to 255) or floats. "
            "Convert features with x.astype('float32'). Token ids are not features: load a text "
            "with limbeck.data.text_file or text_folder."
        )
    _check_layout(inputs, where)
    if is_float:
        _warn_of_rounding(inputs, where)
        inputs = inputs.float()
    elif inputs.ndim == 3:
        inputs = inputs.unsqueeze(1)
    return inputs, labels


def _warn_of_rounding(inputs: Tensor, where: str) -> None:
    """Warn of features in float64 that float32 rounds until samples no longer differ."""
    if inputs.ndim != 2 or inputs.dtype != torch.float64 or not len(inputs):
        return
    for number, text in enumerate(rounding(inputs)):
        is_constant = bool((inputs[:, number] == inputs[0, number]).all())
        if text and not is_constant:
            warnings.warn(
                f"{where}: column {number} of the inputs {text}.", LimbeckWarning, stacklevel=4
            )


def _as_classes(labels: Tensor, where: str) -> Tensor:
    """Return labels as class numbers, int64 ``[N]``."""
    dtype = labels.dtype
    if not dtype.is_floating_point and not dtype.is_complex and dtype != torch.bool:
        return labels.long()
    remedy = "Convert them with y.astype('int64')."
    if dtype.is_floating_point and not torch.equal(labels, labels.round()):
        remedy = "To predict numbers, set task='regression'."
    raise DataError(f"{where}: labels should be integers, got {dtype}. {remedy}")


def _as_values(labels: Tensor, where: str) -> Tensor:
    """Return targets as float32 ``[N, D]``."""
    if labels.dtype.is_complex or labels.ndim > 2:
        raise DataError(
            f"{where}: targets should be numbers [N] or [N, D], got {labels.dtype} of shape "
            f"{list(labels.shape)}."
        )
    return labels.float().reshape(len(labels), -1)


def numbered_targets(labels: Tensor, where: str, noun: str) -> list[str]:
    """Return names for targets that have none: ``target``, or ``target 0`` and so on.

    Args:
        labels: Targets ``[N, D]``.
        where: Name of the dataset, for messages.
        noun: Name of one of them: ``target`` or ``label``.

    Raises:
        DataError: If there is no target.
    """
    if labels.shape[1] == 0:
        raise DataError(f"{where}: targets of shape {list(labels.shape)}; expected [N] or [N, D].")
    count = labels.shape[1]
    return [noun] if count == 1 else [f"{noun} {number}" for number in range(count)]


def convert_ids(ids: Sequence[object] | None, where: str) -> np.ndarray | None:
    """Convert the names of samples to an array of text ``[N]``.

    Args:
        ids: Names, as text or whole numbers; None for none.
        where: Name of the dataset, for messages.

    Raises:
        DataError: If they are no list of names, or if one is there twice.
    """
    if ids is None:
        return None
    values = ids.tolist() if isinstance(ids, (np.ndarray, Tensor)) else ids
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise DataError(f"{where}: ids should be a list of names, got {type(ids).__name__}.")
    names = np.array([str(value) for value in values], dtype=object)
    counts = Counter(names)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise DataError(
            f"{where}: {len(repeated)} ids are given more than once: {join_some(repeated)}. Each "
            "sample needs an id of its own."
        )
    return names


def numbered_classes(labels: Tensor, where: str) -> list[str]:
    """Return names for classes that have none: the numbers from 0 to the largest label.

    Args:
        labels: Training labels ``[N]``.
        where: Name of the dataset, for messages.

    Raises:
        DataError: If the largest label is too large for a number of classes.
    """
    classes = int(labels.max()) + 1 if labels.numel() else 0
    if classes > MAX_CLASSES:
        raise DataError(
            f"{where}: the largest label is {classes - 1:,}; labels should be the numbers of "
            f"classes, from 0 to C - 1, with at most {MAX_CLASSES:,} classes."
        )
    return [str(number) for number in range(classes)]


def default_names(labels: Tensor, where: str, kind: Task) -> list[str]:
    """Return the names of classes, targets or labels that have none.

    Args:
        labels: Training labels.
        where: Name of the dataset, for messages.
        kind: Kind of target.
    """
    if kind.has_classes:
        return numbered_classes(labels, where)
    return numbered_targets(labels, where, "label" if kind.outputs == "labels" else "target")


def row_hashes(inputs: Tensor) -> Tensor:
    """Hash each input; equal inputs have equal hashes within a process.

    Args:
        inputs: Inputs ``[N, ...]`` in CPU memory.

    Returns:
        int64 ``[N]``.
    """
    return torch.tensor([hash(row.tobytes()) for row in inputs.numpy()], dtype=torch.int64)


def warn_of_copies(train: Tensor, test: Tensor, where: str, *, stacklevel: int) -> None:
    """Warn if test inputs are also training inputs.

    Args:
        train: Training inputs ``[N, ...]``.
        test: Test inputs ``[M, ...]``.
        where: Name of the dataset, for messages.
        stacklevel: Level of the caller to which the warning is attributed.
    """
    copies = int(torch.isin(row_hashes(test), row_hashes(train)).sum())
    if copies:
        warnings.warn(
            f"{where}: {copies} of {len(test)} test inputs are also training inputs, so the test "
            "would measure memorised samples. Remove them from one of the two.",
            LimbeckWarning,
            stacklevel=stacklevel + 1,
        )


def warn_of_absent_classes(
    labels: Tensor, class_names: Sequence[str], where: str, *, stacklevel: int
) -> None:
    """Warn if classes have no training sample.

    Args:
        labels: Training labels, int64 ``[N]``.
        class_names: Names of the classes, in the order of the labels.
        where: Name of the dataset, for messages.
        stacklevel: Level of the caller to which the warning is attributed.
    """
    counts = torch.bincount(labels.clamp(min=0), minlength=len(class_names)).tolist()
    absent = [str(name) for name, count in zip(class_names, counts, strict=False) if count == 0]
    if absent:
        warnings.warn(
            f"{where}: {len(absent)} of {len(class_names)} classes have no training sample: "
            f"{join_some(absent)}. Are the labels numbered from 0?",
            LimbeckWarning,
            stacklevel=stacklevel + 1,
        )


def _check_layout(inputs: Tensor, where: str) -> None:
    """Check that images do not have their channels last."""
    if inputs.ndim != 4:
        return
    first, second, last = inputs.shape[1:]
    # One channel last is also the form of signals [N, channels, time, 1], which are not square.
    is_grey = last == 1 and (first == second or inputs.dtype == torch.uint8)
    if min(first, second) > MAX_CHANNELS and (is_grey or last in (3, 4)):
        raise DataError(
            f"{where}: inputs of shape {list(inputs.shape)} look like images [N, H, W, C], but the "
            "channels should come first. Pass x.transpose(0, 3, 1, 2), or x.permute(0, 3, 1, 2) of "
            f"a tensor. If there are {first} channels, use Dataset(name, Split(x, y), ...) instead."
        )


def _as_tensor(values: ArrayLike | Tensor, where: str) -> Tensor:
    """Return a tensor on the CPU that shares no memory with the user's array."""
    if isinstance(values, Tensor):
        return values.detach().cpu().to_dense()
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise DataError(f"{where} have masked values. Replace them, or remove their samples.")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{where} should be an array of numbers ({error}).") from None
    if array.dtype.kind not in "biufc":
        raise DataError(
            f"{where} should be an array of numbers, got {array.dtype}. Number classes from 0, and "
            "pass their names as class_names."
        )
    # the name of the type, because a platform may have two of the same size and byte order
    name = f"{array.dtype.kind}{array.dtype.itemsize}" if array.dtype.kind != "b" else "bool"
    try:
        return torch.from_numpy(array.astype(name, order="C"))
    except TypeError:  # such as long double
        raise DataError(f"{where} are {array.dtype}, which PyTorch does not have.") from None
