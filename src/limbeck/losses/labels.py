"""Losses of several labels per sample, each with a logit of its own: the mean over labels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.losses.divergences import upcast


def binary_cross_entropy(student: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Compute the cross-entropy of each label at T = 1, the mean over labels.

    .. math:: -\frac{1}{L} \sum_l w_l y_l \log \sigma(z_l) + (1 - y_l) \log(1 - \sigma(z_l))

    Args:
        student: Logits z, ``[..., B, L]``.
        labels: Labels y, 0 or 1, broadcastable to ``student``; NaN for a sample without labels.
        weights: Weight w of a positive label, broadcastable to ``student``; None for 1.

    Returns:
        Nats, ``[..., B]``; 0 for a sample without labels.
    """
    is_missing = labels.isnan().any(-1, keepdim=True)
    target = torch.where(is_missing, 0.0, labels).to(upcast(student).dtype)
    values = F.binary_cross_entropy_with_logits(
        upcast(student), target.expand(student.shape), pos_weight=weights, reduction="none"
    )
    return torch.where(is_missing, 0.0, values).mean(-1)


def binary_kl(student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Compute the KL divergence of each label's softened probability, the mean over labels.

    .. math:: \frac{1}{L} \sum_l p_l \log \frac{p_l}{q_l} + (1 - p_l) \log \frac{1 - p_l}{1 - q_l},
        \quad p = \sigma(v / T), \; q = \sigma(z / T)

    Args:
        student: Logits z, ``[..., B, L]``.
        teacher: Logits v, broadcastable to ``student``.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, L]``.

    Returns:
        Nats, ``[..., B]``.
    """
    z, v = upcast(student) / temperature, upcast(teacher) / temperature
    p = v.sigmoid()
    positive = p * (F.logsigmoid(v) - F.logsigmoid(z))
    negative = (1 - p) * (F.logsigmoid(-v) - F.logsigmoid(-z))
    return (positive + negative).mean(-1)


def balanced_label_weights(labels: Tensor) -> list[float]:
    """Return weights that give both values of each label equal total weight.

    Args:
        labels: Labels ``[M, L]``, 0 or 1; NaN for samples without labels.

    Returns:
        Number of negative samples per positive one, by label; 1 for a label that has only one of
        both kinds.
    """
    known_labels = labels[~labels.isnan().any(-1)]
    positives = known_labels.sum(0)
    negatives = len(known_labels) - positives
    has_both = (positives > 0) & (negatives > 0)
    ratios = torch.where(has_both, negatives / positives.clamp(min=1), 1.0)
    weights: list[float] = ratios.tolist()
    return weights
