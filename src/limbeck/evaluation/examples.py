"""Selection of test samples on which an arm and its control differ."""

from dataclasses import dataclass

import numpy as np
import torch

from limbeck.evaluation.metrics import top_class


@dataclass(frozen=True)
class Examples:
    """Samples on which an arm and its control differ.

    Attributes:
        rows: Indices of the samples; those that only the arm gets right come first.
        seeds: Index of a seed in which the two differ, for each sample.
        arm_alone: Number of samples that only the arm gets right, mean over seeds.
        control_alone: Number of samples that only the control gets right, mean over seeds.
    """

    rows: list[int]
    seeds: list[int]
    arm_alone: float
    control_alone: float


def select_examples(
    arm: np.ndarray, control: np.ndarray, labels: np.ndarray, limit: int
) -> Examples:
    """Select samples that only the arm gets right, and samples that only the control gets right.

    Both kinds are selected in proportion to their numbers, with at least one of each. Within a
    kind, the samples on which the most seeds differ come first.

    Args:
        arm: Logits of the arm, ``[S, N, C]``.
        control: Logits of the control, ``[S, N, C]``.
        labels: Labels ``[N]``.
        limit: Maximum number of samples.
    """
    arm_right = top_class(torch.as_tensor(arm)).numpy() == labels
    control_right = top_class(torch.as_tensor(control)).numpy() == labels
    only_arm, only_control = arm_right & ~control_right, control_right & ~arm_right
    arm_alone = float(only_arm.sum(1).mean())
    control_alone = float(only_control.sum(1).mean())
    arm_count, control_count = _split(limit, arm_alone, control_alone)
    arm_rows = _most_frequent(only_arm, arm_count)
    control_rows = _most_frequent(only_control, control_count)
    seeds = [_first_seed(only_arm, row) for row in arm_rows]
    seeds += [_first_seed(only_control, row) for row in control_rows]
    return Examples(arm_rows + control_rows, seeds, arm_alone, control_alone)


def _most_frequent(differs: np.ndarray, count: int) -> list[int]:
    """Return the samples on which the most seeds differ; ``differs`` is bool ``[S, N]``."""
    seeds = differs.sum(0)
    order = np.argsort(-seeds, kind="stable")[:count]
    return [int(row) for row in order if seeds[row]]


def _first_seed(differs: np.ndarray, row: int) -> int:
    return int(differs[:, row].argmax())


def _split(total: int, first: float, second: float) -> tuple[int, int]:
    """Split ``total`` in the ratio of two numbers; each part is at least 1 if both are above 0."""
    if not first or not second or total < 2:
        return (total, 0) if first >= second else (0, total)
    share = round(total * first / (first + second))
    share = min(max(share, 1), total - 1)
    return share, total - share
