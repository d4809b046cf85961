"""Grouping of arms and seeds into cohorts: students that are trained at once."""

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
MOST_LOGITS = 1 << 28
"""Most logits of a cohort for one batch: 1 GiB in float32, of which a step needs several."""


@dataclass(frozen=True)
class CohortPlan:
    """Arms and seeds whose students are trained at once.

    Attributes:
        number: Position among the cohorts of the study.
        arms: Arms with one architecture, inputs, optimizer and number of epochs.
        seeds: Seeds of each arm.
    """

    number: int
    arms: list[ArmPlan]
    seeds: list[int]

    @property
    def stage(self) -> str:
        """Name of the cohort's logs and checkpoints."""
        return f"cohort{self.number}"

    def students(self) -> Iterator[tuple[ArmPlan, int]]:
        """Arm and seed of each student."""
        return itertools.product(self.arms, self.seeds)


def plan_cohorts(
    plans: Sequence[ArmPlan], seeds: Sequence[int], data: Dataset, batch_size: int = 1
) -> list[CohortPlan]:
    """Split a study into cohorts.

    Arms that can be stacked are together with all their seeds, as many as fit; other students are
    trained one at a time.

    Args:
        plans: Arms of the study.
        seeds: Seeds of every arm.
        data: Dataset of the study.
        batch_size: Batch size of every student.
    """
    groups: list[tuple[list[ArmPlan], list[int]]] = []
    remaining = list(plans)
    while remaining:
        group = _stackable_with(remaining[0], remaining)
        remaining = [plan for plan in remaining if plan not in group]
        most = _most_stacked(group, seeds, data, batch_size)
        if most >= len(seeds):
            parts = _split_evenly(group, most // len(seeds))
            groups += [(part, list(seeds)) for part in parts]
        else:
            for plan in group:
                groups += [([plan], part) for part in _split_evenly(seeds, most)]
    return [CohortPlan(number, arms, part) for number, (arms, part) in enumerate(groups)]


def _stackable_with(first: ArmPlan, plans: Sequence[ArmPlan]) -> list[ArmPlan]:
    """Arms that may share a cohort with the first one, including it."""
    if first.objective.features:  # hooks read the layers of one model
        return [first]
    return [
        plan for plan in plans if plan.shares_cohort_with(first) and not plan.objective.features
    ]


def _most_stacked(
    group: Sequence[ArmPlan], seeds: Sequence[int], data: Dataset, batch_size: int
) -> int:
    """Largest number of students in one cohort, by their parameters and their logits of a batch."""
    first = group[0]
    if len(group) * len(seeds) == 1 or first.objective.features:
        return 1
    size = sum(p.numel() for p in build(first.student, data, 0).parameters())
    logits = batch_size * math.prod(data.answer_shape)
    most = min(stack.MAX_STACKED // max(size, 1), MOST_LOGITS // logits)
    if most <= 1 or not can_stack(first.student, data):
        return 1
    return most


def can_stack(student: Builder, data: Dataset, students: int = 2) -> bool:
    """Whether copies of a student can be one cohort: no reason against it, and two run together.

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


def _split_evenly(items: Sequence[T], most: int) -> list[list[T]]:
    """The items in parts of at most ``most``, of about the same length."""
    parts = math.ceil(len(items) / most)
    cuts = [len(items) * i // parts for i in range(parts + 1)]
    return [list(items[start:end]) for start, end in itertools.pairwise(cuts)]
