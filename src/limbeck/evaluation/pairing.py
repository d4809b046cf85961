"""Comparison of arms of different runs, which share the test samples but perhaps not the seeds."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from limbeck.evaluation.statistics import crossed_test
from limbeck.evaluation.verdict import delta_of, verdict
from limbeck.run.comparison import Comparison, GapClosed
from limbeck.run.summary import MeasureKey


@dataclass(frozen=True)
class ArmScores:
    """Test results of an arm.

    Attributes:
        name: Name of the arm, unique among the runs.
        values: Contribution of each test sample to the measure by seed, ``[N]``: 1 for an error and
            0 otherwise, its share of the mean squared error, or the bits per byte of a segment of
            text.
        errors: Number of test errors by seed.
    """

    name: str
    values: Mapping[int, np.ndarray]
    errors: Mapping[int, float]


def pair_seeds(first: Collection[int], second: Collection[int]) -> list[tuple[int, int]]:
    """Pair the seeds of two arms: equal seeds with each other, the others in their order.

    Students of equal seeds have the same data order, and the same initial weights if their
    architectures are equal, which makes a test of their differences more powerful. Other students
    are independent, so any fixed pairing of them is valid. Surplus seeds are left out.
    """
    common = set(first) & set(second)
    pairs = [(seed, seed) for seed in common]
    pairs += zip(sorted(set(first) - common), sorted(set(second) - common), strict=False)
    return sorted(pairs)


def compare_scores(arm: ArmScores, control: ArmScores, measure: MeasureKey) -> Comparison:
    """Compare two arms over the same test samples.

    Args:
        arm: Results of one arm.
        control: Results of the other, from which the differences are taken.
        measure: Metric of the values.
    """
    pairs = pair_seeds(arm.values.keys(), control.values.keys())
    differences = np.stack([arm.values[mine] - control.values[other] for mine, other in pairs])
    test = crossed_test(differences)
    deltas: dict[str, Any] = {}
    if measure in ("errors", "bits_per_byte"):
        changes = [arm.errors[mine] - control.errors[other] for mine, other in pairs]
        deltas["delta_errors"] = delta_of(changes, test if measure == "errors" else None)
    if measure != "errors":
        deltas[f"delta_{measure}"] = delta_of(differences.sum(1).tolist(), test)
    return Comparison(
        arm=arm.name,
        control=control.name,
        **deltas,
        p_value=test.p_value,
        gap_closed=GapClosed(errors=None, nll=None),
        verdict=verdict(test),
    )
