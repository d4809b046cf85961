"""Examination of a teacher of values or of several labels, on validation samples."""

import numpy as np
import torch

from limbeck.data import Dataset
from limbeck.evaluation.labels import average_precision
from limbeck.evaluation.regression import r_squared, squared_errors
from limbeck.run.finding import NOTE, STOP, WARNING, Finding

MIN_SAMPLES = 30
"""Smallest number of samples with which a teacher is compared with predicting the mean."""
MAX_RESCALED = 0.75
"""Squared error of rescaled values from which on another unit explains nothing."""


def judge_values(values: np.ndarray, labels: np.ndarray, data: Dataset, name: str) -> Finding:
    """Return the finding about a teacher's values for labelled samples.

    Args:
        values: Values of the teacher, ``[N, D]``.
        labels: Labels, ``[N, D]``.
        data: Dataset of the study.
        name: Name of the teacher, for the finding.
    """
    broken = int((~np.isfinite(values)).any(1).sum())
    count = len(labels)
    if broken:
        return _finding(
            STOP,
            f"the values of {name} are not finite.",
            f"They are NaN or infinite for {broken} of {count} validation samples. Check the "
            "teacher, or compute with trainer.precision=32-true.",
        )
    assert data.target_scale is not None
    predicted, true = torch.from_numpy(values), torch.from_numpy(labels)
    error = float(squared_errors(predicted, true, data.target_scale).mean())
    evidence = (
        f"Its squared error on {count} validation samples is {error:.3g} times the variance of the "
        "targets; that of predicting the mean is 1."
    )
    if error >= 1 and count < MIN_SAMPLES:
        text = f"{name} is no better than predicting the mean."
        few = f"{evidence} Fewer than {MIN_SAMPLES} samples do not show if its unit is another one."
        return _finding(WARNING, text, few)
    if error < 1:
        share = float(r_squared(predicted, true))
        text = f"{name} has R² {share:.3f} on {count} validation samples."
        return _finding(NOTE, text, f"Its squared error is {error:.3g} (1 is predicting the mean).")
    rescaled = _rescaled_error(values, labels)
    if rescaled < MAX_RESCALED:
        return _finding(
            STOP,
            f"the values of {name} are in another unit than the labels.",
            f"{evidence} Shifted and scaled, it would be {rescaled:.2g}.",
            "return values in the unit of the labels, as with teacher(x) * std + mean",
        )
    return _finding(WARNING, f"{name} is no better than predicting the mean.", evidence)


def judge_labels(logits: np.ndarray, labels: np.ndarray, data: Dataset, name: str) -> Finding:
    """Return the finding about a teacher's logits of several labels for labelled samples.

    Args:
        logits: Logits of the teacher, ``[N, L]``.
        labels: Labels, 0 or 1, ``[N, L]``.
        data: Dataset of the study.
        name: Name of the teacher, for the finding.
    """
    broken, count = int((~np.isfinite(logits)).any(1).sum()), len(labels)
    if broken:
        return _finding(
            STOP,
            f"the logits of {name} are not finite.",
            f"They are NaN or infinite for {broken} of {count} validation samples.",
        )
    if logits.min() >= 0 and logits.max() <= 1:
        return _finding(
            STOP,
            f"the outputs of {name} are probabilities, but logits are expected.",
            "All are from 0 to 1, so that every label would have a probability of 0.5 or more.",
            "return torch.logit(outputs), or the outputs before the sigmoid",
        )
    precisions = average_precision(torch.from_numpy(logits), torch.from_numpy(labels))
    has_label = ~precisions.isnan()
    precision = float(precisions[has_label].mean())
    chance = float(torch.from_numpy(labels).double().mean(0)[has_label].mean())
    evidence = f"That of random answers is {chance:.3f} on these {count} validation samples."
    if count >= MIN_SAMPLES and precision <= chance:
        text = f"{name} is no better than chance: its mean average precision is {precision:.3f}."
        return _finding(WARNING, text, evidence)
    return _finding(NOTE, f"{name} has a mean average precision of {precision:.3f}.", evidence)


def _rescaled_error(values: np.ndarray, labels: np.ndarray) -> float:
    """Unexplained share of the labels' variance if each target is shifted and scaled."""
    shares = []
    for predicted, true in zip(values.T, labels.T, strict=True):
        if predicted.std() == 0 or true.std() == 0:
            return 1.0
        shares.append(1 - float(np.corrcoef(predicted, true)[0, 1]) ** 2)
    return float(np.mean(shares))


def _finding(level: str, text: str, evidence: str = "", remedy: str = "") -> Finding:
    text = text[0].upper() + text[1:]
    return Finding(level=level, subject="teacher", text=text, evidence=evidence, remedy=remedy)
