"""Metrics of several labels per sample."""

import torch
from torch import Tensor

from limbeck.evaluation.metrics import finite_or_none
from limbeck.losses.labels import binary_cross_entropy, binary_kl
from limbeck.run.metrics import MultiLabelMetrics


def wrong_labels(logits: Tensor, labels: Tensor) -> Tensor:
    """Count the wrong labels of each sample: those whose probability is on the wrong side of 0.5.

    Args:
        logits: Logits ``[..., N, L]``; NaN is wrong.
        labels: Labels, 0 or 1, ``[N, L]``.

    Returns:
        int64, ``[..., N]``.
    """
    applies = labels > 0.5
    is_right = torch.where(applies, logits > 0, logits <= 0)
    return (~is_right).sum(-1)


def average_precision(scores: Tensor, labels: Tensor) -> Tensor:
    """Compute the average precision of each label, as scikit-learn does.

    It is the mean, over samples with the label, of the precision among the samples whose score is
    at least as large.

    Args:
        scores: Logits or probabilities ``[N, L]``.
        labels: Labels, 0 or 1, ``[N, L]``.

    Returns:
        float64, ``[L]``; NaN for a label that no sample has.
    """
    precisions = []
    for score, label in zip(scores.double().T, labels.double().T, strict=True):
        order = score.argsort(descending=True, stable=True)
        ranked, hits = score[order], label[order]
        is_last = torch.cat([ranked[1:] != ranked[:-1], torch.ones(1, dtype=torch.bool)])
        recalled = hits.cumsum(0)[is_last]
        precision = recalled / (torch.arange(len(hits), dtype=torch.float64) + 1)[is_last]
        gain = recalled.diff(prepend=torch.zeros(1, dtype=torch.float64))
        precisions.append((precision * gain).sum() / hits.sum())
    return torch.stack(precisions)


def best_thresholds(logits: Tensor, labels: Tensor) -> Tensor:
    """Find the threshold of each label with the largest F1, on validation samples.

    Args:
        logits: Logits ``[N, L]``.
        labels: Labels, 0 or 1, ``[N, L]``.

    Returns:
        Thresholds of the logits, float64 ``[L]``, halfway between two samples; 0 for a label that
        no sample has.
    """
    thresholds = []
    for score, label in zip(logits.double().T, labels.double().T, strict=True):
        order = score.argsort(descending=True)
        ranked, hits = score[order], label[order].cumsum(0)
        if float(hits[-1]) == 0:
            thresholds.append(torch.zeros((), dtype=torch.float64))
            continue
        count = torch.arange(len(ranked), dtype=torch.float64) + 1
        f1 = 2 * hits / (count + hits[-1])
        is_last = torch.cat([ranked[1:] != ranked[:-1], torch.ones(1, dtype=torch.bool)])
        best = int(torch.where(is_last, f1, -1.0).argmax())
        following = ranked[best + 1] if best + 1 < len(ranked) else ranked[best] - 1
        thresholds.append((ranked[best] + following) / 2)
    return torch.stack(thresholds)


def f1_scores(logits: Tensor, labels: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the F1 score over all labels together (micro), and the mean of each label's (macro).

    Args:
        logits: Logits ``[N, L]``.
        labels: Labels, 0 or 1, ``[N, L]``.
        thresholds: Threshold of each logit, ``[L]``.

    Returns:
        Micro and macro F1, float64. A label that is neither there nor predicted has F1 0.
    """
    predicted, applies = logits.double() > thresholds, labels > 0.5
    hits = (predicted & applies).sum(0).double()
    total = (predicted.sum(0) + applies.sum(0)).double()
    micro = 2 * hits.sum() / total.sum()
    macro = torch.where(total > 0, 2 * hits / total.clamp(min=1), 0.0).mean()
    return micro, macro


def multi_label_metrics(
    logits: Tensor, labels: Tensor, teacher: Tensor | None, thresholds: Tensor
) -> MultiLabelMetrics:
    """Compute all metrics of one model of several labels.

    Args:
        logits: Logits ``[N, L]``.
        labels: Labels, 0 or 1, ``[N, L]``.
        teacher: Logits of the teacher ``[N, L]``, if there is one.
        thresholds: Thresholds of the F1 scores, ``[L]``, fitted on validation samples.

    Returns:
        The metrics. One that is not finite, because a logit is not, is None.
    """
    wrong = wrong_labels(logits, labels)
    all_right = int((wrong == 0).sum())
    agreement = divergence = None
    if teacher is not None:
        agreement = float(((logits > 0) == (teacher > 0)).double().mean())
        divergence = finite_or_none(binary_kl(logits.double(), teacher.double()).mean())
    precisions = average_precision(logits, labels)
    micro, macro = f1_scores(logits, labels, thresholds)
    return MultiLabelMetrics(
        errors=len(labels) - all_right,
        accuracy=all_right / len(labels),
        nll=finite_or_none(binary_cross_entropy(logits.double(), labels).mean()),
        ece=None,
        agreement=agreement,
        kl_to_teacher=divergence,
        label_errors=int(wrong.sum()),
        label_accuracy=1 - float(wrong.double().mean()) / labels.shape[1],
        mean_average_precision=finite_or_none(precisions[~precisions.isnan()].mean()),
        f1_micro=finite_or_none(micro),
        f1_macro=finite_or_none(macro),
    )
