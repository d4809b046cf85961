"""Judges of studies without classes: the part of each sample in the measure, and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from limbeck.data import Dataset
from limbeck.evaluation.labels import best_thresholds, multi_label_metrics, wrong_labels
from limbeck.evaluation.predictions import Predictions
from limbeck.evaluation.regression import regression_metrics, squared_errors
from limbeck.run.metrics import Metrics
from limbeck.run.summary import MeasureKey


class Judge(Protocol):
    """Judge of the outputs of models."""

    @property
    def measure(self) -> MeasureKey:
        """Key of the measure."""

    def parts(self, outputs: Tensor, labels: Tensor) -> np.ndarray:
        """Compute what each sample adds to the measure, ``[N]``."""

    def metrics(self, scored: Predictions, val: Predictions) -> Metrics:
        """Compute the metrics of a model on a split, given its predictions on validation."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what ``predictions.npz`` needs besides outputs and labels."""


@dataclass(frozen=True)
class RegressionJudge:
    """Judge of a regression.

    Attributes:
        scale: Standard deviation of each target in the training split.
    """

    scale: Sequence[float]
    measure: MeasureKey = "squared_error"

    def parts(self, outputs: Tensor, labels: Tensor) -> np.ndarray:
        """See :meth:`Judge.parts`; they sum to the mean squared error."""
        return (squared_errors(outputs, labels, self.scale) / len(labels)).numpy()

    def metrics(self, scored: Predictions, val: Predictions) -> Metrics:
        """See :meth:`Judge.metrics`."""
        return regression_metrics(scored.logits, scored.labels, scored.teacher, self.scale)

    def arrays(self) -> dict[str, np.ndarray]:
        """See :meth:`Judge.arrays`."""
        return {"scale": np.array(self.scale)}


@dataclass(frozen=True)
class LabelsJudge:
    """Judge of several labels per sample."""

    measure: MeasureKey = "label_errors"

    def parts(self, outputs: Tensor, labels: Tensor) -> np.ndarray:
        """See :meth:`Judge.parts`; they sum to the number of wrong labels."""
        return wrong_labels(outputs, labels).numpy()

    def metrics(self, scored: Predictions, val: Predictions) -> Metrics:
        """See :meth:`Judge.metrics`."""
        thresholds = torch.zeros(scored.labels.shape[1], dtype=torch.float64)
        if bool(val.logits.isfinite().all()):
            thresholds = best_thresholds(val.logits, val.labels)
        return multi_label_metrics(scored.logits, scored.labels, scored.teacher, thresholds)

    def arrays(self) -> dict[str, np.ndarray]:
        """See :meth:`Judge.arrays`."""
        return {}


def judge_of(data: Dataset) -> Judge:
    """Return the judge of a dataset whose labels are no classes."""
    if data.target_scale is not None:
        return RegressionJudge(data.target_scale)
    return LabelsJudge()
