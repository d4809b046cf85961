"""Test samples that show a difference: those that an arm gets right and its control wrong, and the
other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Differing:
    """Samples on which an arm and its control differ.

    Attributes:
        rows: of the samples to show, those that the arm alone gets right first.
        seeds: position of the seed whose answers are shown, for each.
        arm_alone: samples that the arm alone gets right, mean over seeds.
        control_alone: samples that the control alone gets right, mean over seeds.
    """

    rows: list[int]
    seeds: list[int]
    arm_alone: float
    control_alone: float


def differing(arm: np.ndarray, control: np.ndarray, labels: np.ndarray, most: int) -> Differing:
    """Choose samples to show, of both kinds in proportion to how often they occur (one of each at
    least).

    Of each kind those come first on which most seeds differ so.

    Args:
        arm: logits ``[S, N, C]``, seed by seed.
        control: logits, likewise.
        labels: ``[N]``.
        most: how many to choose.
    """
    right, before = arm.argmax(-1) == labels, control.argmax(-1) == labels
    kinds = [right & ~before, before & ~right]
    numbers = [float(kind.sum(1).mean()) for kind in kinds]
    rows: list[int] = []
    seeds: list[int] = []
    for kind, room in zip(kinds, _shares(numbers, most), strict=True):
        often = kind.sum(0)
        order = np.argsort(-often, kind="stable")[:room]
        chosen = [int(row) for row in order if often[row]]
        rows += chosen
        seeds += [int(kind[:, row].argmax()) for row in chosen]
    return Differing(rows, seeds, *numbers)


def _shares(numbers: Sequence[float], most: int) -> tuple[int, int]:
    """How many of each kind."""
    first, second = numbers
    if not first or not second or most < 2:
        return (most, 0) if first >= second else (0, most)
    share = round(most * first / (first + second))
    share = min(max(share, 1), most - 1)
    return share, most - share
