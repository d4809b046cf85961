"""The test predictions of all models of a run, read from ``predictions.npz``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limbeck._base.errors import UntrustedFileError
from limbeck._base.reading import DAMAGED_ARRAYS, open_arrays
from limbeck.report.arm_styles import TEACHER, styles_of
from limbeck.report.families import highlighted_arms
from limbeck.run.summary import Summary

_STUDENT = re.compile(r"students/(.+)/seed(-?\d+)", re.DOTALL)


@dataclass(frozen=True)
class ModelPredictions:
    """The predictions of one model: the top class of every sample and its probability.

    Attributes:
        top: Top class ``[N]``.
        confidence: Softmax probability of the top class ``[N]``.
    """

    top: NDArray[np.int64]
    confidence: NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """The predictions of all models of a run.

    Attributes:
        labels: Labels of the test samples ``[N]``.
        classes: Number of classes.
        teacher: Predictions of the teacher, if there is one.
        arms: Predictions by arm and seed.
    """

    labels: NDArray[np.int64]
    classes: int
    teacher: ModelPredictions | None = None
    arms: dict[str, dict[int, ModelPredictions]] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """The teacher or an arm in a figure.

    Attributes:
        name: Name of the arm, or "teacher".
        colour: Colour in all figures.
        ece: Expected calibration error, mean over seeds.
        predictions: Predictions of each seed.
    """

    name: str
    colour: str
    ece: float | None
    predictions: list[ModelPredictions]


def read_predictions(file: Path) -> Predictions:
    """Read ``predictions.npz``, keeping only the top class and its confidence.

    Raises:
        UntrustedFileError: If the file is damaged or holds Python objects, or its arrays do not
            fit together.
    """
    try:
        with open_arrays(file) as arrays:
            return _predictions(arrays)
    except DAMAGED_ARRAYS as error:
        reason = error.args[0] if error.args else type(error).__name__
        raise UntrustedFileError(
            f"{file} is damaged: {reason}. Delete it to write the report without recall and "
            "reliability."
        ) from None


def _predictions(arrays: Mapping[str, NDArray]) -> Predictions:
    labels = arrays["labels"]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or not len(labels):
        raise ValueError(
            f"'labels' should be a vector of integers, found {labels.dtype} of shape {labels.shape}"
        )
    teacher = None
    arms: dict[str, dict[int, ModelPredictions]] = {}
    classes = 0
    for key in arrays:
        student = _STUDENT.fullmatch(key)
        if key != "teacher" and student is None:
            continue
        logits = arrays[key]
        _check_logits(key, logits, (len(labels), classes or logits.shape[-1]))
        classes = logits.shape[1]
        if student is None:
            teacher = predict(logits)
        else:
            arms.setdefault(student[1], {})[int(student[2])] = predict(logits)
    if not classes:
        raise ValueError("it contains no predictions")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"a label lies outside 0 to {classes - 1}")
    return Predictions(labels.astype(np.int64), classes, teacher, arms)


def _check_logits(key: str, logits: NDArray, shape: tuple[int, int]) -> None:
    is_float = np.issubdtype(logits.dtype, np.floating)
    if logits.shape != shape or not is_float:
        raise ValueError(
            f"{key!r} should be floats of shape {shape}, found {logits.dtype} of {logits.shape}"
        )


def predict(logits: NDArray) -> ModelPredictions:
    """The top class and its softmax probability for logits ``[N, C]``.

    The class is -1, with probability 0, where a logit is NaN or all are -inf.
    """
    scores = logits.astype(np.float64)
    predicts = scores.max(axis=1) > -np.inf  # false for NaN
    scores[~predicts] = 0.0
    scores -= scores.max(axis=1, keepdims=True)
    confidence = 1.0 / np.exp(scores).sum(axis=1)
    return ModelPredictions(
        np.where(predicts, logits.argmax(axis=1), -1), np.where(predicts, confidence, 0.0)
    )


def models_of(summary: Summary, predictions: Predictions) -> list[Model]:
    """The teacher and the highlighted arms that have predictions."""
    models = []
    if predictions.teacher is not None:
        ece = None if summary.teacher is None else summary.teacher.test.ece
        models.append(Model("teacher", TEACHER, ece, [predictions.teacher]))
    highlighted = highlighted_arms(summary)
    styles = styles_of(summary)
    for arm in summary.arms:
        students = list(predictions.arms.get(arm.name, {}).values())
        if students and (highlighted is None or arm.name in highlighted):
            models.append(Model(arm.name, styles[arm.name].colour, arm.mean.ece, students))
    return models


def hidden_arms(summary: Summary) -> str:
    """A sentence for the caption of a figure that shows the highlighted arms only."""
    highlighted = highlighted_arms(summary)
    if highlighted is None:
        return ""
    return f" Only the highlighted arms are drawn: {len(highlighted)} of {len(summary.arms)}."
