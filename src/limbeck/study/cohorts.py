"""Grouping of arms and seeds into cohorts, whose students are trained together."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from limbeck._base.errors import ConfigError
from limbeck.data import Dataset
from limbeck.study.arms import ArmPlan, Builder, build
from limbeck.training.cohort import stack
from limbeck.training.cohort.stack import Cohort, reason_not_to_stack

T = TypeVar("T")
MAX_LOGITS = 1 << 28
"""Maximum number of logits of a cohort per batch: 1 GiB in float32; a step needs several."""


@dataclass(frozen=True)
class CohortPlan:
    """Arms and seeds whose students are trained together.

    Attributes:
        number: Index of the cohort in the study.
        arms: Arms with the same architecture, inputs, number of epochs and optimizer, of which only
            the learning rate may differ.
        seeds: Seeds of each arm.
        parameters: Number of parameters of one student.
    """

    number: int
    arms: list[ArmPlan]
    seeds: list[int]
    parameters: int

    @property
    def stage(self) -> str:
        """Name of the cohort's logs and checkpoints."""
        return f"cohort{self.number}"

    @property
    def work(self) -> int:
        """Estimate of the time of its training, in a unit of its own."""
        return self.arms[0].epochs * self.parameters * len(self.arms) * len(self.seeds)

    def students(self) -> Iterator[tuple[ArmPlan, int]]:
        """Iterate over the arm and seed of each student."""
        return itertools.product(self.arms, self.seeds)


def plan_cohorts(
    plans: Sequence[ArmPlan],
    seeds: Sequence[int],
    data: Dataset,
    batch_size: int = 1,
    *,
    together: bool = True,
    limit: int | None = None,
) -> list[CohortPlan]:
    """Split a study into cohorts.

    Arms that can be stacked share a cohort with all their seeds, as far as memory allows. All other
    students are trained one at a time.

    Args:
        plans: Arms of the study.
        seeds: Seeds of every arm.
        data: Dataset of the study.
        batch_size: Batch size of every student.
        together: Whether students that can be stacked are trained at once.
        limit: Maximum number of students of a cohort; None for as many as memory allows.
    """
    groups: list[tuple[list[ArmPlan], list[int], int]] = []
    remaining = list(plans)
    while remaining:
        group = _stackable_with(remaining[0], remaining)
        remaining = [plan for plan in remaining if plan not in group]
        size = sum(p.numel() for p in build(group[0].student, data, 0).parameters())
        max_students = _max_students(group, seeds, data, batch_size, size) if together else 1
        max_students = min(max_students, limit or max_students)
        if max_students >= len(seeds):
            parts = _split_evenly(group, max_students // len(seeds))
            groups += [(part, list(seeds), size) for part in parts]
        else:
            for plan in group:
                groups += [([plan], part, size) for part in _split_evenly(seeds, max_students)]
    return [CohortPlan(number, *group) for number, group in enumerate(groups)]


def _stackable_with(first: ArmPlan, plans: Sequence[ArmPlan]) -> list[ArmPlan]:
    """Return the arms that can share a cohort with the first arm, including itself."""
    if first.objective.features:  # hooks read the layers of a single model
        return [first]
    return [
        plan for plan in plans if plan.shares_cohort_with(first) and not plan.objective.features
    ]


def _max_students(
    group: Sequence[ArmPlan], seeds: Sequence[int], data: Dataset, batch_size: int, size: int
) -> int:
    """Return the maximum number of students per cohort, from their parameters and logits."""
    first = group[0]
    if len(group) * len(seeds) == 1 or first.objective.features:
        return 1
    logits = batch_size * math.prod(data.answer_shape)
    limit = min(stack.MAX_STACKED // max(size, 1), MAX_LOGITS // logits)
    if limit <= 1 or not can_stack(first.student, data):
        return 1
    return limit


def can_stack(student: Builder, data: Dataset, students: int = 2) -> bool:
    """Whether copies of a student can be stacked; two copies are run together to find out.

    Args:
        student: Builder of the student.
        data: Dataset of the study.
        students: Number of copies.
    """
    pair = [build(student, data, seed) for seed in (0, 1)]
    if reason_not_to_stack(pair[0], students) is not None:
        return False
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            Cohort([pair]).train()(data.blank(2, 2))
        except (RuntimeError, ConfigError):
            return False
    return True


def _split_evenly(items: Sequence[T], max_length: int) -> list[list[T]]:
    """Split items into parts of similar length, each with at most ``max_length`` items."""
    parts = math.ceil(len(items) / max_length)
    cuts = [len(items) * i // parts for i in range(parts + 1)]
    return [list(items[start:end]) for start, end in itertools.pairwise(cuts)]
