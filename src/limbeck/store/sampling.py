"""A part of the classes of a distribution: the most probable ones with what the others have
together, or a sample.
"""

import torch
from torch import Tensor

LEAST_LOG_P = -65504.0
"""Least log-probability, the least number that float16 holds; lower ones count as this."""
MARGIN = 2.0**-14
"""Relative margin within which a class counts as certain, so that rounding draws none twice."""


def log_probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """``log softmax(logits / temperature)`` in nats, ``[..., C]``, at least :data:`LEAST_LOG_P`."""
    return torch.log_softmax(_softened(logits, temperature), -1).clamp_(min=LEAST_LOG_P)


def probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """``softmax(logits / temperature)``, ``[..., C]``."""
    return torch.softmax(_softened(logits, temperature), -1)


def _softened(logits: Tensor, temperature: float) -> Tensor:
    """Logits over the temperature; the largest is 0, so that finite ones do not overflow."""
    return (logits - logits.amax(-1, keepdim=True)).div_(temperature)


def tail_of(log_p: Tensor, ids: Tensor) -> Tensor:
    """What all other classes have together.

    Args:
        log_p: Log-probabilities, ``[..., C]``.
        ids: K different classes, int64 ``[..., K]``.

    Returns:
        The log of the others' total probability and the mean of their log-probabilities,
        ``[..., 2]``, both at least :data:`LEAST_LOG_P`, and this where there are no others.
    """
    others = log_p.shape[-1] - ids.shape[-1]
    if others == 0:
        return log_p.new_full((*log_p.shape[:-1], 2), LEAST_LOG_P)
    rest = log_p.scatter(-1, ids, 0.0)
    mean = rest.sum(-1) / others
    mass = rest.scatter_(-1, ids, float("-inf")).logsumexp(-1)
    return torch.stack([mass, mean], -1).clamp_(min=LEAST_LOG_P)


def most_probable(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The K most probable classes, and what all others have together.

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
    r"""K different classes with weights whose expectations are the probabilities of all classes.

    Class c is in the sample with probability :math:`\pi_c = \min(1, p_c / \tau)`, with
    :math:`\tau` such that these sum to K. Its weight is :math:`p_c / \pi_c`: its own probability if
    that is above :math:`\tau`, else :math:`\tau`. So the weights sum to 1, and their expectation is
    p for every K. The classes that are not certain lie side by side on a line, each as long as it
    is probable; one uniform number places a comb on it whose teeth are :math:`\tau` apart.

    Args:
        p: Probabilities, float32 ``[R, C]``; overwritten.
        k: Number of classes, K, at most C.
        uniform: Uniform numbers, float64 ``[R]``, strictly between 0 and 1.

    Returns:
        The classes (int64 ``[R, K]``, all different in a row) and their weights (float32
        ``[R, K]``). Where fewer than K classes have a probability above 0 in float32, the others
        have weight 0.

    References:
        Madow, "On the theory of systematic sampling, II", 1949; Horvitz and Thompson, "A
        generalization of sampling without replacement from a finite universe", 1952. Anshumann et
        al., "Sparse logit sampling: accelerating knowledge distillation in LLMs", 2025, draw tokens
        independently of each other.
    """
    top, ids = p.topk(k, -1)
    p.scatter_(-1, ids, 0.0)
    # probability of each class and all less probable ones
    rest = p.sum(-1, keepdim=True) + top.flip(-1).cumsum(-1).flip(-1)
    slot = torch.arange(k, device=p.device)
    drawable = top * (k - slot) < rest * (1 - MARGIN)
    drawable[:, -1] = True
    certain = drawable.int().argmax(-1, keepdim=True)  # the number of classes before the first
    is_certain = slot < certain
    p.scatter_(-1, ids, torch.where(is_certain, 0.0, top))
    line = p.cumsum(-1, dtype=torch.float64)
    tau = line[:, -1:] / (k - certain)
    teeth = (uniform[:, None] + (slot - certain)) * tau
    draws = torch.searchsorted(line, teeth, right=True).clamp_(max=p.shape[-1] - 1)
    ids = torch.where(is_certain | (tau == 0), ids, draws)
    return ids, torch.where(is_certain, top, tau.float())
