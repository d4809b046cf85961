"""How sure an exported student may say it is: a temperature for its confidences, fitted on the
validation split.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the smallest negative log-likelihood of the labels, between 0.05 and 20.

    Args:
        logits: of the validation samples, ``[N, classes]``.
        labels: integers, ``[N]``.

    References:
        Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", 2017
        (temperature scaling).
    """
    scores, rows = logits.astype(np.float64), np.arange(len(labels))

    def nll(log_temperature: float) -> float:
        return float(-log_softmax(scores / np.exp(log_temperature), axis=1)[rows, labels].mean())

    found = minimize_scalar(nll, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return float(np.exp(found.x))


def coverage(
    logits: np.ndarray, labels: np.ndarray, temperature: float
) -> list[tuple[float, float, float]]:
    """What abstaining buys: for some thresholds of confidence, the share of samples answered and of
    errors among these.

    Args:
        logits: ``[N, classes]``.
        labels: integers, ``[N]``.
        temperature: that logits are divided by.

    Returns:
        Threshold, share answered, share of these that is wrong (0 where nothing is answered).
    """
    confidence = softmax(logits.astype(np.float64) / temperature, axis=1)
    top, wrong = confidence.max(1), logits.argmax(1) != labels
    rows = []
    for threshold in (0.0, 0.5, 0.8, 0.9, 0.95, 0.99):
        sure = top >= threshold
        rows.append(
            (threshold, float(sure.mean()), float(wrong[sure].mean()) if sure.any() else 0.0)
        )
    return rows
