"""Hard losses against labels at T = 1: of logits, or of values."""

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.losses.base import UNLABELLED, HardLoss
from limbeck.losses.divergences import log_softmax, upcast
from limbeck.losses.labels import binary_cross_entropy
from limbeck.losses.values import huber_of_values, squared_error_of_values
from limbeck.losses.vectors import contrastive


def hard_loss(
    student: Tensor,
    labels: Tensor,
    *,
    mixed: tuple[Tensor, Tensor] | None = None,
    kind: str = "cross_entropy",
    class_weights: Tensor | None = None,
    smoothing: float | Tensor | None = None,
) -> Tensor:
    r"""Compute the loss against labels at T = 1; 0 for samples without one.

    Class indices are :data:`UNLABELLED` for a sample without a label, values are NaN.

    For a mixture of two inputs it is :math:`w \cdot hard(y_1) + (1 - w) \cdot hard(y_2)`, which for
    the cross-entropy equals the loss against mixed labels. It is 0 if either input has no label.

    Args:
        student: Logits, ``[..., B, C]``; for values outputs ``[..., B, D]``.
        labels: Class indices, int64, broadcastable to ``[..., B]``; values ``[..., B, D]``.
        mixed: Labels of the second inputs and weights of the first ones, from 0 to 1, both
            broadcastable to ``[..., B]``; None if no input is a mixture.
        kind: Name of the hard loss: ``cross_entropy``, or ``squared_error`` for graded classes, see
            :func:`squared_error_of_grades`; for values ``mse`` or ``huber``; for several labels
            ``binary_cross_entropy``; for vectors ``contrastive``, whose labels are the vectors
            ``[..., B, D]`` of other views.
        class_weights: Weight of each class, or of each of several labels where it applies,
            broadcastable to ``[..., B, C]``; None for 1.
        smoothing: Share of the label that is spread evenly over all classes, see
            :func:`smoothed_cross_entropy`, from 0 to below 1, broadcastable to ``[..., B]``; for
            the cross-entropy without class weights. None for no smoothing.

    Returns:
        ``[..., B]``; nats for the cross-entropy.

    References:
        Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.
    """

    def values(labels: Tensor) -> Tensor:
        has_classes = not labels.is_floating_point()
        labels = labels.expand(student.shape[:-1] if has_classes else student.shape)
        if smoothing is not None:
            return smoothed_cross_entropy(student, labels, smoothing)
        if class_weights is not None and not has_classes:
            return binary_cross_entropy(student, labels, class_weights)
        losses = HARD_LOSSES[kind](student, labels)
        if class_weights is None:
            return losses
        return _weights_of(labels, class_weights.expand(student.shape)) * losses

    if mixed is None:
        return values(labels)
    other_labels, weight = mixed
    first, second = values(labels), values(other_labels)
    weight = weight.to(first.dtype)
    return torch.where(is_labelled(labels, mixed), weight * first + (1 - weight) * second, 0.0)


def _weights_of(labels: Tensor, class_weights: Tensor) -> Tensor:
    """Look up the weight of each sample's class, ``[..., B]``; class 0 for unlabelled samples."""
    return class_weights.gather(-1, labels.clamp(min=0)[..., None])[..., 0]


def _cross_entropy_of_labels(student: Tensor, labels: Tensor) -> Tensor:
    flat = F.cross_entropy(
        upcast(student).flatten(0, -2), labels.flatten(), reduction="none", ignore_index=UNLABELLED
    )
    return flat.view(labels.shape)


def smoothed_cross_entropy(student: Tensor, labels: Tensor, smoothing: float | Tensor) -> Tensor:
    r"""Cross-entropy at T = 1 with label smoothing: a share e is spread evenly over all C classes.

    .. math:: -(1 - e) \log q_y - \frac{e}{C} \sum_c \log q_c, \quad q = softmax(z)

    Args:
        student: Logits z, ``[..., B, C]``.
        labels: Class indices, int64, ``[..., B]``.
        smoothing: Share e, from 0 to below 1, a number or a tensor that broadcasts against ``[...,
            B]``.

    Returns:
        Nats, ``[..., B]``; 0 where the label is :data:`UNLABELLED`.

    References:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016, section
        7.
    """
    log_q = log_softmax(student)
    log_target = log_q.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    values = (smoothing - 1) * log_target - smoothing * log_q.mean(-1)
    return torch.where(labels == UNLABELLED, 0.0, values)


def squared_error_of_grades(student: Tensor, labels: Tensor) -> Tensor:
    r"""Compute the squared distance between the score of a graded student and the grade.

    .. math:: (s - y)^2, \quad s = z_1 - z_0 + 1/2

    A graded student (:class:`limbeck.models.Graded`) has one score s and logits :math:`z_k = k s -
    \sum_{j=1}^{k} (j - 1/2)`, where the grade nearest to s has the largest logit. The loss has no
    meaning for other logits.

    Args:
        student: Logits z, ``[..., B, C]``.
        labels: Class indices, int64, broadcastable to ``[..., B]``.

    Returns:
        ``[..., B]``; 0 where the label is :data:`UNLABELLED`.
    """
    score = upcast(student[..., 1]) - upcast(student[..., 0]) + 0.5
    return torch.where(labels == UNLABELLED, 0.0, (score - labels).square())


def is_labelled(labels: Tensor, mixed: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Return a mask of the labelled samples, bool ``[..., B]``.

    A mixture is labelled if both of its inputs are.

    Args:
        labels: Class indices ``[..., B]``, or values ``[..., B, D]``.
        mixed: Labels of the second inputs and their weights; None without mixtures.
    """
    if labels.is_floating_point():
        mask = ~labels.isnan().any(-1)
    else:
        mask = labels != UNLABELLED
    return mask if mixed is None else mask & is_labelled(mixed[0])


def without_label(labels: Tensor, count: int) -> Tensor:
    """Return labels like ``labels``, ``[count, ...]``, that stand for no label."""
    marker = float("nan") if labels.is_floating_point() else UNLABELLED
    return labels.new_full((count, *labels.shape[1:]), marker)


_ENTRIES = (
    HardLoss("cross_entropy", _cross_entropy_of_labels, can_smooth=True),
    HardLoss("squared_error", squared_error_of_grades),
    HardLoss("mse", squared_error_of_values, outputs="values"),
    HardLoss("huber", huber_of_values, outputs="values"),
    HardLoss("binary_cross_entropy", binary_cross_entropy, outputs="labels"),
    HardLoss("contrastive", contrastive, outputs="vectors"),
)

HARD_LOSSES: dict[str, HardLoss] = {loss.name: loss for loss in _ENTRIES}
"""Every hard loss by its name."""
