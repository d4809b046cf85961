"""Divergences of two distributions given by logits: one value per sample, differentiable in the first."""

import torch
from torch import Tensor

LEAST_SPREAD = 1e-4
"""Standard deviation of logits that are standardised; a smaller one counts as this, or rounding would be enlarged."""


def upcast(logits: Tensor) -> Tensor:
    """Logits in float32, or in float64 if they are that already: no loss is computed in half precision."""
    return logits if logits.dtype == torch.float64 else logits.float()


def log_softmax(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """``log softmax(logits / temperature)`` over the last dimension, in float32 or better.

    Args:
        logits: ``[..., B, C]``.
        temperature: a number, or a tensor that broadcasts against ``[..., B, C]``.
    """
    scaled = upcast(logits) / temperature
    if scaled.stride(-1) != 1 and scaled.mT.is_contiguous():  # samples side by side, as stacked layers have them
        return torch.log_softmax(scaled.mT, dim=-2).mT
    return torch.log_softmax(scaled, dim=-1)


def standardised(logits: Tensor) -> Tensor:
    r"""Logits less their mean, divided by their standard deviation, both over the classes.

    .. math:: (z_c - \bar z) / \sigma(z), \quad \sigma(z)^2 = \frac{1}{C} \sum_c (z_c - \bar z)^2

    Standardised logits of student and teacher agree when one is the other times a positive number plus a number: the
    student need not be as sure as the teacher. Classes of logit -inf stay there and do not count. Logits that are all
    equal become 0.

    Args:
        logits: ``[..., B, C]``.

    Returns:
        ``[..., B, C]``, in float32 or better.

    References:
        Sun et al., "Logit Standardization in Knowledge Distillation", 2024.
    """
    logits = upcast(logits)
    counted = logits > float("-inf")
    count = counted.sum(-1, keepdim=True, dtype=logits.dtype)
    mean = torch.where(counted, logits, 0.0).sum(-1, keepdim=True) / count
    centred = torch.where(counted, logits - mean, 0.0)
    spread = centred.norm(dim=-1, keepdim=True) / count.sqrt()
    return torch.where(counted, centred / spread.clamp(min=LEAST_SPREAD), float("-inf"))


def kl_divergence(student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Kullback-Leibler divergence of the student from the teacher, both softened, summed over classes.

    .. math:: \sum_c p_c (\log p_c - \log q_c), \quad p = softmax(v / T), \; q = softmax(z / T)

    Classes that the teacher gives probability 0 count 0. There is no factor :math:`T^2` here.

    Args:
        student: logits z, ``[..., B, C]``.
        teacher: logits v, broadcasting against ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.

    Returns:
        Nats, ``[..., B]``.

    References:
        Kullback and Leibler, "On Information and Sufficiency", 1951.
    """
    log_p = log_softmax(teacher, temperature)
    log_q = log_softmax(student, temperature)
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - log_q), 0.0).sum(-1)


def cross_entropy(student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Cross-entropy of the softened teacher under the softened student: the KL plus the teacher's entropy.

    .. math:: -\sum_c p_c \log q_c

    Its gradient equals that of :func:`kl_divergence`; its value is not 0 at the optimum.

    Args:
        student: logits z, ``[..., B, C]``.
        teacher: logits v, broadcasting against ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.

    Returns:
        Nats, ``[..., B]``.
    """
    p = log_softmax(teacher, temperature).exp()
    log_q = log_softmax(student, temperature)
    return -torch.where(p > 0, p * log_q, 0.0).sum(-1)
