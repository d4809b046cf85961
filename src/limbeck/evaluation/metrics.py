"""Metrics of logits against labels and against a teacher's logits."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import fields
from typing import TypeVar

import torch
from torch import Tensor

from limbeck.run.metrics import GradedMetrics, Metrics

M = TypeVar("M", bound=Metrics)
BINS = 15


def top_class(logits: Tensor) -> Tensor:
    """Find the class with the largest logit of each sample.

    Args:
        logits: Logits ``[..., C]``.

    Returns:
        int64, ``[...]``; -1, which equals no label, where a logit is NaN or all are -inf.
    """
    predicts = logits.amax(-1) > float("-inf")  # false for NaN
    return torch.where(predicts, logits.argmax(-1), -1)


def errors(logits: Tensor, labels: Tensor) -> Tensor:
    """Count the samples whose top class is not the label; NaN is an error.

    Args:
        logits: Logits ``[..., N, C]``.
        labels: Labels, int64 ``[N]``.

    Returns:
        int64, ``[...]``.
    """
    return (top_class(logits) != labels).sum(-1)


def nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the mean negative log-likelihood of the labels at T = 1, in nats.

    Args:
        logits: Logits ``[..., N, C]``.
        labels: Labels, int64 ``[N]``.

    Returns:
        float64, ``[...]``.
    """
    log_p = torch.log_softmax(logits.double(), -1)
    index = labels.expand(log_p.shape[:-1]).unsqueeze(-1)
    return -log_p.gather(-1, index).squeeze(-1).mean(-1)


def expected_calibration_error(logits: Tensor, labels: Tensor, *, bins: int = BINS) -> float:
    """Compute the expected calibration error: the mean gap between confidence and accuracy.

    The mean is over bins of equal width in confidence, weighted by their number of samples.

    Args:
        logits: Logits ``[N, C]``.
        labels: Labels, int64 ``[N]``.
        bins: Number of bins between 0 and 1; each includes its upper edge.

    Returns:
        A number between 0 and 1.

    References:
        Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
        Binning", 2015.
    """
    confidence = torch.softmax(logits.double(), -1).amax(-1)
    return calibration_error(confidence, top_class(logits) == labels, bins=bins)


def calibration_error(confidence: Tensor, right: Tensor, *, bins: int = BINS) -> float:
    """:func:`expected_calibration_error` from the probabilities of the top classes.

    Args:
        confidence: Probability of each sample's top class, float64 ``[N]``.
        right: Whether the top class is the label, bool ``[N]``.
        bins: Number of bins between 0 and 1; each includes its upper edge.
    """
    index = (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)
    gap = torch.zeros(bins, dtype=torch.double, device=confidence.device).index_add(
        0, index, confidence - right.double()
    )
    return float(gap.abs().sum() / len(confidence))


def agreement(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the share of samples on which student and teacher have the same top class.

    Where a model predicts no class (:func:`top_class`), the two do not agree.

    Args:
        student: Logits of the student ``[..., N, C]``.
        teacher: Logits of the teacher ``[N, C]``.

    Returns:
        float64, ``[...]``.

    References:
        Stanton et al., "Does Knowledge Distillation Really Work?", 2021.
    """
    top = top_class(student)
    return ((top == top_class(teacher)) & (top >= 0)).double().mean(-1)


def kl_to_teacher(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the mean KL divergence of the student from the teacher at T = 1, in nats.

    The divergence is ``sum_c p_c (log p_c - log q_c)`` with the teacher's probabilities p and the
    student's q.

    Args:
        student: Logits of the student ``[..., N, C]``.
        teacher: Logits of the teacher ``[N, C]``.

    Returns:
        float64, ``[...]``.
    """
    log_p = torch.log_softmax(teacher.double(), -1)
    log_q = torch.log_softmax(student.double(), -1)
    p = log_p.exp()
    return torch.where(p == 0, 0.0, p * (log_p - log_q)).sum(-1).mean(-1)


def kappa_distances(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Compute the squared distances between grades that the quadratic kappa is made of.

    Args:
        labels: Grades, int64 ``[N]``.
        classes: Number of grades, C.

    Returns:
        The distance of each sample's grade from each grade, float64 ``[N, C]``, and its mean over
        samples, ``[C]``.
    """
    grades = torch.arange(classes, dtype=torch.float64, device=labels.device)
    distances = (labels.double().unsqueeze(-1) - grades).square()
    return distances, distances.mean(0)


def quadratic_kappa(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute Cohen's kappa of top class and label with quadratic weights.

    Kappa is ``1 - d / e``, where d is the mean squared distance between predicted and true grade,
    and e its value if predictions and labels were independent. 1 is perfect, 0 is chance.

    Args:
        logits: Logits ``[..., N, C]``, classes in the order of their grades.
        labels: Grades, int64 ``[N]``.

    Returns:
        float64, ``[...]``; NaN if all predictions and labels are the same grade, or a logit is NaN.

    References:
        Cohen, "Weighted kappa: nominal scale agreement with provision for scaled disagreement or
        partial credit", 1968.
    """
    distances, expected = kappa_distances(labels, logits.shape[-1])
    top = top_class(logits)
    grade = top.clamp(min=0)
    distance = distances.expand(*grade.shape, -1).gather(-1, grade.unsqueeze(-1)).squeeze(-1)
    kappa = 1 - distance.mean(-1) / expected[grade].mean(-1)
    return torch.where((top >= 0).all(-1), kappa, float("nan"))


def classification_metrics(
    logits: Tensor, labels: Tensor, teacher: Tensor | None = None, *, ordinal: bool = False
) -> Metrics:
    """Compute all metrics of one classifier.

    Args:
        logits: Logits ``[N, C]``.
        labels: Labels, int64 ``[N]``.
        teacher: Logits of the teacher ``[N, C]``, if there is one.
        ordinal: Whether the classes are grades in their order.

    Returns:
        The metrics, as :class:`~limbeck.run.metrics.GradedMetrics` if the classes are grades. A
        metric that is not finite, because a logit is not, is None.
    """
    wrong = int(errors(logits, labels))
    values = {
        "errors": wrong,
        "accuracy": (len(labels) - wrong) / len(labels),
        "nll": finite_or_none(nll(logits, labels)),
        "ece": finite_or_none(expected_calibration_error(logits, labels)),
        "agreement": None if teacher is None else float(agreement(logits, teacher)),
        "kl_to_teacher": None,
    }
    if teacher is not None:
        values["kl_to_teacher"] = finite_or_none(kl_to_teacher(logits, teacher))
    if not ordinal:
        return Metrics(**values)
    return GradedMetrics(**values, kappa=finite_or_none(quadratic_kappa(logits, labels)))


def finite_or_none(value: Tensor | float) -> float | None:
    """Return a number, or None if it is infinite or NaN, which JSON cannot represent."""
    number = float(value)
    return number if math.isfinite(number) else None


def mean_and_sd(values: Sequence[M]) -> tuple[M, M]:
    """Compute the mean and the sample standard deviation of each metric.

    Args:
        values: Metrics of each seed.

    Returns:
        Means and standard deviations. Both are None for a metric that a seed lacks; the standard
        deviation also with a single seed.
    """
    mean: dict[str, float | None] = {}
    sd: dict[str, float | None] = {}
    for item in fields(values[0]):
        column = [getattr(value, item.name) for value in values]
        is_complete = None not in column
        mean[item.name] = statistics.fmean(column) if is_complete else None
        sd[item.name] = statistics.stdev(column) if is_complete and len(column) > 1 else None
    kind = type(values[0])
    return kind(**mean), kind(**sd)
