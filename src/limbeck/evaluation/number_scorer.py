"""Scores of a model on the batches of a loader whose labels are numbers."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from limbeck._base.errors import ConfigError, DataError
from limbeck.data.statistics import target_statistics
from limbeck.evaluation.labels import multi_label_metrics
from limbeck.evaluation.regression import regression_metrics
from limbeck.losses.tasks import Task
from limbeck.run.metrics import Metrics


class NumberScorer:
    """Scores of the labelled samples of a loader: values, or several labels of 0 and 1.

    Args:
        kind: Kind of target.
    """

    def __init__(self, kind: Task):
        self.kind = kind
        self.samples = 0
        self.outputs: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.teacher: list[Tensor] = []

    def add(self, outputs: Tensor, y: Tensor, teacher: Tensor | None) -> None:
        """Add a batch.

        Raises:
            DataError: If labels do not fit the outputs, or are not 0 and 1.
        """
        for role, other in (("labels", y), ("outputs of the teacher", teacher)):
            if other is not None and other.shape != outputs.shape:
                raise DataError(
                    f"The loader has {role} of shape {list(other.shape)} for outputs of shape "
                    f"{list(outputs.shape)}; expected one number for each output."
                )
        self.samples += len(y)
        is_labelled = ~y.isnan().any(-1)
        outputs, y = outputs[is_labelled], y[is_labelled]
        if self.kind.outputs == "labels" and bool(((y != 0) & (y != 1)).any()):
            raise DataError("The loader has labels that are neither 0 nor 1.")
        self.outputs.append(outputs)
        self.labels.append(y)
        if teacher is not None:
            self.teacher.append(teacher[is_labelled])

    def metrics(self, *, ordinal: bool, text_bytes: int | None) -> dict[str, Any]:
        """Return the metrics of all batches, without those that are not defined.

        Args:
            ordinal: Whether the classes are grades; there are none.
            text_bytes: Number of bytes of a text; there is none.
        """
        if not self.samples:
            raise ConfigError("The loader returned no batch.")
        outputs, y = torch.cat(self.outputs), torch.cat(self.labels)
        if not len(y):
            raise DataError("No sample of the loader has labels; expected some to compare with.")
        teacher = torch.cat(self.teacher) if self.teacher else None
        values = asdict(self._metrics(outputs, y, teacher))
        return {"total": len(y)} | {k: value for k, value in values.items() if value is not None}

    def _metrics(self, outputs: Tensor, y: Tensor, teacher: Tensor | None) -> Metrics:
        if self.kind.outputs == "labels":
            return multi_label_metrics(outputs, y, teacher, torch.zeros(y.shape[1]))
        return regression_metrics(outputs, y, teacher, target_statistics(y)[1])
