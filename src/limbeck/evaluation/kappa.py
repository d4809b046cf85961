"""Constants that, added to the logits of graded classes, maximise the quadratic kappa."""

import math

import torch
from torch import Tensor

from limbeck.evaluation.metrics import kappa_distances, quadratic_kappa

SWEEPS, MATCHING_SWEEPS = 50, 5
_PROGRESS = 1e-12


def fit_offsets(logits: Tensor, labels: Tensor) -> Tensor:
    """Fit constants for the classes by coordinate search for the largest quadratic kappa.

    Coordinate k is the threshold between the grades below k and those from k on, whose constants
    all rise together. For one threshold every place between two samples is tried, so its optimum is
    exact; the search ends when no threshold moves. It starts twice, without constants and with
    those that predict every grade as often as it occurs, and returns the better result: kappa never
    decreases. Fit on the validation split.

    Args:
        logits: Logits ``[N, C]``.
        labels: Grades, int64 ``[N]``.

    Returns:
        float64 ``[C]``, the first 0; to be added to logits.

    Raises:
        ValueError: If the shapes do not match.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"Expected logits [N, C] and labels [N], got {list(logits.shape)} and "
            f"{list(labels.shape)}."
        )
    scores, labels = logits.detach().double().cpu(), labels.cpu()
    zeros = torch.zeros(scores.shape[1], dtype=torch.float64)
    if not len(scores) or not bool(scores.isfinite().all()):
        return zeros
    starts = (zeros, _match_frequencies(scores, labels, zeros))
    ends = [_search(scores, labels, start) for start in starts]
    return max(ends, key=lambda end: _kappa(scores + end, labels))


def _search(scores: Tensor, labels: Tensor, offsets: Tensor) -> Tensor:
    best = _kappa(scores + offsets, labels)
    for _ in range(SWEEPS):
        before = best
        for grade in range(1, len(offsets)):
            constant = _best_constant(scores + offsets, labels, grade)
            candidate = _raise_from(offsets, grade, constant)
            kappa = _kappa(scores + candidate, labels)
            if kappa > best + _PROGRESS:
                offsets, best = candidate, kappa
        if best == before:
            break
    return offsets


def _match_frequencies(scores: Tensor, labels: Tensor, offsets: Tensor) -> Tensor:
    """Constants with which as many samples are predicted to be at least of a grade as there are."""
    for _ in range(MATCHING_SWEEPS):
        for grade in range(1, len(offsets)):
            edges, _ = _edges(scores + offsets, grade)
            count = int((labels >= grade).sum())
            constant = float(edges[count] + edges[count + 1]) / 2
            offsets = _raise_from(offsets, grade, constant)
    return offsets


def _raise_from(offsets: Tensor, grade: int, constant: float) -> Tensor:
    """Offsets with a constant added from ``grade`` on."""
    result = offsets.clone()
    result[grade:] += constant
    return result


def _kappa(logits: Tensor, labels: Tensor) -> float:
    kappa = float(quadratic_kappa(logits, labels))
    return -1.0 if math.isnan(kappa) else kappa


def _edges(scores: Tensor, grade: int) -> tuple[Tensor, Tensor]:
    """Constants at which samples cross the threshold below ``grade``, in ascending order.

    Returns:
        Edges ``[N + 2]``: between edges n and n + 1, n samples are at least of the grade. And the
        samples in the order in which they cross, ``[N]``.
    """
    margin, order = (scores[:, :grade].amax(1) - scores[:, grade:].amax(1)).sort(stable=True)
    return torch.cat((margin[:1] - 2, margin, margin[-1:] + 2)), order


def _best_constant(scores: Tensor, labels: Tensor, grade: int) -> float:
    """The constant for the grades from ``grade`` on that gives the largest kappa.

    Kappa is 1 - observed / expected, and both are sums over samples. As samples cross the threshold
    one by one, cumulative sums give both for every constant.
    """
    edges, order = _edges(scores, grade)
    rows = torch.arange(len(labels))
    below, above = scores[:, :grade].argmax(1), scores[:, grade:].argmax(1) + grade
    distance, chance = kappa_distances(labels, scores.shape[1])
    start = torch.stack((distance[rows, below], chance[below]))
    change = torch.stack((distance[rows, above], chance[above])) - start
    at_start = start.sum(1, keepdim=True)
    observed, expected = torch.cat((at_start, at_start + change[:, order].cumsum(1)), dim=1)
    kappa = torch.where(expected > _PROGRESS, 1 - observed / expected, -1.0)
    kappa[edges.diff() <= 0] = -torch.inf  # samples of one margin cross together
    place = int(kappa.argmax())
    return float(edges[place] + edges[place + 1]) / 2
