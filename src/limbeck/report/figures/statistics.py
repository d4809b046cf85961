"""What the figures show, computed from the stored test logits: recall, reliability bins,
t-intervals.
"""

import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from limbeck._base.errors import UntrustedFileError

BINS = 15
_STUDENT = re.compile(r"students/(.+)/seed(-?\d+)", re.DOTALL)


@dataclass(frozen=True)
class Answers:
    """One model's answers on the test set: the top class of every sample and its probability."""

    top: NDArray[np.int64]
    confidence: NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """The answers of all models of a run, with the labels."""

    labels: NDArray[np.int64]
    classes: int
    teacher: Answers | None = None
    arms: dict[str, dict[int, Answers]] = field(default_factory=dict)


@dataclass(frozen=True)
class Bins:
    """A reliability diagram: per bin the mean confidence, the accuracy (NaN where empty) and the
    share of samples.
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    share: NDArray[np.float64]

    @property
    def ece(self) -> float:
        """Expected calibration error: the share-weighted distance between confidence and accuracy."""
        filled = self.share > 0
        return float((self.share * np.abs(self.confidence - self.accuracy))[filled].sum())


def read_predictions(file: Path) -> Predictions:
    """Read ``predictions.npz``, keeping top class and confidence only.

    Raises:
        UntrustedFileError: the file is damaged, holds objects, or its arrays do not fit together.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return _predictions(arrays)
    except (
        OSError,
        EOFError,
        KeyError,
        ValueError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = error.args[0] if error.args else type(error).__name__
        raise UntrustedFileError(
            f"{file} is damaged: {reason}. Delete it to make the report without recall and "
            "reliability."
        ) from None


def _predictions(arrays: Mapping[str, NDArray]) -> Predictions:
    labels = arrays["labels"]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or not len(labels):
        raise ValueError(
            f"'labels' should be a row of integers, found {labels.dtype} of shape {labels.shape}"
        )
    arms: dict[str, dict[int, Answers]] = {}
    teacher, classes = None, 0
    for key in arrays:
        student = _STUDENT.fullmatch(key)
        if key != "teacher" and student is None:
            continue
        logits = arrays[key]
        expected = (len(labels), classes or logits.shape[-1])
        if (
            logits.ndim != 2
            or logits.shape != expected
            or not np.issubdtype(logits.dtype, np.floating)
        ):
            raise ValueError(
                f"{key!r} should be floats of shape {expected}, found {logits.dtype} of "
                f"{logits.shape}"
            )
        classes = logits.shape[1]
        if student is None:
            teacher = answers(logits)
        else:
            arms.setdefault(student[1], {})[int(student[2])] = answers(logits)
    if not classes:
        raise ValueError("it holds no predictions")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"a label lies outside 0 to {classes - 1}")
    return Predictions(labels.astype(np.int64), classes, teacher, arms)


def answers(logits: NDArray) -> Answers:
    """Top class and its softmax probability for logits ``[N, C]``."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    return Answers(logits.argmax(axis=1), 1.0 / np.exp(scores).sum(axis=1))


def recall(labels: NDArray, top: NDArray, classes: int) -> NDArray[np.float64]:
    """Share of each class's samples that got that class, ``[C]``; NaN for a class without samples."""
    present = np.bincount(labels, minlength=classes)
    found = np.bincount(labels[labels == top], minlength=classes)
    return np.where(present > 0, found / np.maximum(present, 1), np.nan)


def reliability_bins(confidence: NDArray, right: NDArray, bins: int = BINS) -> Bins:
    """Bins of equal width over [0, 1], each open below and closed above."""
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    size = np.bincount(index, minlength=bins)
    filled = np.where(size > 0, size, np.nan)
    return Bins(
        confidence=np.bincount(index, weights=confidence, minlength=bins) / filled,
        accuracy=np.bincount(index, weights=right.astype(float), minlength=bins) / filled,
        share=size / max(len(confidence), 1),
    )


def pooled_bins(labels: NDArray, models: Sequence[Answers]) -> Bins:
    """The reliability bins of several models' answers taken together."""
    confidence = np.concatenate([model.confidence for model in models])
    right = np.concatenate([model.top == labels for model in models])
    return reliability_bins(confidence, right)


def mean_recall(predictions: Predictions, models: Sequence[Answers]) -> NDArray[np.float64]:
    """Recall per class, averaged over models."""
    return np.mean([recall(predictions.labels, m.top, predictions.classes) for m in models], axis=0)


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's t-interval of the mean; None with fewer than two values."""
    if len(values) < 2:
        return None
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(student_t.ppf(0.5 + level / 2, len(values) - 1)) * sd / len(values) ** 0.5
    return mean - half, mean + half
