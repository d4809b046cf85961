"""Sparse distributions: the most probable classes with a summary of the rest, or a sample."""

import torch
from torch import Tensor

MIN_LOG_P = -65504.0
"""Smallest log-probability, the smallest number in float16; smaller ones are clamped to it."""
MARGIN = 2.0**-14
"""Relative margin within which a class counts as certain, so that rounding draws no class twice."""


def log_probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """``log softmax(logits / temperature)`` in nats, ``[..., C]``, at least :data:`MIN_LOG_P`."""
    return torch.log_softmax(_softened(logits, temperature), -1).clamp_(min=MIN_LOG_P)


def probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """``softmax(logits / temperature)``, ``[..., C]``."""
    return torch.softmax(_softened(logits, temperature), -1)


def _softened(logits: Tensor, temperature: float) -> Tensor:
    """Logits divided by the temperature, shifted to a maximum of 0 so that they do not overflow."""
    return (logits - logits.amax(-1, keepdim=True)).div_(temperature)


def tail_of(log_p: Tensor, ids: Tensor) -> Tensor:
    """Total probability and mean log-probability of all other classes.

    Args:
        log_p: Log-probabilities, ``[..., C]``.
        ids: K different classes, int64 ``[..., K]``.

    Returns:
        The log of the total probability and the mean log-probability of the others, ``[..., 2]``;
        both at least :data:`MIN_LOG_P`, which also stands for no others.
    """
    others = log_p.shape[-1] - ids.shape[-1]
    if others == 0:
        return log_p.new_full((*log_p.shape[:-1], 2), MIN_LOG_P)
    rest = log_p.scatter(-1, ids, 0.0)
    mean = rest.sum(-1) / others
    mass = rest.scatter_(-1, ids, float("-inf")).logsumexp(-1)
    return torch.stack([mass, mean], -1).clamp_(min=MIN_LOG_P)


def most_probable(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Select the K most probable classes, and summarise the others.

    Args:
        logits: Finite logits, ``[..., C]``.
        k: Number of classes, K, at most C.

    Returns:
        The classes (int64 ``[..., K]``, the most probable first), their log-probabilities in nats
        (``[..., K]``) and :func:`tail_of` the others (``[..., 2]``).
    """
    log_p = log_probabilities(logits)
    top, ids = log_p.topk(k, -1)
    return ids, top, tail_of(log_p, ids)


def systematic_sample(p: Tensor, k: int, uniform: Tensor) -> tuple[Tensor, Tensor]:
    r"""Draw K different classes with weights whose expectations are the class probabilities.

    Class c is in the sample with probability :math:`\pi_c = \min(1, p_c / \tau)`, with
    :math:`\tau` such that these sum to K. Its weight is :math:`p_c / \pi_c`: its own probability if
    that is above :math:`\tau`, else :math:`\tau`. The weights sum to 1, and their expectation is p
    for every K. Classes with :math:`\pi_c < 1` are placed on a line as intervals of length
    :math:`p_c`; points at a distance of :math:`\tau`, with a uniform random offset, select them.

    Args:
        p: Probabilities, float32 ``[R, C]``; overwritten.
        k: Number of classes, K, at most C.
        uniform: Uniform numbers, float64 ``[R]``, strictly between 0 and 1.

    Returns:
        The classes (int64 ``[R, K]``, all different within a row) and their weights (float32
        ``[R, K]``). If fewer than K classes have a probability above 0 in float32, the others
        have weight 0.

    References:
        Madow, "On the theory of systematic sampling, II", 1949; Horvitz and Thompson, "A
        generalization of sampling without replacement from a finite universe", 1952. Anshumann et
        al., "Sparse logit sampling: accelerating knowledge distillation in LLMs", 2025, draw tokens
        independently of each other.
    """
    top, ids = p.topk(k, -1)
    p.scatter_(-1, ids, 0.0)
    # total probability of each class and all less probable ones
    rest = p.sum(-1, keepdim=True) + top.flip(-1).cumsum(-1).flip(-1)
    slot = torch.arange(k, device=p.device)
    drawable = top * (k - slot) < rest * (1 - MARGIN)
    drawable[:, -1] = True
    certain = drawable.int().argmax(-1, keepdim=True)  # number of certain classes
    is_certain = slot < certain
    p.scatter_(-1, ids, torch.where(is_certain, 0.0, top))
    line = p.cumsum(-1, dtype=torch.float64)
    tau = line[:, -1:] / (k - certain)
    points = (uniform[:, None] + (slot - certain)) * tau
    draws = torch.searchsorted(line, points, right=True).clamp_(max=p.shape[-1] - 1)
    ids = torch.where(is_certain | (tau == 0), ids, draws)
    return ids, torch.where(is_certain, top, tau.float())
