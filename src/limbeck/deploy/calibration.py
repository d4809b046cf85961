"""Calibration of an exported student: temperature of its confidences, effect of abstaining."""

from dataclasses import dataclass

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0
"""Bounds of the fitted temperature."""
THRESHOLDS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Coverage:
    """Coverage and errors of a model that abstains below a confidence.

    Attributes:
        threshold: Lowest confidence that is answered.
        answered: Share of the samples that are answered.
        wrong: Share of the answered samples that are wrong, 0 if none is answered.
    """

    threshold: float
    answered: float
    wrong: float


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

    scores = logits.astype(np.float64)
    rows = np.arange(len(labels))

    def nll(log_temperature: float) -> float:
        log_probabilities = log_softmax(scores / np.exp(log_temperature), axis=1)
        return float(-log_probabilities[rows, labels].mean())

    optimum = minimize_scalar(nll, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return float(np.exp(optimum.x))


def coverage(logits: np.ndarray, labels: np.ndarray, temperature: float) -> list[Coverage]:
    """Share of samples answered, and of errors among them, at several confidence thresholds.

    Args:
        logits: Logits of the samples, ``[N, classes]``.
        labels: Integer labels, ``[N]``.
        temperature: Temperature that divides the logits.
    """
    from scipy.special import softmax

    confidence = softmax(logits.astype(np.float64) / temperature, axis=1).max(1)
    wrong = logits.argmax(1) != labels
    rows = []
    for threshold in THRESHOLDS:
        answered = confidence >= threshold
        errors = float(wrong[answered].mean()) if answered.any() else 0.0
        rows.append(Coverage(threshold, float(answered.mean()), errors))
    return rows
