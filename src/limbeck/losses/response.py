"""Losses on a model's answers: the hard loss with labels and the soft losses with a teacher's logits.

Each soft loss takes ``(student, teacher, *, temperature)``, logits ``[..., B, C]``, and returns ``[..., B]``
without the factor T^2; :class:`limbeck.losses.Objective` multiplies by it. Adding one is a function here and
a name in :data:`SOFT_LOSSES`.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.config import UNLABELLED
from limbeck.losses.divergence import cross_entropy, kl_divergence, log_softmax, upcast


def hard_loss(student: Tensor, labels: Tensor, *, mixed: tuple[Tensor, Tensor] | None = None) -> Tensor:
    r"""Cross-entropy with integer labels at T = 1; 0 where the label is :data:`UNLABELLED`.

    Of an input that is the mixture of two, :math:`w \cdot CE(y_1) + (1 - w) \cdot CE(y_2)`, which is the cross-entropy
    with their labels mixed in the same way; 0 where either has no label.

    Args:
        student: logits, ``[..., B, C]``.
        labels: int64 class indices, broadcasting against ``[..., B]``.
        mixed: the second labels and the weight of the first, from 0 to 1, both broadcasting likewise; None where no
            input is a mixture.

    Returns:
        Nats, ``[..., B]``.

    References:
        Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.
    """
    if mixed is None:
        return _cross_entropy_of_labels(student, labels)
    others, weight = mixed
    first, second = _cross_entropy_of_labels(student, labels), _cross_entropy_of_labels(student, others)
    weight = weight.to(first.dtype)
    return torch.where(is_labelled(labels, mixed), weight * first + (1 - weight) * second, 0.0)


def _cross_entropy_of_labels(student: Tensor, labels: Tensor) -> Tensor:
    labels = labels.expand(student.shape[:-1])
    flat = F.cross_entropy(upcast(student).flatten(0, -2), labels.flatten(), reduction="none", ignore_index=UNLABELLED)
    return flat.view(labels.shape)


def is_labelled(labels: Tensor, mixed: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Where the hard loss counts, bool like ``labels``: a mixture has a label if both its inputs have one."""
    found = labels != UNLABELLED
    return found if mixed is None else found & (mixed[0] != UNLABELLED)


def squared_error_of_probabilities(student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
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


def squared_error_of_logits(student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Squared distance of the zero-mean logits: what :math:`T^2 KL` becomes as T grows without bound.

    .. math:: \frac{1}{2 C T^2} \sum_c ((z_c - \bar z) - (v_c - \bar v))^2

    With the factor :math:`T^2` the temperature cancels. A class that the teacher excludes (logit -inf) is
    infinitely far: this loss is then not a number, whereas the others count such a class as probability 0.

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


SoftLoss = Callable[..., Tensor]

SOFT_LOSSES: dict[str, SoftLoss] = {
    "kl": kl_divergence,
    "cross_entropy": cross_entropy,
    "probabilities": squared_error_of_probabilities,
    "logits": squared_error_of_logits,
}
