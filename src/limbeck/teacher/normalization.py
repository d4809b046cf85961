"""Whether a teacher was trained on inputs that are normalised in another way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import log_softmax
from torch import Tensor, nn

from limbeck.data import Dataset
from limbeck.evaluation.calibration import fit_temperature
from limbeck.models import Normalized
from limbeck.models.normalizations import (
    NORMALIZATIONS,
    Statistics,
    statistics_for,
    with_statistics,
)
from limbeck.teacher.class_order import (
    LEVEL,
    better_p_value,
    lowest_recall,
    mean_recall,
)

MIN_ERRORS = 15
"""Number of held-out errors with which another normalisation can be shown to be better."""
MAX_SHARE = 0.7
"""Largest share of the errors that the right normalisation leaves.

A change of contrast moves the errors of a weak teacher by chance or in truth, but not by that much.
"""
TOLERANCE = 0.02
"""Difference below which two means or standard deviations are the same."""

Answer = Callable[[nn.Module, Tensor], np.ndarray]
"""Function that returns the logits ``[N, C]`` of inputs."""


@dataclass(frozen=True)
class NormalizationTest:
    """Another normalisation, with which a teacher is better on held-out samples.

    Attributes:
        name: Name of the normalisation.
        statistics: Mean and standard deviation.
        error_rate: Share of errors with it.
        present_error_rate: Share of errors without it.
        p_value: One-sided p-value that it is better.
        samples: Number of held-out samples.
    """

    name: str
    statistics: Statistics
    error_rate: float
    present_error_rate: float
    p_value: float
    samples: int


def better_normalization(
    model: nn.Module, inputs: Tensor, labels: np.ndarray, answer: Answer, data: Dataset
) -> NormalizationTest | None:
    """Test whether one of the usual normalisations makes a teacher much better.

    The best one is chosen on the first half of the samples and tested on the second half, so the
    number of candidates needs no correction.

    Args:
        model: Teacher.
        inputs: Validation inputs in random order, ``[N, ...]``.
        labels: Labels, ``[N]``.
        answer: Function that returns the logits of a model for inputs.
        data: Dataset of the study.

    Returns:
        The test of that normalisation; None if none is much better.
    """
    if next(model.parameters(), None) is None:  # a model of another library, perhaps far away
        return None
    if data.columns is not None:  # the columns of a table differ in scale and kind
        return None
    half = len(labels) // 2
    present = _is_wrong(answer(model, inputs), labels)
    if int(present[half:].sum()) < MIN_ERRORS:
        return None
    candidates = list(_candidates(model, data))
    if not candidates:
        return None
    scores = []
    for _, statistics in candidates:
        logits = answer(_normalized(model, statistics), inputs[:half])
        scores.append(_score(logits, labels[:half]))
    name, statistics = candidates[scores.index(min(scores))]
    is_wrong = _is_wrong(answer(_normalized(model, statistics), inputs[half:]), labels[half:])
    was_wrong = present[half:]
    p_value = better_p_value(is_wrong, was_wrong)
    is_plausible = mean_recall(is_wrong, labels[half:]) >= lowest_recall(data.classes)
    is_much_better = is_wrong.sum() <= MAX_SHARE * was_wrong.sum()
    if p_value >= LEVEL or not is_plausible or not is_much_better:
        return None
    return NormalizationTest(
        name=name,
        statistics=statistics,
        error_rate=float(is_wrong.mean()),
        present_error_rate=float(was_wrong.mean()),
        p_value=p_value,
        samples=len(is_wrong),
    )


def _is_wrong(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return logits.argmax(1) != labels


def _score(logits: np.ndarray, labels: np.ndarray) -> float:
    """Negative log-likelihood at the best temperature, which tells similar candidates apart."""
    scaled = logits.astype(np.float64) / fit_temperature(logits, labels)
    return float(-log_softmax(scaled, 1)[np.arange(len(labels)), labels].mean())


def _candidates(model: nn.Module, data: Dataset) -> Iterator[tuple[str, Statistics]]:
    """Yield the usual normalisations, without the present one."""
    is_image = data.train.inputs.dtype == torch.uint8 and len(data.shape) == 3
    present: Statistics = ([0.0], [1.0])
    if isinstance(model, Normalized):
        present = (model.mean.tolist(), model.std.tolist())
    for name in NORMALIZATIONS:
        if name in ("symmetric", "imagenet") and not is_image:
            continue
        if name == "imagenet" and data.shape[0] not in (1, 3):
            continue
        statistics = statistics_for(model, name, data.shape, data.statistics)
        if not _is_same(statistics, present):
            yield name, statistics


def _is_same(one: Statistics, other: Statistics) -> bool:
    pairs = [np.broadcast_arrays(*pair) for pair in zip(one, other, strict=True)]
    return all(np.allclose(first, second, rtol=0, atol=TOLERANCE) for first, second in pairs)


def _normalized(model: nn.Module, statistics: Statistics) -> nn.Module:
    wrapped = with_statistics(model, statistics)
    first = next(wrapped.parameters(), None)
    if first is not None:  # the network itself is not converted
        wrapped.mean, wrapped.std = wrapped.mean.to(first), wrapped.std.to(first)
    return wrapped
