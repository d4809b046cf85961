"""Constants added to a trained student's logits, one for each class.

A student that never saw a class can still predict it well if the constant of that class is raised
(Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 3).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.evaluation.metrics import errors

BIASES = ("prior", "kappa")
"""Methods by which a study may set constants; neither uses the test split."""
CHOSEN_ON_TEST = "chosen on test"
_MAX_ROUNDS, _TOLERANCE, _RIDGE = 300, 1e-9, 1e-12
_STEP_SIZES = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01)


def prior_bias(logits: Tensor, prior: Tensor, absent: Sequence[int] = ()) -> Tensor:
    """Find constants that make the mean softmax over some inputs equal a given distribution.

    No label is used. If the student never saw some classes, only these get constants. The student
    learned how frequent the other classes are relative to each other, so they are treated as one
    class with the sum of their probabilities.

    The constants minimise the convex function ``mean(logsumexp(logits + b)) - prior @ b``, whose
    gradient is the mean softmax minus the prior. Each round takes the step
    ``b += log(prior / mean softmax)``, which always decreases the function, and then a Newton step
    if that reduces the gradient.

    Args:
        logits: Logits of the inputs, ``[N, C]``; rows that are not finite are left out.
        prior: Share of each class, ``[C]``, all above 0, with sum 1.
        absent: Classes that the student never saw.

    Returns:
        float64 ``[C]``. The mean is 0; or, with ``absent`` classes, the other classes have 0. All
        are 0 if no row is finite.
    """
    z, prior = logits[logits.isfinite().all(-1)].double(), prior.double()
    if not len(z):
        return torch.zeros_like(prior)
    if not absent:
        bias = _match(z, prior)
        return bias - bias.mean()
    is_absent = _mask(absent, len(prior))
    others = z[:, ~is_absent].logsumexp(-1, keepdim=True)
    prior_of_others = prior[~is_absent].sum()[None]
    constants = _match(
        torch.cat([z[:, is_absent], others], 1), torch.cat([prior[is_absent], prior_of_others])
    )
    bias = torch.zeros_like(prior)
    bias[is_absent] = constants[:-1] - constants[-1]
    return bias


def _mask(members: Sequence[int], classes: int) -> Tensor:
    mask = torch.zeros(classes, dtype=torch.bool)
    mask[list(members)] = True
    return mask


def _match(z: Tensor, prior: Tensor) -> Tensor:
    """Find constants ``[C]`` that make the mean softmax of float64 ``[N, C]`` equal the prior."""
    bias = torch.zeros_like(prior)
    for _ in range(_MAX_ROUNDS):
        bias = bias + prior.log() - _mean_log_softmax(z + bias)
        p = torch.softmax(z + bias, -1)
        gradient = p.mean(0) - prior
        if float(gradient.abs().max()) < _TOLERANCE:
            break
        hessian = torch.diag(p.mean(0)) - p.T @ p / len(p)
        regular = hessian + 1 / len(prior)  # the Hessian alone is singular
        step = torch.linalg.solve(regular + _RIDGE * torch.eye(len(prior), dtype=z.dtype), gradient)
        for size in _STEP_SIZES:
            candidate = bias - size * step
            remaining = torch.softmax(z + bias - size * step, -1).mean(0) - prior
            if remaining.norm() < gradient.norm():
                bias = candidate
                break
    return bias


def _mean_log_softmax(z: Tensor) -> Tensor:
    """Return the logarithm of the mean softmax, ``[C]``."""
    return torch.log_softmax(z, -1).logsumexp(0) - math.log(len(z))


def class_prior(labels: Tensor, classes: int) -> Tensor:
    """Compute the share of each class; a class without samples counts as half a sample.

    Args:
        labels: Labels, int64 ``[N]``.
        classes: Number of classes, C.

    Returns:
        float64 ``[C]``, with sum 1.
    """
    counts = torch.bincount(labels, minlength=classes).double().clamp(min=0.5)
    return counts / counts.sum()


def bias_chosen_on_test(logits: Tensor, labels: Tensor, absent: Sequence[int]) -> Tensor:
    """Find the constant for the absent classes that makes the fewest errors on these labels.

    The constant is chosen on the same labels that score it, so the result is an upper bound and not
    an estimate.

    Args:
        logits: Logits ``[N, C]``.
        labels: Labels, int64 ``[N]``.
        absent: Classes that the student never saw; at least one, and not all.

    Returns:
        float64 ``[C]``: the constant at the absent classes, 0 at the others. If a range of
        constants is equally good, its middle is taken.
    """
    z = logits.double()
    is_absent = _mask(absent, z.shape[1])
    present_logit, present_class = z.masked_fill(is_absent, -torch.inf).max(-1)
    absent_logit, absent_class = z.masked_fill(~is_absent, -torch.inf).max(-1)
    # above its threshold, a constant changes the prediction of a sample to an absent class
    thresholds = present_logit - absent_logit
    order = thresholds.argsort()
    gain = ((absent_class == labels).long() - (present_class == labels).long())[order]
    initial = (present_class == labels).sum()
    correct = torch.cat([initial[None], initial + gain.cumsum(0)])
    edges = torch.cat([thresholds.min()[None] - 1, thresholds[order], thresholds.max()[None] + 1])
    correct = torch.where(edges[1:] > edges[:-1], correct, -1)  # no room between equal thresholds
    best = int(correct.argmax())
    return torch.where(is_absent, (edges[best] + edges[best + 1]) / 2, 0.0)


def recall(logits: Tensor, labels: Tensor) -> list[float | None]:
    """Compute the share of each class's samples that are predicted as this class.

    Args:
        logits: Logits ``[N, C]``.
        labels: Labels, int64 ``[N]``.

    Returns:
        One value per class; None for a class without samples.
    """
    recalls: list[float | None] = []
    for c in range(logits.shape[-1]):
        in_class = labels == c
        wrong = int(errors(logits[in_class], labels[in_class]))
        total = int(in_class.sum())
        recalls.append((total - wrong) / total if total else None)
    return recalls
