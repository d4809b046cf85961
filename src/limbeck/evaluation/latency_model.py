"""Latency of a model as a function of its size, fitted to measurements."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_MODELS = 6
"""Minimum number of measured models: twice that of the coefficients."""
MIN_MARGIN = 0.1
"""Minimum relative error to expect, however well a few measurements fit."""


@dataclass(frozen=True)
class LatencyModel:
    """Latency as a sum: a fixed time, a time per multiply-add, and a time per parameter.

    Attributes:
        fixed: Time of a model without work, in milliseconds.
        per_mac: Time per multiply-add, in milliseconds.
        per_parameter: Time per parameter, in milliseconds.
        error: Median relative error of the prediction of a model from all others.
        largest_error: Largest such error.
        models: Number of models to which it was fitted.
    """

    fixed: float
    per_mac: float
    per_parameter: float
    error: float
    largest_error: float
    models: int

    def predict(self, macs: float, params: float) -> float:
        """Return the latency of a model in milliseconds.

        Args:
            macs: Number of multiply-adds for one input.
            params: Number of parameters.
        """
        return self.fixed + self.per_mac * macs + self.per_parameter * params

    def exceeds(self, limit: float, macs: float, params: float) -> bool:
        """Whether a model takes longer than a limit, even with the largest error seen, or 10 %.

        Args:
            limit: Latency in milliseconds.
            macs: Number of multiply-adds for one input.
            params: Number of parameters.
        """
        margin = max(self.largest_error, MIN_MARGIN)
        return self.predict(macs, params) > limit * (1 + margin)


def fit_latency(
    macs: Sequence[float], params: Sequence[float], latencies: Sequence[float]
) -> LatencyModel | None:
    """Fit a latency model by non-negative least squares of the relative errors.

    Its error is found by leaving out one model at a time.

    Args:
        macs: Number of multiply-adds for one input of each model.
        params: Number of parameters of each model.
        latencies: Measured latency of each model in milliseconds, above 0.

    Returns:
        The model, or None with fewer than six measurements.
    """
    if len(latencies) < MIN_MODELS:
        return None
    features = np.column_stack([np.ones(len(macs)), macs, params]).astype(float)
    times = np.asarray(latencies, float)
    errors = []
    for number in range(len(times)):
        rest = np.arange(len(times)) != number
        prediction = features[number] @ _coefficients(features[rest], times[rest])
        errors.append(abs(prediction - times[number]) / times[number])
    fixed, per_mac, per_parameter = _coefficients(features, times)
    return LatencyModel(
        fixed=float(fixed),
        per_mac=float(per_mac),
        per_parameter=float(per_parameter),
        error=float(np.median(errors)),
        largest_error=float(max(errors)),
        models=len(times),
    )


def _coefficients(features: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the non-negative coefficients with the least squares of the relative errors.

    A count that all models share cannot be told from the fixed time: its coefficient is 0.
    Counts may still depend on each other. SciPy's `nnls` is not used for that reason: version 1.14
    does not converge, or raises an error, on some of these matrices.
    """
    from scipy.optimize import lsq_linear

    scale = features.max(axis=0)
    scale[scale == 0] = 1.0
    matrix = features / scale
    matrix[:, 1:] *= np.ptp(features[:, 1:], axis=0) > 0
    matrix /= times[:, None]
    solution = lsq_linear(matrix, np.ones(len(times)), bounds=(0, np.inf), method="bvls")
    return np.asarray(solution.x / scale, float)
