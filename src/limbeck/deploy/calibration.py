"""Calibration of an exported student: temperature scaling, and the effect of abstaining."""

from dataclasses import dataclass

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0
"""Bounds of the fitted temperature."""
MAX_SAMPLES = 10_000
"""Maximum number of samples that the temperature is fitted on; more hardly change it."""
THRESHOLDS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class OperatingPoint:
    """Coverage and error rate of a model that abstains below a confidence threshold.

    Attributes:
        threshold: Confidence below which the model abstains.
        coverage: Share of the samples on which the model does not abstain.
        error_rate: Share of errors among these samples, 0 if there are none.
    """

    threshold: float
    coverage: float
    error_rate: float


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Fit the temperature with the lowest negative log-likelihood, between 0.05 and 20.

    Args:
        logits: Logits of the validation samples, ``[N, classes]``.
        labels: Integer labels, ``[N]``.

    References:
        Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", 2017
        (temperature scaling).
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    labels = labels[:MAX_SAMPLES]
    scores = logits[:MAX_SAMPLES].astype(np.float64)
    rows = np.arange(len(labels))

    def nll(log_temperature: float) -> float:
        log_probabilities = log_softmax(scores / np.exp(log_temperature), axis=1)
        return float(-log_probabilities[rows, labels].mean())

    optimum = minimize_scalar(nll, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return float(np.exp(optimum.x))


def operating_points(
    logits: np.ndarray, labels: np.ndarray, temperature: float
) -> list[OperatingPoint]:
    """Compute coverage and error rate at several confidence thresholds.

    Args:
        logits: Logits of the samples, ``[N, classes]``.
        labels: Integer labels, ``[N]``.
        temperature: Temperature that divides the logits.
    """
    from scipy.special import softmax

    confidence = softmax(logits.astype(np.float64) / temperature, axis=1).max(1)
    is_wrong = logits.argmax(1) != labels
    points = []
    for threshold in THRESHOLDS:
        is_covered = confidence >= threshold
        error_rate = float(is_wrong[is_covered].mean()) if is_covered.any() else 0.0
        points.append(OperatingPoint(threshold, float(is_covered.mean()), error_rate))
    return points
