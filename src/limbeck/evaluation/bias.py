"""Constants added to a trained student's logits, one for each class.

A student that never saw a class predicts it well once the constant of that class is raised (Hinton,
Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 3).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.evaluation.metrics import errors

BIASES = ("prior", "kappa")
"""Ways in which a study may set constants; neither uses the test split."""
CHOSEN_ON_TEST = "chosen on test"
_ROUNDS, _CLOSE, _RIDGE = 300, 1e-9, 1e-12
_STEPS = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01)


def prior_bias(logits: Tensor, prior: Tensor, absent: Sequence[int] = ()) -> Tensor:
    """Constants with which the mean softmax over some inputs equals a given distribution.

    No label is used. If the student never saw some classes, only these have constants: the other
    classes learned from each other how frequent they are, and count as one class whose probability
    is the sum of theirs.

    The constants minimise the convex function ``mean(logsumexp(logits + b)) - prior @ b``, whose
    gradient is the mean softmax minus the prior. Each round takes the step
    ``b += log(prior / mean softmax)``, which always decreases it, and then a Newton step if that
    leads nearer.

    Args:
        logits: Logits of the inputs, ``[N, C]``.
        prior: Share of each class, above 0 and with sum 1, ``[C]``.
        absent: Classes that the student never saw.

    Returns:
        float64 ``[C]``, with mean 0; with ``absent`` classes instead 0 at the other classes.
    """
    z, prior = logits.double(), prior.double()
    if not absent:
        bias = _match(z, prior)
        return bias - bias.mean()
    hidden = _mask(absent, len(prior))
    others = z[:, ~hidden].logsumexp(-1, keepdim=True)
    prior_of_others = prior[~hidden].sum()[None]
    constants = _match(
        torch.cat([z[:, hidden], others], 1), torch.cat([prior[hidden], prior_of_others])
    )
    bias = torch.zeros_like(prior)
    bias[hidden] = constants[:-1] - constants[-1]
    return bias


def _mask(members: Sequence[int], classes: int) -> Tensor:
    mask = torch.zeros(classes, dtype=torch.bool)
    mask[list(members)] = True
    return mask


def _match(z: Tensor, prior: Tensor) -> Tensor:
    """Constants ``[C]`` with which the mean softmax of float64 logits ``[N, C]`` is the prior."""
    bias = torch.zeros_like(prior)
    for _ in range(_ROUNDS):
        bias = bias + prior.log() - _mean_log_softmax(z + bias)
        p = torch.softmax(z + bias, -1)
        gradient = p.mean(0) - prior
        if float(gradient.abs().max()) < _CLOSE:
            break
        hessian = torch.diag(p.mean(0)) - p.T @ p / len(p)
        regular = hessian + 1 / len(prior)  # the Hessian alone is singular
        step = torch.linalg.solve(regular + _RIDGE * torch.eye(len(prior), dtype=z.dtype), gradient)
        for size in _STEPS:
            moved = bias - size * step
            remaining = torch.softmax(z + bias - size * step, -1).mean(0) - prior
            if remaining.norm() < gradient.norm():
                bias = moved
                break
    return bias


def _mean_log_softmax(z: Tensor) -> Tensor:
    """Logarithm of the mean softmax, ``[C]``."""
    return torch.log_softmax(z, -1).logsumexp(0) - math.log(len(z))


def class_prior(labels: Tensor, classes: int) -> Tensor:
    """Share of each class among labels; a class without samples counts as half a sample.

    Args:
        labels: Labels, int64 ``[N]``.
        classes: Number of classes, C.

    Returns:
        float64 ``[C]``, with sum 1.
    """
    counts = torch.bincount(labels, minlength=classes).double().clamp(min=0.5)
    return counts / counts.sum()


def bias_chosen_on_test(logits: Tensor, labels: Tensor, absent: Sequence[int]) -> Tensor:
    """The constant for the absent classes that makes the fewest errors on these labels.

    It is chosen where its result is counted, so that result estimates nothing: it shows how far a
    constant could go.

    Args:
        logits: Logits ``[N, C]``.
        labels: Labels, int64 ``[N]``.
        absent: Classes that the student never saw; some, not all.

    Returns:
        float64 ``[C]``: the constant at the absent classes, 0 at the others. If all constants of a
        range are equally good, the middle of the range.
    """
    z = logits.double()
    hidden = _mask(absent, z.shape[1])
    best_known, known = z.masked_fill(hidden, -torch.inf).max(-1)
    best_hidden, unknown = z.masked_fill(~hidden, -torch.inf).max(-1)
    turns = best_known - best_hidden  # above this constant, the prediction is an absent class
    order = turns.argsort()
    gained = ((unknown == labels).long() - (known == labels).long())[order]
    right_at_first = (known == labels).sum()
    right = torch.cat([right_at_first[None], right_at_first + gained.cumsum(0)])
    edges = torch.cat([turns.min()[None] - 1, turns[order], turns.max()[None] + 1])
    right = torch.where(edges[1:] > edges[:-1], right, -1)  # no constant lies between equal turns
    best = int(right.argmax())
    return torch.where(hidden, (edges[best] + edges[best + 1]) / 2, 0.0)


def recall(logits: Tensor, labels: Tensor) -> list[float | None]:
    """Share of each class's samples that are predicted as this class.

    Args:
        logits: Logits ``[N, C]``.
        labels: Labels, int64 ``[N]``.

    Returns:
        One value per class; None for a class without samples.
    """
    recalls: list[float | None] = []
    for c in range(logits.shape[-1]):
        of_class = labels == c
        wrong = int(errors(logits[of_class], labels[of_class]))
        total = int(of_class.sum())
        recalls.append((total - wrong) / total if total else None)
    return recalls
