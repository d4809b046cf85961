"""Class weights of the hard loss."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck._base.errors import ConfigError
from limbeck.losses.base import UNLABELLED, is_number


def check_class_weights(value: Any) -> str | tuple[float, ...] | None:
    """Check the setting ``class_weights`` and return numbers as a tuple.

    Raises:
        ConfigError: If it is not None, ``balanced`` or a list of one number per class.
    """
    if value is None or value == "balanced":
        return value
    weights = [] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)
    valid = all(is_number(weight) and weight >= 0 for weight in weights)
    if not valid or not any(weights):
        raise ConfigError(
            f"objective.class_weights={value!r} is not valid: expected null, balanced, or a list "
            "of one number per class, none negative and not all 0."
        )
    return tuple(map(float, weights))


def check_length(weights: Sequence[float] | str, classes: int) -> None:
    """Check that there is one weight per class.

    Raises:
        ConfigError: If there are more or fewer.
    """
    if len(weights) != classes:
        raise ConfigError(
            f"objective.class_weights has {len(weights)} numbers but the dataset has {classes} "
            "classes. Give one number per class, in the order of the classes."
        )


def balanced_weights(labels: Tensor, classes: int) -> list[float]:
    """Compute class weights that give every class the same total weight, with mean 1 over samples.

    Args:
        labels: Class indices ``[M]``; :data:`limbeck.losses.UNLABELLED` for unlabelled samples.
        classes: Number of classes.

    Returns:
        One weight per class: n / (k * n_c) for a class with n_c of the n labelled samples in k
        classes, and 1 for classes without samples. These are scikit-learn's ``balanced`` weights.
    """
    counts = torch.bincount(labels[labels != UNLABELLED].cpu(), minlength=classes).tolist()
    present = sum(count > 0 for count in counts)
    share = sum(counts) / max(1, present)
    return [share / count if count else 1.0 for count in counts]
