"""Logits of all students of a study on one split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

StudentKey: TypeAlias = tuple[str, int]
"""Name of the arm and seed of a student."""


@dataclass(frozen=True)
class SplitPredictions:
    """Logits on one split, with the labels and the teacher's logits.

    Attributes:
        logits: Logits ``[N, C]`` of each student.
        labels: Labels, int64 ``[N]``.
        teacher: Logits of the teacher ``[N, C]``; None without a teacher.
    """

    logits: Mapping[StudentKey, Tensor]
    labels: Tensor
    teacher: Tensor | None
