"""Losses of values, for regression: of a student's outputs against labels, and against a teacher's.

A study divides outputs, answers and labels by the standard deviation of each target in the training
split, so that targets of different units count alike. The losses are means over the D targets, one
value per sample.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.losses.divergences import upcast


def squared_error_of_values(student: Tensor, labels: Tensor) -> Tensor:
    r"""Compute the squared distance of outputs and labels, the mean over targets.

    .. math:: \frac{1}{D} \sum_d (z_d - y_d)^2

    Args:
        student: Outputs z, ``[..., B, D]``.
        labels: Values y, broadcastable to ``student``; NaN for a sample without a label.

    Returns:
        ``[..., B]``; 0 for a sample without a label.
    """
    return _from_labels(student, labels).square().mean(-1)


def huber_of_values(student: Tensor, labels: Tensor) -> Tensor:
    r"""Compute the Huber loss of outputs and labels, the mean over targets.

    .. math:: \frac{1}{D} \sum_d h(z_d - y_d), \quad
        h(x) = \begin{cases} x^2 / 2 & |x| \le 1 \\ |x| - 1/2 & \text{otherwise} \end{cases}

    Arguments and result are those of :func:`squared_error_of_values`.

    References:
        Huber, "Robust Estimation of a Location Parameter", 1964.
    """
    return _huber(_from_labels(student, labels))


def squared_error(student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Compute the squared distance of a student's outputs from its teacher's.

    .. math:: \frac{1}{D} \sum_d (z_d - v_d)^2

    Args:
        student: Outputs z, ``[..., B, D]``.
        teacher: Outputs v, broadcastable to ``student``.
        temperature: Without effect: values have no temperature.

    Returns:
        ``[..., B]``.
    """
    return (upcast(student) - upcast(teacher)).square().mean(-1)


def huber(student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    """Compute the Huber loss of a student's outputs and its teacher's.

    See :func:`huber_of_values` for the formula, and :func:`squared_error` for the arguments.
    """
    return _huber(upcast(student) - upcast(teacher))


def bounded_squared_error(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    labels: Tensor | None = None,
) -> Tensor:
    r"""Compute the squared error to the label where it is larger than the teacher's.

    .. math:: \begin{cases} \frac{1}{D} \sum_d (z_d - y_d)^2 & \text{if it is larger than }
        \frac{1}{D} \sum_d (v_d - y_d)^2 \\ 0 & \text{otherwise} \end{cases}

    The teacher's answer is no target but a bound: a student that is closer to the label is not
    pulled back. For a sample without a label, the teacher's answer is the label.

    Args:
        student: Outputs z, ``[..., B, D]``.
        teacher: Outputs v, broadcastable to ``student``.
        temperature: Without effect: values have no temperature.
        labels: Values y, broadcastable to ``student``, NaN for a sample without a label; None if
            no sample has one.

    Returns:
        ``[..., B]``.

    References:
        Chen et al., "Learning Efficient Object Detection Models with Knowledge Distillation", 2017,
        equation 5 with a margin of 0.
    """
    target = upcast(teacher)
    if labels is not None:
        target = torch.where(labels.isnan().any(-1, keepdim=True), target, labels)
    error = squared_error(student, target)
    bound = squared_error(teacher, target)
    return torch.where(error <= bound, 0.0, error)  # NaN stays


def _from_labels(student: Tensor, labels: Tensor) -> Tensor:
    """Subtract labels from outputs; 0 for samples without one, whose gradient is then 0, too."""
    is_missing = labels.isnan().any(-1, keepdim=True)
    return torch.where(is_missing, 0.0, upcast(student) - labels)


def _huber(difference: Tensor) -> Tensor:
    return F.huber_loss(difference, torch.zeros_like(difference), reduction="none").mean(-1)
