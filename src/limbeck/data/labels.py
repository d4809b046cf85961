"""Labels of batches: class numbers, values, or the next tokens of a text."""

from collections.abc import Mapping

import torch
from torch import Tensor

from limbeck._base.errors import DataError
from limbeck._base.scope import refusal, refusal_of
from limbeck.losses.base import UNLABELLED


def as_tensor(values: object, part: str) -> Tensor:
    """Convert a part of a batch to a tensor.

    Args:
        values: Tensor, array or list of numbers.
        part: Name of the part for messages: ``inputs`` or ``labels``.

    Raises:
        DataError: If the part is something else.
    """
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        if sentence := _task_of(values):
            raise DataError(f"The {part} of a batch are dictionaries. {sentence}") from None
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"The {part} of a batch should be one tensor or array of numbers, got "
            f"{type(values).__name__} ({reason})."
        ) from None


def _task_of(values: object) -> str:
    """Return the sentence about detection if labels are dictionaries of boxes or masks."""
    first = values[0] if isinstance(values, (list, tuple)) and values else None
    if not isinstance(first, Mapping):
        return ""
    return next(filter(None, map(refusal_of, first)), "")


def as_class_numbers(x: Tensor, y: Tensor) -> Tensor:
    """Return labels as int64, without a last dimension of size 1.

    Args:
        x: Inputs ``[B, ...]``.
        y: Labels ``[B]``, ``[B, 1]`` or, of a text, ``[B, T]``.

    Raises:
        DataError: If the labels are no whole numbers.
    """
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        has_columns = y.ndim > 1 and y.shape[-1] > 1
        remedy = "y.argmax(-1)" if has_columns else "y.long()"
        other = "task='multi_label' for several labels" if has_columns else ""
        other = " or ".join(filter(None, ("task='regression' for values", other)))
        raise DataError(
            f"The labels of a batch are {y.dtype} of shape {list(y.shape)}; expected class numbers "
            f"as integers [{len(y)}]. Convert them, for example with {remedy}, or set {other}."
        )
    is_text = x.shape == y.shape and not x.is_floating_point()
    if y.ndim == 2 and y.shape[1] == 1 and not is_text:
        y = y[:, 0]
    return y.long()


def as_values(y: Tensor) -> Tensor:
    """Return values, or several labels of 0 and 1, as float32 ``[B, D]``.

    Args:
        y: Numbers ``[B]`` or ``[B, D]``; NaN for a sample without labels.

    Raises:
        DataError: If they have another shape.
    """
    if y.ndim > 2 or y.is_complex():
        raise DataError(
            f"The labels of a batch are {y.dtype} of shape {list(y.shape)}; expected numbers "
            f"[{len(y)}] or [{len(y)}, D]."
        )
    return y.float().reshape(len(y), -1)


def are_tokens(y: Tensor) -> bool:
    """Whether labels of S seeds are those of blocks of text, ``[S, B, T]``."""
    return y.ndim == 3 and not y.is_floating_point()


def predictions_per_sample(y: Tensor) -> int:
    """Return the number of predictions of a sample, for labels ``[S, B, ...]``.

    It is T for a block of text. Several values are one prediction.
    """
    return 1 if y.is_floating_point() else y.shape[2:].numel()


def check_outputs(outputs: Tensor, y: Tensor) -> None:
    """Check that students return a row of logits for each label, or an output for each value.

    Args:
        outputs: Outputs of the students, ``[A, S, B, ...]``.
        y: Labels, ``[S, B, ...]``.

    Raises:
        DataError: If they do not.
    """
    if y.ndim > 3 and not y.is_floating_point():
        raise DataError(
            f"The labels of a batch have the shape {list(y.shape[1:])}, one for each pixel. "
            f"{refusal('segmentation')}"
        )
    own, expected = outputs.shape[-y.ndim : -1], "one label for each row of logits"
    if y.is_floating_point():
        own, expected = outputs.shape[2:], "one output for each value"
        if bool(y.isnan().all()):  # of a loader without labels
            return
    if own != y.shape[1:]:
        raise DataError(
            f"The labels of a batch have the shape {list(y.shape[1:])}, but the student "
            f"returned outputs of shape {list(outputs.shape[1:])}; expected {expected}."
        )


def repeats_tokens(ids: Tensor, y: Tensor) -> bool:
    """Whether the labels of a text are its own tokens, as transformers expects them.

    Args:
        ids: Token ids ``[B, T]``.
        y: Labels ``[B, T]``; -100 at ignored positions.
    """
    if ids.shape != y.shape or y.shape[1] < 2:
        return False
    counts = y != UNLABELLED
    return bool(counts.any()) and torch.equal(ids[counts].long(), y[counts])


def shift_labels(y: Tensor) -> Tensor:
    """Move the labels ``[B, T]`` of a text to the positions that predict them."""
    last = torch.full_like(y[:, :1], UNLABELLED)
    return torch.cat((y[:, 1:], last), 1)
