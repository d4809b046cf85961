"""Statistics for the figures: recall, reliability bins and t-intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limbeck.report.figures.predictions import ModelPredictions, Predictions

BINS = 15


@dataclass(frozen=True)
class Bins:
    """Predictions grouped by their confidence.

    Attributes:
        confidence: Mean confidence of each bin, NaN where it is empty.
        accuracy: Accuracy of each bin, NaN where it is empty.
        share: Share of the predictions in each bin.
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    share: NDArray[np.float64]

    @property
    def ece(self) -> float:
        """Expected calibration error: weighted mean gap between confidence and accuracy."""
        is_filled = self.share > 0
        return float((self.share * np.abs(self.confidence - self.accuracy))[is_filled].sum())


def recall(labels: NDArray, top: NDArray, classes: int) -> NDArray[np.float64]:
    """Compute the recall of each class, ``[C]``; NaN for classes without samples."""
    samples = np.bincount(labels, minlength=classes)
    hits = np.bincount(labels[labels == top], minlength=classes)
    return np.where(samples > 0, hits / np.maximum(samples, 1), np.nan)


def mean_recall(
    predictions: Predictions, models: Sequence[ModelPredictions]
) -> NDArray[np.float64]:
    """Compute the recall of each class, averaged over models."""
    labels, classes = predictions.labels, predictions.classes
    return np.mean([recall(labels, model.top, classes) for model in models], axis=0)


def reliability_bins(confidence: NDArray, is_right: NDArray, bins: int = BINS) -> Bins:
    """Group predictions into bins of equal width over [0, 1], each including its upper edge."""
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    size = np.bincount(index, minlength=bins)
    divisor = np.where(size > 0, size, np.nan)
    return Bins(
        confidence=np.bincount(index, weights=confidence, minlength=bins) / divisor,
        accuracy=np.bincount(index, weights=is_right.astype(float), minlength=bins) / divisor,
        share=size / max(len(confidence), 1),
    )


def pooled_bins(labels: NDArray, models: Sequence[ModelPredictions]) -> Bins:
    """Compute the reliability bins of the pooled predictions of several models."""
    confidence = np.concatenate([model.confidence for model in models])
    is_right = np.concatenate([model.top == labels for model in models])
    return reliability_bins(confidence, is_right)


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's t-interval of the mean; None with fewer than two values."""
    from scipy.special import stdtrit  # SciPy takes half a second to import

    if len(values) < 2:
        return None
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    quantile = float(stdtrit(len(values) - 1, 0.5 + level / 2))
    half = quantile * sd / len(values) ** 0.5
    return mean - half, mean + half
