"""Constants added to a trained student's logits, one a class: set by the class prior, or, to see
how far, on the test.

A student that never saw a class answers well for it once that class's constant is raised (Hinton,
Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 3).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.evaluation.metrics import errors

BIASES = ("prior", "kappa")
"""Ways to set constants that a study may use; none looks at the test split."""
CHOSEN_ON_TEST = "chosen on test"
_ROUNDS, _CLOSE, _RIDGE = 300, 1e-9, 1e-12


def prior_bias(logits: Tensor, prior: Tensor, absent: Sequence[int] = ()) -> Tensor:
    """Constants with which the mean softmax over some inputs is a given distribution; no label is
    used.

    Where a student never saw some classes, these alone have constants: the others learnt from each
    other how often they come. They count as one class, whose probability is the sum of theirs.

    They minimise the convex function ``mean(logsumexp(logits + b)) - prior @ b``, whose gradient is
    the mean softmax minus the prior. Each round takes a step ``b += log(prior / mean softmax)``,
    which always leads downwards, and one of Newton's if that leads nearer.

    Args:
        logits: of these inputs, ``[N, C]``.
        prior: share of each class, above 0, ``[C]``; its sum is 1.
        absent: classes that were never seen.

    Returns:
        float64 ``[C]``: with mean 0, or with 0 at the classes that are not absent.
    """
    z, prior = logits.double(), prior.double()
    if not absent:
        found = _matching(z, prior)
        return found - found.mean()
    hidden = _mask(absent, len(prior))
    others = z[:, ~hidden].logsumexp(-1, keepdim=True)
    found = _matching(
        torch.cat([z[:, hidden], others], 1), torch.cat([prior[hidden], prior[~hidden].sum()[None]])
    )
    bias = torch.zeros_like(prior)
    bias[hidden] = found[:-1] - found[-1]
    return bias


def _mask(chosen: Sequence[int], classes: int) -> Tensor:
    mask = torch.zeros(classes, dtype=torch.bool)
    mask[list(chosen)] = True
    return mask


def _matching(z: Tensor, prior: Tensor) -> Tensor:
    """Constants for float64 logits ``[N, C]`` with which their mean softmax is the prior ``[C]``."""
    bias = torch.zeros_like(prior)
    for _ in range(_ROUNDS):
        bias = bias + prior.log() - _mean_log_softmax(z + bias)
        p = torch.softmax(z + bias, -1)
        gradient = p.mean(0) - prior
        if float(gradient.abs().max()) < _CLOSE:
            break
        curvature = (
            torch.diag(p.mean(0)) - p.T @ p / len(p) + 1 / len(prior)
        )  # singular without the last term
        step = torch.linalg.solve(
            curvature + _RIDGE * torch.eye(len(prior), dtype=z.dtype), gradient
        )
        for size in (1.0, 0.5, 0.25, 0.1, 0.03, 0.01):
            there = torch.softmax(z + bias - size * step, -1).mean(0) - prior
            if there.norm() < gradient.norm():
                bias = bias - size * step
                break
    return bias


def _mean_log_softmax(z: Tensor) -> Tensor:
    """Logarithm of the mean softmax, ``[C]``."""
    return torch.log_softmax(z, -1).logsumexp(0) - math.log(len(z))


def class_prior(labels: Tensor, classes: int) -> Tensor:
    """Share of each class among labels, float64 ``[C]``; a class without a sample counts as half a
    one.
    """
    counts = torch.bincount(labels, minlength=classes).double().clamp(min=0.5)
    return counts / counts.sum()


def bias_chosen_on_test(logits: Tensor, labels: Tensor, absent: Sequence[int]) -> Tensor:
    """One constant for the classes that a student never saw, with which it makes the fewest errors
    on these labels.

    Adding it to the absent classes is subtracting it from the others. It is chosen where its result
    is counted, so
    that result is no estimate of anything: it shows how far a constant could go.

    Args:
        logits: ``[N, C]``.
        labels: int64 ``[N]``.
        absent: some classes, not all.

    Returns:
        float64 ``[C]``: the constant at the absent classes, 0 at the others; of many as good the
        middle of their range.
    """
    z = logits.double()
    hidden = _mask(absent, z.shape[1])
    (shown_top, shown), (hidden_top, unseen) = (
        z.masked_fill(hidden, -torch.inf).max(-1),
        z.masked_fill(~hidden, -torch.inf).max(-1),
    )
    turns = shown_top - hidden_top  # with a larger constant the answer is an absent class
    order = turns.argsort()
    gained = ((unseen == labels).long() - (shown == labels).long())[order]
    right = torch.cat([(shown == labels).sum()[None], (shown == labels).sum() + gained.cumsum(0)])
    edges = torch.cat([turns.min()[None] - 1, turns[order], turns.max()[None] + 1])
    right = torch.where(edges[1:] > edges[:-1], right, -1)  # no constant lies between equal turns
    best = int(right.argmax())
    return torch.where(hidden, (edges[best] + edges[best + 1]) / 2, 0.0)


def recall(logits: Tensor, labels: Tensor) -> list[float | None]:
    """Share of each class's samples that get this class; None for a class without a sample.

    Args:
        logits: ``[N, C]``.
        labels: int64 ``[N]``.
    """
    found: list[float | None] = []
    for c in range(logits.shape[-1]):
        of_class = labels == c
        wrong = int(errors(logits[of_class], labels[of_class]))
        total = int(of_class.sum())
        found.append((total - wrong) / total if total else None)
    return found
