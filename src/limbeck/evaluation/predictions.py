"""Predictions of a student on one split, with what they are judged by."""

from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from limbeck.evaluation.probe import Probe

StudentKey: TypeAlias = tuple[str, int]
"""Name of the arm and seed of a student."""


@dataclass(frozen=True)
class Predictions:
    """Logits of a student on a split, with the labels and the logits of its teacher.

    Attributes:
        logits: Logits ``[N, C]``.
        labels: Labels, int64 ``[N]``.
        teacher: Logits of the teacher ``[N, C]``; None without a teacher.
        probe: Classifier of the model's vectors, of embeddings with labels; None otherwise.
    """

    logits: Tensor
    labels: Tensor
    teacher: Tensor | None
    probe: Probe | None = None
