"""The soft losses, :data:`SOFT_LOSSES`.

A new soft loss needs a function and an entry here, and a test. The command line and the report read
the table without importing torch. So functions in this module import torch when they are called,
and functions of other modules are given by their dotted path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.losses.base import UNLABELLED, Setting, SoftLoss

if TYPE_CHECKING:
    from torch import Tensor

MIN_NORM = 1e-6
"""Smallest norm of centred probabilities; smaller ones are rounding errors without correlation."""


def squared_error_of_probabilities(
    student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0
) -> Tensor:
    r"""Squared distance of the softened probabilities, summed over classes.

    .. math:: \sum_c (softmax(z / T)_c - softmax(v / T)_c)^2

    Args:
        student: Logits z, ``[..., B, C]``.
        teacher: Logits v, broadcastable to ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.

    Returns:
        ``[..., B]``, between 0 and 2.
    """
    from limbeck.losses.divergences import log_softmax

    p = log_softmax(teacher, temperature).exp()
    q = log_softmax(student, temperature).exp()
    return (q - p).square().sum(-1)


def squared_error_of_logits(
    student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0
) -> Tensor:
    r"""Squared distance of the zero-mean logits, the limit of :math:`T^2 KL` for large T.

    .. math:: \frac{1}{2 C T^2} \sum_c ((z_c - \bar z) - (v_c - \bar v))^2

    With the factor :math:`T^2` the temperature cancels. A class that the teacher excludes (logit
    -inf) is infinitely far away: this loss is then not a number, whereas the others count such a
    class as probability 0.

    Args:
        student: Logits z, ``[..., B, C]``.
        teacher: Logits v, broadcastable to ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.

    Returns:
        ``[..., B]``.

    References:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2.1.
    """
    from limbeck.losses.divergences import upcast

    difference = upcast(student) - upcast(teacher)
    scaled = (difference - difference.mean(-1, keepdim=True)) / temperature
    return scaled.square().mean(-1) / 2


def decoupled(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    labels: Tensor | None = None,
    target_weight: float | Tensor = 1.0,
    nontarget_weight: float | Tensor = 8.0,
) -> Tensor:
    r"""Decoupled knowledge distillation: the KL split into a target part and a non-target part.

    .. math::
        a \left( p_t \log\frac{p_t}{q_t} + (1 - p_t) \log\frac{1 - p_t}{1 - q_t} \right)
            + b \sum_{c \neq t} \hat p_c \log\frac{\hat p_c}{\hat q_c}, \quad
        \hat p_c = \frac{p_c}{1 - p_t}, \; \hat q_c = \frac{q_c}{1 - q_t}

    The target t is the label; for a sample without a label, the teacher's top class. With a = 1 and
    :math:`b = 1 - p_t` it is the KL.

    Args:
        student: Logits z, ``[..., B, C]``.
        teacher: Logits v, broadcastable to ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.
        labels: Class indices, int64, broadcastable to ``[..., B]``, :data:`UNLABELLED` for a sample
            without a label; None if no sample has one.
        target_weight: Weight a, a number or a tensor that broadcasts against ``[..., B]``.
        nontarget_weight: Weight b, a number or a tensor that broadcasts against ``[..., B]``.

    Returns:
        Nats, ``[..., B]``.

    References:
        Zhao et al., "Decoupled Knowledge Distillation", 2022.
    """
    import torch

    from limbeck.losses.divergences import log_softmax, relative_entropy

    target = teacher.argmax(-1)
    if labels is not None:
        target = torch.where(labels == UNLABELLED, target, labels)
    is_target = target[..., None] == torch.arange(student.shape[-1], device=student.device)

    def split(logits: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of target and rest, and of the classes within the rest."""
        log_p = log_softmax(logits, temperature)
        rest = torch.where(is_target, float("-inf"), log_p)
        log_target = torch.where(is_target, log_p, 0.0).sum(-1)
        binary = torch.stack([log_target, rest.logsumexp(-1)], -1)
        return binary, torch.log_softmax(rest, -1)

    binary_p, rest_p = split(teacher)
    binary_q, rest_q = split(student)
    # a teacher that excludes all other classes has no distribution over them
    rest_p = torch.where(binary_p[..., 1:] == float("-inf"), float("-inf"), rest_p)
    target_part = relative_entropy(binary_p, binary_q)
    nontarget_part = relative_entropy(rest_p, rest_q)
    return target_weight * target_part + nontarget_weight * nontarget_part


def relational(student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""DIST: Pearson's distance of softened probabilities, over classes and over the batch.

    .. math::
        \left( 1 - \rho(q_{b,:}, p_{b,:}) \right) + \left( 1 - \frac{1}{C} \sum_c \rho(q_{:,c},
            p_{:,c}) \right), \quad \rho \text{ Pearson's correlation}

    The first term is per sample. The second is computed over the batch of each student and seed;
    the value of a sample contains its share :math:`1 - \frac{B}{C} \sum_c \hat q_{bc}
    \hat p_{bc}`, where columns with a hat are centred and of norm 1, so that the mean over the
    batch is the term. The loss therefore depends on the batch. If several processes share a batch,
    each computes the term over its own part. Constant probabilities have correlation 0.

    Args:
        student: Logits z, ``[..., B, C]``.
        teacher: Logits v, broadcastable to ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.

    Returns:
        ``[..., B]``, with a mean from 0 to 4 over the batch.

    References:
        Huang et al., "Knowledge Distillation from A Stronger Teacher", 2022.
    """
    from limbeck.losses.divergences import log_softmax

    p = log_softmax(teacher, temperature).exp()
    q = log_softmax(student, temperature).exp()
    batch, classes = student.shape[-2:]
    inter = 1 - (_centred_unit(q, -1) * _centred_unit(p, -1)).sum(-1)
    intra = 1 - batch / classes * (_centred_unit(q, -2) * _centred_unit(p, -2)).sum(-1)
    return inter + intra


def _centred_unit(x: Tensor, dim: int) -> Tensor:
    """Centre values along a dimension and scale them to norm 1."""
    centred = x - x.mean(dim, keepdim=True)
    return centred / centred.norm(dim=dim, keepdim=True).clamp(min=MIN_NORM)


_ENTRIES = (
    SoftLoss(
        "kl",
        "limbeck.losses.divergences.kl_divergence",
        can_standardise=True,
        sparse="limbeck.losses.sparse.sparse_kl",
    ),
    SoftLoss(
        "cross_entropy",
        "limbeck.losses.divergences.cross_entropy",
        can_standardise=True,
        sparse="limbeck.losses.sparse.sparse_cross_entropy",
    ),
    SoftLoss("probabilities", squared_error_of_probabilities),
    SoftLoss("logits", squared_error_of_logits, needs_finite=True),
    SoftLoss(
        "dkd",
        decoupled,
        settings=(
            Setting("target_weight", 1.0, is_weight=True),
            Setting("nontarget_weight", 8.0, is_weight=True),
        ),
        uses_labels=True,
        can_standardise=True,
        hard_weight=1.0,
        soft_weight=1.0,
    ),
    SoftLoss("dist", relational, per_batch=True, hard_weight=1.0, soft_weight=2.0),
    SoftLoss("reverse_kl", "limbeck.losses.divergences.reverse_kl", can_standardise=True),
    SoftLoss(
        "jensen_shannon",
        "limbeck.losses.divergences.jensen_shannon",
        settings=(
            # shares below one millionth vanish in float32
            Setting(
                "teacher_share",
                0.5,
                1e-6,
                1 - 1e-6,
                expected="above 0 (the limit is soft=kl) and below 1 (the limit is reverse_kl)",
            ),
        ),
        can_standardise=True,
        soft_weight=3.6,  # near the teacher this loss is a quarter of the KL
    ),
    SoftLoss("binary_kl", "limbeck.losses.labels.binary_kl", outputs="labels"),
    SoftLoss("mse", "limbeck.losses.values.squared_error", outputs="values"),
    SoftLoss("huber", "limbeck.losses.values.huber", outputs="values"),
    SoftLoss(
        "bounded",
        "limbeck.losses.values.bounded_squared_error",
        uses_labels=True,
        hard_weight=1.0,
        soft_weight=0.5,
        outputs="values",
    ),
    SoftLoss(
        "cosine_distance",
        "limbeck.losses.vectors.cosine_distance",
        hard_weight=0.0,
        soft_weight=1.0,
        outputs="vectors",
    ),
    SoftLoss(
        "squared_distance",
        "limbeck.losses.vectors.squared_distance",
        hard_weight=0.0,
        soft_weight=1.0,
        outputs="vectors",
    ),
    SoftLoss(
        "similarity",
        "limbeck.losses.vectors.similarity_difference",
        per_batch=True,
        hard_weight=0.0,
        soft_weight=1.0,
        outputs="vectors",
    ),
)

SOFT_LOSSES: dict[str, SoftLoss] = {loss.name: loss for loss in _ENTRIES}
"""Every soft loss by its name."""

SHARED_SETTINGS = ("soft_weight", "temperature", "soft", "scale_by_t2", "standardise", "shuffled")
"""Settings of an objective that apply to every soft loss."""


def own_settings() -> dict[str, Setting]:
    """Return the settings that belong to single soft losses, by name."""
    return {setting.name: setting for loss in SOFT_LOSSES.values() for setting in loss.settings}
