"""Temperature scaling: the temperature with which the confidence of a classifier is right."""

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0
"""Bounds of the fitted temperature."""
MAX_SAMPLES = 10_000
"""Maximum number of samples that the temperature is fitted on; more hardly change it."""


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
