"""Metrics of logits against labels and against a teacher's logits; they need torch alone."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.losses.base import UNLABELLED

BINS = 15


def errors(logits: Tensor, labels: Tensor) -> Tensor:
    """Number of samples whose top class is not the label.

    Args:
        logits: ``[..., N, C]``.
        labels: int64, ``[N]``.

    Returns:
        int64, ``[...]``.
    """
    return (logits.argmax(-1) != labels).sum(-1)


def nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log-likelihood of the labels in nats at T = 1.

    Args:
        logits: ``[..., N, C]``.
        labels: int64, ``[N]``.

    Returns:
        float64, ``[...]``.
    """
    log_p = torch.log_softmax(logits.double(), -1)
    index = labels.expand(log_p.shape[:-1]).unsqueeze(-1)
    return -log_p.gather(-1, index).squeeze(-1).mean(-1)


def expected_calibration_error(logits: Tensor, labels: Tensor, *, bins: int = BINS) -> float:
    """Mean distance of confidence and accuracy over equal-width bins of confidence, weighted by bin
    size.

    Args:
        logits: ``[N, C]``.
        labels: int64, ``[N]``.
        bins: how many bins between 0 and 1; each holds its upper edge.

    Returns:
        Between 0 and 1.

    References:
        Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
        Binning", 2015.
    """
    confidence, top = torch.softmax(logits.double(), -1).max(-1)
    return calibration_error(confidence, top == labels, bins=bins)


def calibration_error(confidence: Tensor, right: Tensor, *, bins: int = BINS) -> float:
    """:func:`expected_calibration_error` of the top class's probability (float64 ``[N]``) and
    whether it is right.
    """
    index = (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)
    gap = torch.zeros(bins, dtype=torch.double, device=confidence.device).index_add(
        0, index, confidence - right.double()
    )
    return float(gap.abs().sum() / len(confidence))


def agreement(student: Tensor, teacher: Tensor) -> Tensor:
    """Share of samples on which student and teacher have the same top class (Stanton et al. 2021).

    Args:
        student: logits, ``[..., N, C]``.
        teacher: logits, ``[N, C]``.

    Returns:
        float64, ``[...]``.
    """
    return (student.argmax(-1) == teacher.argmax(-1)).double().mean(-1)


def kl_to_teacher(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean KL of the student from the teacher in nats at T = 1.

    Args:
        student: logits, ``[..., N, C]``.
        teacher: logits, ``[N, C]``.

    Returns:
        float64, ``[...]``.
    """
    log_p = torch.log_softmax(teacher.double(), -1)
    log_q = torch.log_softmax(student.double(), -1)
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - log_q), 0.0).sum(-1).mean(-1)


def kappa_distances(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """The squared distances of which the quadratic kappa is made.

    Args:
        labels: int64 grades, ``[N]``.
        classes: C.

    Returns:
        float64 ``[N, C]``, of each sample's grade from each grade, and ``[C]``, their means over
        samples.
    """
    grades = torch.arange(classes, dtype=torch.float64, device=labels.device)
    found = (labels.double().unsqueeze(-1) - grades).square()
    return found, found.mean(0)


def quadratic_kappa(logits: Tensor, labels: Tensor) -> Tensor:
    """Cohen's kappa of top class and label with quadratic weights: 1 for the same grades, 0 for
    chance.

    It is 1 less the mean squared distance of the grades, divided by what that would be if answers
    and labels were as frequent as they are, but independent.

    Args:
        logits: of classes in the order of their grades, ``[..., N, C]``.
        labels: int64 grades, ``[N]``.

    Returns:
        float64, ``[...]``; not a number where answers and labels are all of one grade.

    References:
        Cohen, "Weighted kappa: nominal scale agreement with provision for scaled disagreement or
        partial credit", 1968.
    """
    found, expected = kappa_distances(labels, logits.shape[-1])
    top = logits.argmax(-1)
    distance = found.expand(*top.shape, -1).gather(-1, top.unsqueeze(-1)).squeeze(-1)
    return 1 - distance.mean(-1) / expected[top].mean(-1)


def all_metrics(
    logits: Tensor, labels: Tensor, teacher: Tensor | None = None, *, ordinal: bool = False
) -> dict[str, float | int | None]:
    """The metrics of one model as ``summary.json`` keeps them.

    These are errors, accuracy, nll, ece, agreement and kl_to_teacher; of graded classes also kappa,
    None where it is not defined.

    Args:
        logits: ``[N, C]``.
        labels: int64, ``[N]``.
        teacher: logits of the teacher, ``[N, C]``; without it agreement and kl_to_teacher are None.
        ordinal: classes are grades in their order.
    """
    wrong = int(errors(logits, labels))
    kappa = float(quadratic_kappa(logits, labels)) if ordinal else None
    return {
        "errors": wrong,
        "accuracy": (len(labels) - wrong) / len(labels),
        "nll": float(nll(logits, labels)),
        "ece": expected_calibration_error(logits, labels),
        "agreement": None if teacher is None else float(agreement(logits, teacher)),
        "kl_to_teacher": None if teacher is None else float(kl_to_teacher(logits, teacher)),
    } | ({"kappa": None if kappa is None or math.isnan(kappa) else kappa} if ordinal else {})


@torch.no_grad()  # not inference_mode: these logits, and what the loader makes and keeps, may train a model
def predict(model: nn.Module, inputs: Iterable[Tensor]) -> Tensor:
    """Logits of a model in eval mode for batches of inputs, ``[N, C]`` on the CPU.

    Every submodule is put back into the mode it was in.

    Raises:
        ValueError: there was no batch.
    """
    was_training = [(module, module.training) for module in model.modules()]
    first = next(model.parameters(), None)
    model.eval()
    try:
        logits = [model(x if first is None else x.to(first.device)).float().cpu() for x in inputs]
    finally:
        for module, mode in was_training:
            module.training = mode
    if not logits:
        raise ValueError("The loader gave no batch.")
    return torch.cat(logits)


def evaluate(model: nn.Module, loader: Iterable[Any]) -> dict[str, Any]:
    """Score a model on an iterable of ``(x, y)`` batches.

    Args:
        model: gives logits ``[B, C]``, or of text ``[B, T, C]``; it may be on any device, and each
            submodule is left in the mode it was in.
        loader: batches of inputs and int64 labels ``[B]``, or ``[B, T]``, -100 at positions that do
            not count.

    Returns:
        ``total``, ``correct``, ``errors`` (counts), ``accuracy``, ``nll`` (nats), ``ece``.

    Raises:
        ValueError: the loader gave no batch.
    """
    labels: list[Tensor] = []

    def inputs() -> Iterable[Tensor]:
        for x, y in loader:
            labels.append(torch.as_tensor(y).cpu())
            yield torch.as_tensor(x)

    logits = predict(model, inputs())
    y = torch.cat(labels)
    if y.ndim == 2:
        logits, y = logits[y != UNLABELLED], y[y != UNLABELLED]
    found = all_metrics(logits, y)
    return {"total": len(y), "correct": len(y) - int(found["errors"] or 0)} | {
        key: found[key] for key in ("errors", "accuracy", "nll", "ece")
    }
