"""Judges of studies without classes: the part of each sample in the measure, and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from limbeck.data import Dataset, Split
from limbeck.data.randomness import random_order
from limbeck.evaluation.labels import best_thresholds, multi_label_metrics, wrong_labels
from limbeck.evaluation.predictions import Predictions
from limbeck.evaluation.probe import MAX_SAMPLES, MIN_LABELLED
from limbeck.evaluation.regression import regression_metrics, squared_errors
from limbeck.evaluation.vectors import missed_neighbours, nearest_texts, vector_metrics
from limbeck.losses.base import UNLABELLED
from limbeck.run.metrics import Metrics
from limbeck.run.summary import MeasureKey


class Judge(Protocol):
    """Judge of the outputs of models."""

    @property
    def measure(self) -> MeasureKey:
        """Key of the measure."""

    def parts(self, scored: Predictions) -> np.ndarray:
        """Compute what each sample adds to the measure of a model, ``[N]``."""

    def metrics(self, scored: Predictions, val: Predictions) -> Metrics:
        """Compute the metrics of a model on a split, given its predictions on validation."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what ``predictions.npz`` needs besides outputs and labels."""

    def probed(self, train: Split) -> Split | None:
        """Return the training samples on which a probe is fitted; None for no probe."""


@dataclass(frozen=True)
class RegressionJudge:
    """Judge of a regression.

    Attributes:
        scale: Standard deviation of each target in the training split.
    """

    scale: Sequence[float]
    measure: MeasureKey = "squared_error"

    def parts(self, scored: Predictions) -> np.ndarray:
        """See :meth:`Judge.parts`; they sum to the mean squared error."""
        errors = squared_errors(scored.logits, scored.labels, self.scale)
        return (errors / len(scored.labels)).numpy()

    def metrics(self, scored: Predictions, val: Predictions) -> Metrics:
        """See :meth:`Judge.metrics`."""
        return regression_metrics(scored.logits, scored.labels, scored.teacher, self.scale)

    def arrays(self) -> dict[str, np.ndarray]:
        """See :meth:`Judge.arrays`."""
        return {"scale": np.array(self.scale)}

    def probed(self, train: Split) -> Split | None:
        """See :meth:`Judge.probed`."""
        return None


@dataclass(frozen=True)
class LabelsJudge:
    """Judge of several labels per sample."""

    measure: MeasureKey = "label_errors"

    def parts(self, scored: Predictions) -> np.ndarray:
        """See :meth:`Judge.parts`; they sum to the number of wrong labels."""
        return wrong_labels(scored.logits, scored.labels).numpy()

    def metrics(self, scored: Predictions, val: Predictions) -> Metrics:
        """See :meth:`Judge.metrics`."""
        thresholds = torch.zeros(scored.labels.shape[1], dtype=torch.float64)
        if bool(val.logits.isfinite().all()):
            thresholds = best_thresholds(val.logits, val.labels)
        return multi_label_metrics(scored.logits, scored.labels, scored.teacher, thresholds)

    def arrays(self) -> dict[str, np.ndarray]:
        """See :meth:`Judge.arrays`."""
        return {}

    def probed(self, train: Split) -> Split | None:
        """See :meth:`Judge.probed`."""
        return None


class VectorsJudge:
    """Judge of embeddings: the neighbours of a text should be those that the teacher finds."""

    measure: MeasureKey = "missed_neighbours"

    def __init__(self) -> None:
        self._expected: dict[int, tuple[Tensor, Tensor]] = {}

    def parts(self, scored: Predictions) -> np.ndarray:
        """See :meth:`Judge.parts`; they sum to the mean number of missed neighbours."""
        return (self._missed(scored).double() / len(scored.logits)).numpy()

    def metrics(self, scored: Predictions, val: Predictions) -> Metrics:
        """See :meth:`Judge.metrics`."""
        accuracy = None
        if val.probe is not None:
            accuracy = val.probe.accuracy(scored.logits, scored.labels)
        assert scored.teacher is not None
        return vector_metrics(scored.logits, scored.teacher, self._missed(scored), accuracy)

    def arrays(self) -> dict[str, np.ndarray]:
        """See :meth:`Judge.arrays`."""
        return {}

    def probed(self, train: Split) -> Split | None:
        """See :meth:`Judge.probed`."""
        rows = (train.labels != UNLABELLED).nonzero().flatten()
        if len(rows) < MIN_LABELLED or len(train.labels[rows].unique()) < 2:
            return None
        order = random_order(len(rows), 0)[:MAX_SAMPLES]
        return train.take(rows[order.sort().values])

    def _missed(self, scored: Predictions) -> Tensor:
        """Count the missed neighbours of each text; the teacher's are found once."""
        teacher = scored.teacher
        assert teacher is not None
        if id(teacher) not in self._expected:  # the tensor is kept, so that its id stays its own
            self._expected[id(teacher)] = teacher, nearest_texts(teacher)
        return missed_neighbours(nearest_texts(scored.logits), self._expected[id(teacher)][1])


def judge_of(data: Dataset) -> Judge:
    """Return the judge of a dataset whose labels are no classes."""
    if data.target_scale is not None:
        return RegressionJudge(data.target_scale)
    if data.kind.outputs == "vectors":
        return VectorsJudge()
    return LabelsJudge()
