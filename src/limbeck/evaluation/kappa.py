"""Constants that, added to the logits of graded classes, give the largest quadratic kappa."""

import math

import torch
from torch import Tensor

from limbeck.evaluation.metrics import kappa_distances, quadratic_kappa

SWEEPS, MATCHING_SWEEPS = 50, 5
_PROGRESS = 1e-12


def fit_offsets(logits: Tensor, labels: Tensor) -> Tensor:
    """Constants for the classes with which logits have the largest quadratic kappa that a
    coordinate search finds.

    Coordinate k is the threshold between the grades below k and those from k on, which all get the
    same constant more. For one threshold every place between two samples is tried, so its best is
    found; the search goes on to the next until none moves. It begins twice, without constants and
    with those that make every grade as frequent as it is,
    and keeps the better end: kappa never becomes smaller. To be fitted on the validation split.

    Args:
        logits: ``[N, C]``.
        labels: int64 grades, ``[N]``.

    Returns:
        float64, ``[C]``, the first 0; add it to logits.

    Raises:
        ValueError: the shapes do not fit together.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"expected logits [N, C] and labels [N], got {list(logits.shape)} and "
            f"{list(labels.shape)}."
        )
    scores, labels = logits.detach().double().cpu(), labels.cpu()
    none = torch.zeros(scores.shape[1], dtype=torch.float64)
    if not len(scores) or not bool(scores.isfinite().all()):
        return none
    ends = [_search(scores, labels, start) for start in (none, _as_frequent(scores, labels, none))]
    return max(ends, key=lambda end: _kappa(scores + end, labels))


def _search(scores: Tensor, labels: Tensor, offsets: Tensor) -> Tensor:
    best = _kappa(scores + offsets, labels)
    for _ in range(SWEEPS):
        before = best
        for grade in range(1, len(offsets)):
            moved = _moved(offsets, grade, _best_move(scores + offsets, labels, grade))
            found = _kappa(scores + moved, labels)
            if found > best + _PROGRESS:
                offsets, best = moved, found
        if best == before:
            break
    return offsets


def _as_frequent(scores: Tensor, labels: Tensor, offsets: Tensor) -> Tensor:
    """Constants with which as many samples are at least of a grade as there are."""
    for _ in range(MATCHING_SWEEPS):
        for grade in range(1, len(offsets)):
            edges, _ = _edges(scores + offsets, grade)
            count = int((labels >= grade).sum())
            offsets = _moved(offsets, grade, float(edges[count] + edges[count + 1]) / 2)
    return offsets


def _moved(offsets: Tensor, grade: int, constant: float) -> Tensor:
    moved = offsets.clone()
    moved[grade:] += constant
    return moved


def _kappa(logits: Tensor, labels: Tensor) -> float:
    found = float(quadratic_kappa(logits, labels))
    return -1.0 if math.isnan(found) else found


def _edges(scores: Tensor, grade: int) -> tuple[Tensor, Tensor]:
    """Between which constants for the grades from ``grade`` on how many samples are at least of it.

    Returns:
        ``[N + 2]``, n samples between entries n and n + 1; and the samples in the order in which
        they join, ``[N]``.
    """
    margin, order = (scores[:, :grade].amax(1) - scores[:, grade:].amax(1)).sort(stable=True)
    return torch.cat((margin[:1] - 2, margin, margin[-1:] + 2)), order


def _best_move(scores: Tensor, labels: Tensor, grade: int) -> float:
    """The constant for the grades from ``grade`` on that gives the largest kappa.

    Kappa is 1 - found / expected, and both are sums over samples: as these change sides one by one,
    the sums add up.
    """
    edges, order = _edges(scores, grade)
    rows = torch.arange(len(labels))
    below, above = scores[:, :grade].argmax(1), scores[:, grade:].argmax(1) + grade
    distance, chance = kappa_distances(labels, scores.shape[1])
    start = torch.stack((distance[rows, below], chance[below]))
    change = torch.stack((distance[rows, above], chance[above])) - start
    begun = start.sum(1, keepdim=True)
    found, expected = torch.cat((begun, begun + change[:, order].cumsum(1)), dim=1)
    kappa = torch.where(expected > _PROGRESS, 1 - found / expected, -1.0)
    kappa[edges.diff() <= 0] = -torch.inf  # samples of one margin change sides together
    place = int(kappa.argmax())
    return float(edges[place] + edges[place + 1]) / 2
