"""Comparison of an arm with its control over the same seeds and the same test samples."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from limbeck.evaluation.measure import Measure
from limbeck.evaluation.power import needed
from limbeck.evaluation.statistics import (
    MAX_SEGMENTS,
    CrossedTest,
    crossed_test,
    mcnemar_exact,
    mean_by_split,
    paired_interval,
)
from limbeck.evaluation.text import TokenScores
from limbeck.evaluation.verdict import delta_of, verdict
from limbeck.run.comparison import Comparison, GapClosed, Needed, VarianceParts
from limbeck.run.metrics import Metrics
from limbeck.run.summary import ArmResult, MeasureKey


@dataclass(frozen=True)
class ArmErrors:
    """Test results of an arm of classifiers.

    Attributes:
        name: Name of the arm.
        wrong: Whether the student of each seed errs on each sample, bool ``[S, N]``.
        nll: Mean NLL in nats of each seed, ``[S]``.
    """

    name: str
    wrong: np.ndarray
    nll: Sequence[float]


@dataclass(frozen=True)
class ArmTokens:
    """Test results of an arm of language models.

    Attributes:
        name: Name of the arm.
        scores: Scores of each seed.
    """

    name: str
    scores: Sequence[TokenScores]


def gap_closed(arm: float, control: float, teacher: float | None) -> float | None:
    """Compute the share of the gap between control and teacher that the arm closes.

    The share is ``(control - arm) / (control - teacher)``.

    Returns:
        The share; None without a teacher that is better than the control, or if it is not finite.
    """
    if teacher is None or control <= teacher:
        return None
    share = (control - arm) / (control - teacher)
    return share if math.isfinite(share) else None


def gap_interval(
    arm: Sequence[float], control: Sequence[float], teacher: float | None
) -> tuple[float, float] | None:
    """Compute the 95 % interval of :func:`gap_closed` over seeds.

    Args:
        arm: Value of each seed, ``[S]``.
        control: Value of each seed, ``[S]``.
        teacher: Value of the teacher, if there is one.

    Returns:
        Lower and upper bound; None with one seed, or if a seed has no gap.
    """
    shares = []
    for arm_value, control_value in zip(arm, control, strict=True):
        share = gap_closed(arm_value, control_value, teacher)
        if share is None:
            return None
        shares.append(share)
    return paired_interval(shares).ci95


def compare_classifiers(
    arm: ArmErrors, control: ArmErrors, teacher: Metrics | None = None, *, splits: int = 1
) -> Comparison:
    """Compare two arms of classifiers by their errors.

    Args:
        arm: Results of the arm.
        control: Results of its control, for the same seeds and samples.
        teacher: Metrics of the teacher on the same samples, if there is one.
        splits: Number of training and validation splits, over which the seeds are spread.
    """
    arm_errors, control_errors = arm.wrong.sum(1), control.wrong.sum(1)
    per_seed = [int(a) - int(c) for a, c in zip(arm_errors, control_errors, strict=True)]
    differences = mean_by_split(arm.wrong.astype(int) - control.wrong.astype(int), splits)
    test = crossed_test(differences)
    mcnemar = [mcnemar_exact(a, c) for a, c in zip(arm.wrong, control.wrong, strict=True)]
    teacher_errors = None if teacher is None else teacher.errors
    teacher_nll = None if teacher is None else teacher.nll
    return Comparison(
        arm=arm.name,
        control=control.name,
        delta_errors=delta_of(per_seed, test),
        mcnemar_by_seed=tuple(mcnemar),
        p_value=test.p_value,
        gap_closed=GapClosed(
            errors=gap_closed(_mean(arm_errors), _mean(control_errors), teacher_errors),
            nll=gap_closed(_mean(arm.nll), _mean(control.nll), teacher_nll),
            nll_ci95=gap_interval(arm.nll, control.nll, teacher_nll),
        ),
        verdict=verdict(test),
        needed=_needed(test, differences.shape, seeds_per_split=len(arm.wrong) // len(differences)),
        variances=_variance_parts(test, samples=differences.shape[1]),
    )


def compare_language_models(
    arm: ArmTokens,
    control: ArmTokens,
    size: int,
    teacher: Metrics | None = None,
    *,
    splits: int = 1,
) -> Comparison:
    """Compare two arms of language models by their bits per byte.

    The samples of the test are segments of the text.

    Args:
        arm: Results of the arm.
        control: Results of its control, for the same seeds and tokens.
        size: Number of bytes of text that the test labels encode.
        teacher: Metrics of the teacher on the same tokens, if there is one.
        splits: Number of training and validation splits, over which the seeds are spread.
    """
    bits = bits_by_segment(arm.scores, control.scores, size)
    per_seed = bits.sum(1).tolist()
    differences = mean_by_split(bits, splits)
    test = crossed_test(differences)
    arm_errors = [_errors(scores) for scores in arm.scores]
    control_errors = [_errors(scores) for scores in control.scores]
    changes = [a - c for a, c in zip(arm_errors, control_errors, strict=True)]
    arm_nll = [_nll(scores) for scores in arm.scores]
    control_nll = [_nll(scores) for scores in control.scores]
    teacher_errors = None if teacher is None else teacher.errors
    teacher_nll = None if teacher is None else teacher.nll
    return Comparison(
        arm=arm.name,
        control=control.name,
        delta_errors=delta_of(changes),
        delta_bits_per_byte=delta_of(per_seed, test),
        p_value=test.p_value,
        gap_closed=GapClosed(
            errors=gap_closed(_mean(arm_errors), _mean(control_errors), teacher_errors),
            nll=gap_closed(_mean(arm_nll), _mean(control_nll), teacher_nll),
            nll_ci95=gap_interval(arm_nll, control_nll, teacher_nll),
        ),
        verdict=verdict(test),
        needed=_needed(test, differences.shape, seeds_per_split=len(bits) // len(differences)),
        variances=_variance_parts(test, samples=differences.shape[1]),
    )


@dataclass(frozen=True)
class GapSeeds:
    """The measure of two arms by seed, and of the teacher, between which a gap is closed.

    Attributes:
        arm: Value of each seed, ``[S]``.
        control: Value of each seed, ``[S]``.
        teacher: Value of the teacher; None without one.
    """

    arm: Sequence[float]
    control: Sequence[float]
    teacher: float | None


def compare_samples(
    arm: str,
    control: str,
    differences: np.ndarray,
    measure: MeasureKey,
    seeds: GapSeeds,
    *,
    splits: int = 1,
) -> Comparison:
    """Compare two arms by a measure that is a sum over samples.

    Args:
        arm: Name of the arm.
        control: Name of its control.
        differences: Contribution of each sample to the difference of each seed, ``[S, N]``.
        measure: Key of the measure.
        seeds: Measure of both arms and of the teacher.
        splits: Number of training and validation splits, over which the seeds are spread.
    """
    by_split = mean_by_split(differences, splits)
    test = crossed_test(by_split)
    gap: dict[str, Any] = {
        measure: gap_closed(_mean(seeds.arm), _mean(seeds.control), seeds.teacher),
        f"{measure}_ci95": gap_interval(seeds.arm, seeds.control, seeds.teacher),
    }
    comparison = Comparison(
        arm=arm,
        control=control,
        p_value=test.p_value,
        gap_closed=replace(GapClosed(errors=None, nll=None), **gap),
        verdict=verdict(test),
        needed=_needed(test, by_split.shape, seeds_per_split=len(differences) // len(by_split)),
        variances=_variance_parts(test, samples=by_split.shape[1]),
    )
    delta: dict[str, Any] = {f"delta_{measure}": delta_of(differences.sum(1).tolist(), test)}
    return replace(comparison, **delta)


def bits_by_segment(
    first: Sequence[TokenScores], second: Sequence[TokenScores], size: int
) -> np.ndarray:
    """Compute the difference in bits per byte due to each segment of the test text.

    Args:
        first: Scores of one model per seed.
        second: Scores that are subtracted, for the same seeds and tokens.
        size: Number of bytes of text that the test labels encode.

    Returns:
        The differences ``[S, N]``, which sum to the difference of each seed.
    """
    pairs = zip(first, second, strict=True)
    nats = np.stack([_by_segment(one.nll - other.nll) for one, other in pairs])
    return nats / (math.log(2) * size)


def mark_main(
    comparisons: Sequence[Comparison], arms: Sequence[ArmResult], measure: Measure
) -> list[Comparison]:
    """Mark the headline: the comparison whose arm does best on the validation split.

    The test split is not used. Controls and arms with shuffled soft targets become the headline
    only if there are no other arms.

    Args:
        comparisons: Comparisons of a study.
        arms: Results of its arms.
        measure: Metric to choose by, in the mean over seeds.
    """
    by_name = {arm.name: arm for arm in arms}

    def is_distilled(comparison: Comparison) -> bool:
        arm = by_name[comparison.arm]
        return not (arm.control or arm.is_shuffled)

    def validation_mean(comparison: Comparison) -> float:
        return measure.validation_mean(by_name[comparison.arm])

    candidates = [entry for entry in comparisons if is_distilled(entry)] or comparisons
    best = min(candidates, key=validation_mean, default=None)
    return [replace(entry, main=entry is best) for entry in comparisons]


def _variance_parts(test: CrossedTest, *, samples: int) -> VarianceParts | None:
    if test.variances is None:
        return None
    return VarianceParts(**asdict(test.variances), number_of_samples=samples)


def _needed(test: CrossedTest, shape: tuple[int, ...], *, seeds_per_split: int) -> Needed | None:
    """Seeds and samples that would be enough, unless the test shows the difference.

    With several splits, these are the seeds of the test.
    """
    if verdict(test) != "not shown":
        return None
    seeds, samples = shape
    enough = needed(test, seeds=seeds, samples=samples)
    if enough is None or enough.seeds is None:
        return enough
    return replace(enough, seeds=enough.seeds * seeds_per_split)


def _mean(values: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(values))


def _errors(scores: TokenScores) -> int:
    return scores.right.numel() - int(scores.right.sum())


def _nll(scores: TokenScores) -> float:
    return float(scores.nll.double().mean())


def _by_segment(values: Tensor) -> np.ndarray:
    """Sum values ``[N, T]`` over at most :data:`MAX_SEGMENTS` segments of consecutive blocks."""
    parts = values.tensor_split(min(MAX_SEGMENTS, len(values)))
    return np.array([float(part.double().sum()) for part in parts])
