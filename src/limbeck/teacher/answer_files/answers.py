"""Answers of a teacher that are ready for use: records with the ids of their samples."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck.losses.divergences import upcast
from limbeck.losses.sparse import SparseTargets
from limbeck.teacher.answer_files.columns import (
    LABELS,
    LOG_PROBABILITIES,
    LOGITS,
    PROBABILITIES,
    VALUES,
)

KIND_TITLES = {
    LOGITS: "logits",
    PROBABILITIES: "probabilities",
    LOG_PROBABILITIES: "log-probabilities",
    LABELS: "labels",
    VALUES: "values",
}


@dataclass(frozen=True, kw_only=True)
class StoredAnswers:
    """Answers read from a file.

    Records are the logits themselves, or K classes with their log-probabilities, or K classes with
    a rest, in which all other classes share the remaining probability.

    Attributes:
        where: File, for messages.
        kind: Kind of the values in the file.
        classes: Number of classes, targets or labels, C.
        records: Records, float32 ``[N, R]``.
        top: Number K of classes in a record; None for logits of all classes.
        has_rest: Whether records of K classes have a rest; otherwise all others are excluded.
        ids: Ids of the samples, int64 or text ``[N]``; None for the numbers from 0.
        splits: Split of each record, text ``[N]``; None if the file names none.
        notes: Phrases about what was converted.
        noun: Word for the classes: classes, targets or labels.
    """

    where: str
    kind: str
    classes: int
    records: Tensor
    top: int | None = None
    has_rest: bool = False
    ids: NDArray | None = None
    splits: NDArray | None = None
    notes: tuple[str, ...] = ()
    noun: str = "classes"

    @property
    def decode(self) -> Callable[[Tensor], Tensor | SparseTargets]:
        """Function that converts records ``[..., R]`` to answers."""
        if self.top is None:
            return upcast
        return self._sparse if self.has_rest else self._scatter

    @property
    def is_finite(self) -> bool:
        """Whether every class has a finite logit."""
        return self.top is None or self.has_rest

    def _sparse(self, records: Tensor) -> SparseTargets:
        assert self.top is not None
        ids, log_p, tail = records.split([self.top, self.top, 2], -1)
        return SparseTargets(ids.long(), log_p, tail, self.classes)

    def _scatter(self, records: Tensor) -> Tensor:
        assert self.top is not None
        ids, log_p = records.split(self.top, -1)
        excluded = records.new_full((*records.shape[:-1], self.classes), float("-inf"))
        return excluded.scatter(-1, ids.long(), log_p)

    def logits(self, rows: Tensor) -> Tensor:
        """Return logits ``[M, C]`` of rows, int64 ``[M]``; a rest is spread evenly."""
        answers = self.decode(self.records[rows])
        if isinstance(answers, Tensor):
            return answers
        assert answers.tail is not None
        others = max(1, self.classes - answers.ids.shape[-1])
        spread = answers.tail[:, :1] - float(np.log(others))
        return spread.expand(-1, self.classes).scatter(-1, answers.ids, answers.log_p)

    def describe(self) -> str:
        """Return one line that says what the file holds."""
        text = f"{self.where}: {len(self.records):,} answers, {KIND_TITLES[self.kind]}"
        if self.kind == LABELS:
            pass
        elif self.top is None:
            text += f" of {self.classes:,} {self.noun if self.classes > 1 else self.noun[:-1]}"
        else:
            rest = "with the rest" if self.has_rest else "without a rest"
            text += f" of the {self.top} most probable of {self.classes:,} classes, {rest}"
        return "; ".join([text, *self.notes])


def listed_records(ids: NDArray, log_p: NDArray, *others: NDArray) -> Tensor:
    """Return records of K classes.

    Args:
        ids: Classes, whole numbers ``[N, K]``.
        log_p: Their log-probabilities, ``[N, K]``.
        others: Further numbers, ``[N, ...]`` each.
    """
    parts = [part.astype(np.float32, copy=False) for part in (ids, log_p, *others)]
    return torch.from_numpy(np.concatenate(parts, 1))
