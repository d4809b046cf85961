"""Losses on a model's answers: the hard loss with labels and the soft losses with a teacher's
logits.

Each soft loss takes ``(student, teacher, *, temperature)``, logits ``[..., B, C]``, and returns
``[..., B]`` without the factor T^2; :class:`limbeck.losses.Objective` multiplies by it. Adding one
is a function here and a name in :data:`SOFT_LOSSES`; what else it takes is named in
:data:`SETTINGS` and :data:`TAKES_LABELS`.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck._base.checks import UNLABELLED
from limbeck.losses.divergences import (
    cross_entropy,
    jensen_shannon,
    kl_divergence,
    log_softmax,
    reverse_kl,
    upcast,
)


def hard_loss(
    student: Tensor,
    labels: Tensor,
    *,
    mixed: tuple[Tensor, Tensor] | None = None,
    kind: str = "cross_entropy",
    class_weights: Tensor | None = None,
    smoothing: float | Tensor | None = None,
) -> Tensor:
    r"""Loss with integer labels at T = 1; 0 where the label is :data:`UNLABELLED`.

    Of an input that is the mixture of two, :math:`w \cdot hard(y_1) + (1 - w) \cdot hard(y_2)`,
    which for the cross-entropy is that with their labels mixed in the same way; 0 where either has
    no label.

    Args:
        student: logits, ``[..., B, C]``.
        labels: int64 class indices, broadcasting against ``[..., B]``.
        mixed: the second labels and the weight of the first, from 0 to 1, both broadcasting
            likewise; None where no input is a mixture.
        kind: ``cross_entropy``, or ``squared_error`` for graded classes, see
            :func:`squared_error_of_grades`.
        class_weights: what a sample of each class counts, broadcasting against ``[..., B, C]``;
            None for 1.
        smoothing: share of the label that goes to all classes alike, see
            :func:`smoothed_cross_entropy`, from 0 to below 1, broadcasting against ``[..., B]``;
            for the cross-entropy without class weights. None for none.

    Returns:
        ``[..., B]``; nats for the cross-entropy.

    References:
        Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.
    """

    def values(labels: Tensor) -> Tensor:
        if smoothing is not None:
            return smoothed_cross_entropy(student, labels.expand(student.shape[:-1]), smoothing)
        return _weighted(student, labels, kind, class_weights)

    if mixed is None:
        return values(labels)
    others, weight = mixed
    first, second = values(labels), values(others)
    weight = weight.to(first.dtype)
    return torch.where(is_labelled(labels, mixed), weight * first + (1 - weight) * second, 0.0)


def _weighted(student: Tensor, labels: Tensor, kind: str, class_weights: Tensor | None) -> Tensor:
    labels = labels.expand(student.shape[:-1])
    values = HARD_LOSSES[kind](student, labels)
    if class_weights is None:
        return values
    own = class_weights.expand(student.shape).gather(-1, labels.clamp(min=0)[..., None])
    return own[..., 0] * values


def _cross_entropy_of_labels(student: Tensor, labels: Tensor) -> Tensor:
    flat = F.cross_entropy(
        upcast(student).flatten(0, -2), labels.flatten(), reduction="none", ignore_index=UNLABELLED
    )
    return flat.view(labels.shape)


def smoothed_cross_entropy(student: Tensor, labels: Tensor, smoothing: float | Tensor) -> Tensor:
    r"""Cross-entropy at T = 1 with labels of which a share e is spread evenly over all C classes.

    .. math:: -(1 - e) \log q_y - \frac{e}{C} \sum_c \log q_c, \quad q = softmax(z)

    Args:
        student: logits z, ``[..., B, C]``.
        labels: int64 class indices, ``[..., B]``.
        smoothing: e, from 0 to below 1, a number or a tensor that broadcasts against ``[..., B]``.

    Returns:
        Nats, ``[..., B]``, 0 where the label is :data:`UNLABELLED`.

    References:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016, section
        7.
    """
    log_q = log_softmax(student)
    own = log_q.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    values = (smoothing - 1) * own - smoothing * log_q.mean(-1)
    return torch.where(labels == UNLABELLED, 0.0, values)


def squared_error_of_grades(student: Tensor, labels: Tensor) -> Tensor:
    r"""Squared distance of a graded student's score from the label: classes are grades 0, 1, 2 ...
    in their order.

    .. math:: (s - y)^2, \quad s = z_1 - z_0 + 1/2

    A graded student has one score s and logits :math:`z_k = k s - \sum_{j=1}^{k} (j - 1/2)`, of
    which the largest is that of the grade nearest to s; no loss for logits of another form.

    Args:
        student: logits z, ``[..., B, C]``.
        labels: int64 class indices, broadcasting against ``[..., B]``.

    Returns:
        ``[..., B]``, 0 where the label is :data:`UNLABELLED`.
    """
    score = upcast(student[..., 1]) - upcast(student[..., 0]) + 0.5
    return torch.where(labels == UNLABELLED, 0.0, (score - labels).square())


def is_labelled(labels: Tensor, mixed: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Where the hard loss counts, bool like ``labels``: a mixture has a label if both its inputs
    have one.
    """
    found = labels != UNLABELLED
    return found if mixed is None else found & (mixed[0] != UNLABELLED)


def squared_error_of_probabilities(
    student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0
) -> Tensor:
    r"""Squared distance of the softened probabilities, summed over classes.

    .. math:: \sum_c (softmax(z / T)_c - softmax(v / T)_c)^2

    Args:
        student: logits z, ``[..., B, C]``.
        teacher: logits v, broadcasting against ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.

    Returns:
        ``[..., B]``, between 0 and 2.
    """
    p = log_softmax(teacher, temperature).exp()
    q = log_softmax(student, temperature).exp()
    return (q - p).square().sum(-1)


def squared_error_of_logits(
    student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0
) -> Tensor:
    r"""Squared distance of the zero-mean logits: what :math:`T^2 KL` becomes as T grows without
    bound.

    .. math:: \frac{1}{2 C T^2} \sum_c ((z_c - \bar z) - (v_c - \bar v))^2

    With the factor :math:`T^2` the temperature cancels. A class that the teacher excludes (logit
    -inf) is
    infinitely far: this loss is then not a number, whereas the others count such a class as
    probability 0.

    Args:
        student: logits z, ``[..., B, C]``.
        teacher: logits v, broadcasting against ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.

    Returns:
        ``[..., B]``.

    References:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2.1.
    """
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
    r"""Decoupled knowledge distillation: how probable the target is, and the other classes among
    themselves.

    .. math::
        a \left( p_t \log\frac{p_t}{q_t} + (1 - p_t) \log\frac{1 - p_t}{1 - q_t} \right)
            + b \sum_{c \neq t} \hat p_c \log\frac{\hat p_c}{\hat q_c}, \quad
        \hat p_c = \frac{p_c}{1 - p_t}, \; \hat q_c = \frac{q_c}{1 - q_t}

    The target t is the label; where a sample has none, the teacher's top class. With a = 1 and
    :math:`b = 1 - p_t` it is the KL.

    Args:
        student: logits z, ``[..., B, C]``.
        teacher: logits v, broadcasting against ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.
        labels: int64, broadcasting against ``[..., B]``, :data:`UNLABELLED` where there is none;
            None for no labels.
        target_weight: a, a number or a tensor that broadcasts against ``[..., B]``.
        nontarget_weight: b, likewise.

    Returns:
        Nats, ``[..., B]``.

    References:
        Zhao et al., "Decoupled Knowledge Distillation", 2022.
    """
    top = teacher.argmax(-1)
    picked = top if labels is None else torch.where(labels == UNLABELLED, top, labels)
    is_target = picked[..., None] == torch.arange(student.shape[-1], device=student.device)

    def parts(logits: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the target and of any other class; of the others among themselves."""
        log_p = log_softmax(logits, temperature)
        rest = torch.where(is_target, float("-inf"), log_p)
        ours = torch.where(is_target, log_p, 0.0).sum(-1)
        return torch.stack([ours, rest.logsumexp(-1)], -1), torch.log_softmax(rest, -1)

    (binary_p, others_p), (binary_q, others_q) = parts(teacher), parts(student)
    others_p = others_p.nan_to_num(
        float("-inf"), neginf=float("-inf")
    )  # of a teacher that excludes all the others
    target = _relative_entropy(binary_p, binary_q)
    return target_weight * target + nontarget_weight * _relative_entropy(others_p, others_q)


def _relative_entropy(log_p: Tensor, log_q: Tensor) -> Tensor:
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - log_q), 0.0).sum(-1)


LEAST_NORM = 1e-6
"""Of probabilities less their mean; smaller ones are rounding, and have no correlation."""


def relational(student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""DIST: Pearson's distance of the softened probabilities, over the classes of a sample and
    over the batch.

    .. math::
        \left( 1 - \rho(q_{b,:}, p_{b,:}) \right) + \left( 1 - \frac{1}{C} \sum_c \rho(q_{:,c},
            p_{:,c}) \right), \quad \rho \text{ Pearson's correlation}

    The first term is per sample. The second belongs to the whole batch, here of each student and
    seed by itself: the value of a sample holds its share :math:`1 - \frac{B}{C} \sum_c \hat q_{bc}
    \hat p_{bc}`, hatted columns less their mean and of norm 1, so that the mean over the batch is
    the term. It therefore depends on the batch, and of a batch shared by several processes each has
    its own. What is constant has correlation 0.

    Args:
        student: logits z, ``[..., B, C]``.
        teacher: logits v, broadcasting against ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]``.

    Returns:
        ``[..., B]``; a mean of 0 to 4 over the batch.

    References:
        Huang et al., "Knowledge Distillation from A Stronger Teacher", 2022.
    """
    p, q = log_softmax(teacher, temperature).exp(), log_softmax(student, temperature).exp()
    batch, classes = student.shape[-2:]
    inter = 1 - (_unit(q, -1) * _unit(p, -1)).sum(-1)
    intra = 1 - batch / classes * (_unit(q, -2) * _unit(p, -2)).sum(-1)
    return inter + intra


def _unit(x: Tensor, dim: int) -> Tensor:
    """Less its mean, and of norm 1, along a dimension."""
    centred = x - x.mean(dim, keepdim=True)
    return centred / centred.norm(dim=dim, keepdim=True).clamp(min=LEAST_NORM)


HARD_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": _cross_entropy_of_labels,
    "squared_error": squared_error_of_grades,
}

SoftLoss = Callable[..., Tensor]

SOFT_LOSSES: dict[str, SoftLoss] = {
    "kl": kl_divergence,
    "cross_entropy": cross_entropy,
    "probabilities": squared_error_of_probabilities,
    "logits": squared_error_of_logits,
    "dkd": decoupled,
    "dist": relational,
    "reverse_kl": reverse_kl,
    "jensen_shannon": jensen_shannon,
}
SETTINGS: dict[str, tuple[str, ...]] = {
    "dkd": ("target_weight", "nontarget_weight"),
    "jensen_shannon": ("teacher_share",),
}
"""Settings of the objective that a soft loss takes beside the temperature."""
TAKES_LABELS = ("dkd",)
STANDARDISED = ("kl", "cross_entropy", "dkd", "reverse_kl", "jensen_shannon")
"""The soft losses that can be of standardised logits."""
OF_THE_BATCH = ("dist",)
"""The soft losses whose value for a sample depends on the other samples."""
