"""Divergences between two distributions of logits, one value per sample.

A logit of -inf excludes its class. A NaN, or a logit of +inf, makes the value NaN: conditions here
single out exact values (``p == 0``), because a comparison such as ``p > 0`` would take NaN for 0.
"""

import math

import torch
from torch import Tensor

MIN_SPREAD = 1e-4
"""Smallest standard deviation to divide logits by; smaller ones would amplify rounding errors."""

LOG_OF_ZERO = math.log(torch.finfo(torch.float32).tiny)
"""Log-probability that :func:`reverse_kl` uses for classes that the teacher excludes, in nats."""


def upcast(logits: Tensor) -> Tensor:
    """Convert logits to float32; float64 stays.

    No loss is computed in half precision.
    """
    if logits.dtype == torch.float64:
        return logits
    return logits.float()


def log_softmax(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Compute ``log softmax(logits / temperature)`` over the last dimension, in float32 or better.

    Args:
        logits: Logits, ``[..., B, C]``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.

    Returns:
        ``[..., B, C]``.
    """
    scaled = upcast(logits) / temperature
    # the logits of stacked layers have the samples next to each other in memory
    if scaled.stride(-1) != 1 and scaled.mT.is_contiguous():
        return torch.log_softmax(scaled.mT, dim=-2).mT
    return torch.log_softmax(scaled, dim=-1)


def standardised(logits: Tensor) -> Tensor:
    r"""Standardise logits to mean 0 and standard deviation 1 over the classes.

    .. math:: (z_c - \bar z) / \sigma(z), \quad \sigma(z)^2 = \frac{1}{C} \sum_c (z_c - \bar z)^2

    Standardised logits of student and teacher agree if one is a positive multiple of the other plus
    a constant, so the student need not be as confident as the teacher. Logits of -inf stay -inf and
    are left out of the statistics. Logits that are all equal become 0.

    Args:
        logits: Logits, ``[..., B, C]``.

    Returns:
        ``[..., B, C]``, in float32 or better.

    References:
        Sun et al., "Logit Standardization in Knowledge Distillation", 2024.
    """
    logits = upcast(logits)
    is_excluded = logits == float("-inf")
    count = (~is_excluded).sum(-1, keepdim=True, dtype=logits.dtype)
    mean = torch.where(is_excluded, 0.0, logits).sum(-1, keepdim=True) / count
    centred = torch.where(is_excluded, 0.0, logits - mean)
    spread = centred.norm(dim=-1, keepdim=True) / count.sqrt()
    return torch.where(is_excluded, float("-inf"), centred / spread.clamp(min=MIN_SPREAD))


def kl_divergence(student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Kullback-Leibler divergence KL(p || q) of student q from teacher p, both softened.

    .. math:: \sum_c p_c (\log p_c - \log q_c), \quad p = softmax(v / T), \; q = softmax(z / T)

    Classes to which the teacher gives probability 0 contribute 0. The factor :math:`T^2` is not
    included.

    Args:
        student: Logits z, ``[..., B, C]``.
        teacher: Logits v, broadcastable to ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.

    Returns:
        Nats, ``[..., B]``.

    References:
        Kullback and Leibler, "On Information and Sufficiency", 1951.
    """
    log_p = log_softmax(teacher, temperature)
    log_q = log_softmax(student, temperature)
    return relative_entropy(log_p, log_q)


def relative_entropy(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Compute ``sum p (log p - log q)`` over the last dimension; terms with p = 0 are 0.

    Args:
        log_p: Log-probabilities, ``[..., C]``.
        log_q: Log-probabilities, ``[..., C]``.

    Returns:
        Nats, ``[...]``.
    """
    p = log_p.exp()
    return torch.where(p == 0, 0.0, p * (log_p - log_q)).sum(-1)


def cross_entropy(student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Cross-entropy of student q under teacher p: the KL plus the teacher's entropy.

    .. math:: -\sum_c p_c \log q_c, \quad p = softmax(v / T), \; q = softmax(z / T)

    Its gradient equals that of :func:`kl_divergence`; its value is not 0 at the optimum.

    Args:
        student: Logits z, ``[..., B, C]``.
        teacher: Logits v, broadcastable to ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.

    Returns:
        Nats, ``[..., B]``.
    """
    p = log_softmax(teacher, temperature).exp()
    log_q = log_softmax(student, temperature)
    return -torch.where(p == 0, 0.0, p * log_q).sum(-1)


def reverse_kl(student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Reverse Kullback-Leibler divergence KL(q || p) of teacher p from student q.

    .. math:: \sum_c q_c (\log q_c - \log p_c), \quad p = softmax(v / T), \; q = softmax(z / T)

    It penalises probability where the teacher has none, and allows the student to leave classes
    out. If the teacher excludes a class (logit -inf) that the student does not, the divergence is
    infinite. Here the class gets the smallest probability of float32 instead, e^-87.3, so that
    value and gradient stay finite. Classes to which the student gives probability 0 contribute 0.

    Args:
        student: Logits z, ``[..., B, C]``.
        teacher: Logits v, broadcastable to ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.

    Returns:
        Nats, ``[..., B]``.

    References:
        Gu et al., "MiniLLM: Knowledge Distillation of Large Language Models", 2024, for sequences.
    """
    log_p = log_softmax(teacher, temperature)
    log_q = log_softmax(student, temperature)
    log_p = torch.where(log_p == float("-inf"), LOG_OF_ZERO, log_p)
    q = log_q.exp()
    # in the gradient, a factor 0 alone would still multiply log 0
    return (q * torch.where(q == 0, 0.0, log_q - log_p)).sum(-1)


def jensen_shannon(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    teacher_share: float | Tensor = 0.5,
) -> Tensor:
    r"""Generalised Jensen-Shannon divergence of student q and teacher p from their mixture m.

    .. math:: b \, KL(p \| m) + (1 - b) \, KL(q \| m), \quad m = b p + (1 - b) q

    b is the paper's beta. Divided by b it tends to KL(p || q) as b tends to 0; divided by 1 - b it
    tends to KL(q || p) as b tends to 1. If student and teacher are close, it is b (1 - b) times
    either of them, a quarter at b = 1/2, so ``soft_weight`` should be larger by the inverse of that
    factor. The divergence is always finite, at most the entropy of (b, 1 - b).

    Args:
        student: Logits z, ``[..., B, C]``.
        teacher: Logits v, broadcastable to ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.
        teacher_share: Share b of the teacher in the mixture, above 0 and below 1, a number or a
            tensor that broadcasts against ``[..., B]``.

    Returns:
        Nats, ``[..., B]``. It can be differentiated once, not twice.

    References:
        Agarwal et al., "On-Policy Distillation of Language Models: Learning from Self-Generated
        Mistakes", 2024.
    """
    log_p = log_softmax(teacher, temperature)
    log_q = log_softmax(student, temperature)
    share = torch.as_tensor(teacher_share, dtype=log_q.dtype, device=log_q.device)[..., None]
    # the gradient through the mixture is equal for all classes, and softmax removes it
    log_m = torch.logaddexp(log_p.detach() + share.log(), log_q.detach() + torch.log1p(-share))
    p, q = log_p.exp(), log_q.exp()
    teacher_part = p * torch.where(p == 0, 0.0, log_p - log_m)
    student_part = q * torch.where(q == 0, 0.0, log_q - log_m)
    return (share * teacher_part + (1 - share) * student_part).sum(-1)
