"""Metrics of a regression."""

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.evaluation.metrics import finite_or_none
from limbeck.run.metrics import RegressionMetrics


def squared_errors(values: Tensor, labels: Tensor, scale: Sequence[float]) -> Tensor:
    """Compute the squared error of each sample in units of the variance of the targets.

    1 is the mean squared error of predicting the mean. With several targets, it is the mean over
    them.

    Args:
        values: Predicted values ``[..., N, D]``.
        labels: True values ``[N, D]``.
        scale: Standard deviation of each target in the training split, ``[D]``.

    Returns:
        float64, ``[..., N]``.
    """
    divisor = torch.tensor(scale, dtype=torch.float64)
    return ((values.double() - labels.double()) / divisor).square().mean(-1)


def r_squared(values: Tensor, labels: Tensor) -> Tensor:
    """Compute the coefficient of determination, the mean over targets.

    It is ``1 - SS_res / SS_tot`` for each target: 1 is perfect, 0 is the mean of the labels.

    Args:
        values: Predicted values ``[N, D]``.
        labels: True values ``[N, D]``.

    Returns:
        float64; NaN if all labels of a target are equal.
    """
    y = labels.double()
    residual = (values.double() - y).square().sum(0)
    total = (y - y.mean(0)).square().sum(0)
    return (1 - residual / total).mean()


def regression_metrics(
    values: Tensor, labels: Tensor, teacher: Tensor | None, scale: Sequence[float]
) -> RegressionMetrics:
    """Compute all metrics of one regression.

    Args:
        values: Predicted values ``[N, D]``.
        labels: True values ``[N, D]``.
        teacher: Values of the teacher ``[N, D]``, if there is one.
        scale: Standard deviation of each target in the training split, ``[D]``.

    Returns:
        The metrics. One that is not finite, because a value is not, is None.
    """
    # the errors of one target have its unit; those of several have none in common
    unit = [1.0] if len(scale) == 1 else list(scale)
    errors = (values.double() - labels.double()).abs() / torch.tensor(unit, dtype=torch.float64)
    distance = None
    if teacher is not None:
        distance = finite_or_none(squared_errors(values, teacher, scale).mean())
    return RegressionMetrics(
        errors=None,
        accuracy=None,
        nll=None,
        ece=None,
        agreement=None,
        kl_to_teacher=None,
        squared_error=finite_or_none(squared_errors(values, labels, scale).mean()),
        r_squared=finite_or_none(r_squared(values, labels)),
        mae=finite_or_none(errors.mean()),
        rmse=finite_or_none(errors.square().mean().sqrt()),
        distance_to_teacher=distance,
    )
