"""Constants for the logits of graded classes that maximise the quadratic kappa."""

import math

import torch
from torch import Tensor

from limbeck.evaluation.metrics import kappa_distances, quadratic_kappa

MAX_SWEEPS, MATCHING_SWEEPS = 50, 5
_MIN_GAIN = 1e-12


def fit_offsets(logits: Tensor, labels: Tensor) -> Tensor:
    """Fit constants for the classes by coordinate search for the largest quadratic kappa.

    Coordinate k is one constant added to all grades from k on, which moves the threshold between
    grades k - 1 and k. All positions of the threshold between two samples are tried, so the optimum
    along a coordinate is exact. The search ends when no threshold moves. It runs twice, from zeros
    and from constants that predict every grade as often as it occurs, and the better result is
    returned, so kappa never decreases. Fit on the validation split.

    Args:
        logits: Logits ``[N, C]``.
        labels: Grades, int64 ``[N]``.

    Returns:
        Constants to add to the logits, float64 ``[C]``; the first is 0.

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
    results = [_search(scores, labels, start) for start in starts]
    return max(results, key=lambda offsets: _kappa(scores + offsets, labels))


def _search(scores: Tensor, labels: Tensor, offsets: Tensor) -> Tensor:
    best = _kappa(scores + offsets, labels)
    for _ in range(MAX_SWEEPS):
        before = best
        for grade in range(1, len(offsets)):
            constant = _best_constant(scores + offsets, labels, grade)
            candidate = _raise_from(offsets, grade, constant)
            kappa = _kappa(scores + candidate, labels)
            if kappa > best + _MIN_GAIN:
                offsets, best = candidate, kappa
        if best == before:
            break
    return offsets


def _match_frequencies(scores: Tensor, labels: Tensor, offsets: Tensor) -> Tensor:
    """Find constants with which each grade is predicted about as often as it occurs."""
    for _ in range(MATCHING_SWEEPS):
        for grade in range(1, len(offsets)):
            edges, _ = _edges(scores + offsets, grade)
            count = int((labels >= grade).sum())
            constant = float(edges[count] + edges[count + 1]) / 2
            offsets = _raise_from(offsets, grade, constant)
    return offsets


def _raise_from(offsets: Tensor, grade: int, constant: float) -> Tensor:
    """Return the offsets with a constant added to the grades from ``grade`` on."""
    result = offsets.clone()
    result[grade:] += constant
    return result


def _kappa(logits: Tensor, labels: Tensor) -> float:
    kappa = float(quadratic_kappa(logits, labels))
    return -1.0 if math.isnan(kappa) else kappa


def _edges(scores: Tensor, grade: int) -> tuple[Tensor, Tensor]:
    """Find the constants at which samples cross the threshold below ``grade``.

    Returns:
        Edges in ascending order, ``[N + 2]``: between edges n and n + 1, n samples are predicted as
        ``grade`` or higher. And the samples in the order in which they cross, ``[N]``.
    """
    margin, order = (scores[:, :grade].amax(1) - scores[:, grade:].amax(1)).sort(stable=True)
    return torch.cat((margin[:1] - 2, margin, margin[-1:] + 2)), order


def _best_constant(scores: Tensor, labels: Tensor, grade: int) -> float:
    """Find the constant for the grades from ``grade`` on with the largest kappa.

    Kappa is 1 - observed / expected, and both are sums over samples. Samples cross the threshold
    one by one, so cumulative sums give both for every constant.
    """
    edges, order = _edges(scores, grade)
    rows = torch.arange(len(labels))
    below, above = scores[:, :grade].argmax(1), scores[:, grade:].argmax(1) + grade
    distance, chance = kappa_distances(labels, scores.shape[1])
    start = torch.stack((distance[rows, below], chance[below]))
    change = torch.stack((distance[rows, above], chance[above])) - start
    total = start.sum(1, keepdim=True)
    observed, expected = torch.cat((total, total + change[:, order].cumsum(1)), dim=1)
    kappa = torch.where(expected > _MIN_GAIN, 1 - observed / expected, -1.0)
    kappa[edges.diff() <= 0] = -torch.inf  # samples with equal margins cross together
    best = int(kappa.argmax())
    return float(edges[best] + edges[best + 1]) / 2
