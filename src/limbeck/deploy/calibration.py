"""The effect of abstaining on the errors of an exported student."""

from dataclasses import dataclass

import numpy as np

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
