"""Divergences of two distributions given by logits: one value per sample, differentiable in the
first.
"""

import math

import torch
from torch import Tensor

LEAST_SPREAD = 1e-4
"""Standard deviation of logits that are standardised; a smaller one counts as this, or rounding
would be enlarged.
"""

LOG_OF_ZERO = math.log(torch.finfo(torch.float32).tiny)
"""Log-probability that :func:`reverse_kl` gives classes of the teacher's probability 0; -87.3 nats.
"""


def upcast(logits: Tensor) -> Tensor:
    """Logits in float32, or in float64 if they are that already: no loss is computed in half
    precision.
    """
    return logits if logits.dtype == torch.float64 else logits.float()


def log_softmax(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """``log softmax(logits / temperature)`` over the last dimension, in float32 or better.

    Args:
        logits: ``[..., B, C]``.
        temperature: a number, or a tensor that broadcasts against ``[..., B, C]``.
    """
    scaled = upcast(logits) / temperature
    if (
        scaled.stride(-1) != 1 and scaled.mT.is_contiguous()
    ):  # samples side by side, as stacked layers have them
        return torch.log_softmax(scaled.mT, dim=-2).mT
    return torch.log_softmax(scaled, dim=-1)


def standardised(logits: Tensor) -> Tensor:
    r"""Logits less their mean, divided by their standard deviation, both over the classes.

    .. math:: (z_c - \bar z) / \sigma(z), \quad \sigma(z)^2 = \frac{1}{C} \sum_c (z_c - \bar z)^2

    Standardised logits of student and teacher agree when one is the other times a positive number
    plus a number: the student need not be as sure as the teacher. Classes of logit -inf stay there
    and do not count. Logits that are all equal become 0.

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
    r"""Kullback-Leibler divergence of the student from the teacher, both softened, summed over
    classes.

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
    r"""Cross-entropy of the softened teacher under the softened student: the KL plus the teacher's
    entropy.

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


def reverse_kl(student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Kullback-Leibler divergence of the teacher from the student, both softened, summed over
    classes.

    .. math:: \sum_c q_c (\log q_c - \log p_c), \quad p = softmax(v / T), \; q = softmax(z / T)

    It asks that the student gives no class more than the teacher does, and lets it leave classes
    out. Where the teacher excludes a class (logit -inf) that the student does not, it is infinite:
    such a class counts here as if the teacher gave it the least probability of float32, e^-87.3, so
    that value and gradient stay finite. Classes that the student gives probability 0 count 0.

    Args:
        student: logits z, ``[..., B, C]``.
        teacher: logits v, broadcasting against ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.

    Returns:
        Nats, ``[..., B]``.

    References:
        Gu et al., "MiniLLM: Knowledge Distillation of Large Language Models", 2024, where it is
        over sequences.
    """
    log_p = log_softmax(teacher, temperature)
    log_q = log_softmax(student, temperature)
    log_p = torch.where(log_p > float("-inf"), log_p, LOG_OF_ZERO)
    q = log_q.exp()
    # a factor 0 alone would still meet log 0 in the gradient
    return (q * torch.where(q > 0, log_q - log_p, 0.0)).sum(-1)


def jensen_shannon(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    teacher_share: float | Tensor = 0.5,
) -> Tensor:
    r"""Generalised Jensen-Shannon divergence: of both softened distributions from their mixture m.

    .. math:: b \, KL(p \| m) + (1 - b) \, KL(q \| m), \quad m = b p + (1 - b) q

    b is the paper's beta. Divided by b it tends to KL(p || q) as b tends to 0, divided by 1 - b to
    KL(q || p) as b tends to 1. Where student and teacher are near each other it is b (1 - b) times
    either of them: a quarter at b = 1/2, so ``soft_weight`` should be that much larger. It is
    finite whatever either of them excludes, at most the entropy of (b, 1 - b).

    Args:
        student: logits z, ``[..., B, C]``.
        teacher: logits v, broadcasting against ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.
        teacher_share: b, above 0 and below 1, a number or a tensor that broadcasts against ``[...,
            B]``.

    Returns:
        Nats, ``[..., B]``. It can be differentiated once, not twice.

    References:
        Agarwal et al., "On-Policy Distillation of Language Models: Learning from Self-Generated
        Mistakes", 2024.
    """
    log_p = log_softmax(teacher, temperature)
    log_q = log_softmax(student, temperature)
    share = torch.as_tensor(teacher_share, dtype=log_q.dtype, device=log_q.device)[..., None]
    # the gradient through the mixture is the same for all classes, so softmax takes it off: none is
    # kept
    log_m = torch.logaddexp(log_p.detach() + share.log(), log_q.detach() + torch.log1p(-share))
    p, q = log_p.exp(), log_q.exp()
    of_teacher = p * torch.where(p > 0, log_p - log_m, 0.0)
    of_student = q * torch.where(q > 0, log_q - log_m, 0.0)
    return (share * of_teacher + (1 - share) * of_student).sum(-1)
