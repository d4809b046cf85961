"""Class weights: what a sample of each class counts in the hard loss."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck._base.checks import LARGEST, UNLABELLED
from limbeck._base.errors import ConfigError


def check_class_weights(value: Any) -> str | tuple[float, ...] | None:
    """None, ``balanced``, or one number a class as a tuple.

    Raises:
        ConfigError: it is none of these.
    """
    if value is None or value == "balanced":
        return value
    listed = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    numbers = [
        w
        for w in listed
        if isinstance(w, (int, float)) and not isinstance(w, bool) and 0 <= w <= LARGEST
    ]
    if len(numbers) < len(listed) or not any(numbers):
        raise ConfigError(
            f"objective.class_weights={value!r} should be null, balanced, or a list of one number "
            "a class, none "
            "negative and not all 0."
        )
    return tuple(map(float, numbers))


def check_length(weights: Sequence[float] | str, classes: int) -> None:
    """Check that there is one weight a class.

    Raises:
        ConfigError: there are more or fewer.
    """
    if len(weights) != classes:
        raise ConfigError(
            f"objective.class_weights has {len(weights)} numbers, and there are {classes} classes; "
            "give one a class, "
            "in their order."
        )


def balanced_weights(labels: Tensor, classes: int) -> list[float]:
    """Class weights by which the classes that occur count alike, and 1 on average over the samples.

    Args:
        labels: :data:`limbeck.losses.UNLABELLED` where there is none, ``[M]``.
        classes: how many there are.

    Returns:
        n / (k * n_c) for a class of n_c samples, where k classes with n samples in all occur; 1 for
        the others.
    """
    counts = torch.bincount(labels[labels != UNLABELLED].cpu(), minlength=classes).tolist()
    share = sum(counts) / max(1, sum(count > 0 for count in counts))
    return [share / count if count else 1.0 for count in counts]
