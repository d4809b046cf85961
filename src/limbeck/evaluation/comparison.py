"""Paired comparison of an arm with its control over the same seeds and the same test samples.

Two things vary: the training (seeds) and the test samples. The interval looks at the first,
McNemar's test at the second; a verdict needs both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.05


@dataclass(frozen=True)
class Interval:
    """Mean of paired differences and its 95 % interval (None with fewer than two pairs)."""

    mean: float
    ci95: tuple[float, float] | None


def paired_interval(differences: Sequence[float]) -> Interval:
    """Student's t interval of the mean of paired differences over seeds.

    With all differences equal the interval is that point.

    Raises:
        ValueError: no differences.
    """
    if len(differences) == 0:
        raise ValueError("paired_interval needs at least one difference.")
    values = np.asarray(differences, dtype=float)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, None)
    half = float(
        stats.t.ppf(1 - LEVEL / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    )
    return Interval(mean, (mean - half, mean + half))


def total_interval(differences: np.ndarray) -> Interval:
    """95 % interval of the mean difference in errors that would hold for other seeds and other test
    samples.

    Its half width is sqrt((t s)^2 / S + z^2 N v): the t interval over seeds, and the variance v
    over samples of the seeds' mean difference. The second holds a part of the first, so it errs on
    the wide side.

    Args:
        differences: ``[S, N]``: -1, 0 or 1 where the arm alone is right, both or none, the control
            alone is right.

    Returns:
        The interval of the mean of the sums over samples; without bounds for fewer than two seeds
        or samples.
    """
    samples = differences.shape[1]
    over_seeds = paired_interval(differences.sum(1))
    if over_seeds.ci95 is None or samples < 2:
        return Interval(over_seeds.mean, None)
    variance = samples * float(differences.mean(0).var(ddof=1))
    half = math.hypot(
        over_seeds.ci95[1] - over_seeds.mean, stats.norm.ppf(1 - LEVEL / 2) * math.sqrt(variance)
    )
    return Interval(over_seeds.mean, (over_seeds.mean - half, over_seeds.mean + half))


def mcnemar_exact(first_wrong: np.ndarray, second_wrong: np.ndarray) -> float:
    """Exact two-sided McNemar test that two models err equally often on the same samples.

    Args:
        first_wrong: bool, ``[N]``.
        second_wrong: bool, ``[N]``.

    Returns:
        The p-value; 1 where the models never differ.

    References:
        McNemar, "Note on the sampling error of the difference between correlated proportions",
        1947.
    """
    only_first = int(np.sum(first_wrong & ~second_wrong))
    only_second = int(np.sum(second_wrong & ~first_wrong))
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second).pvalue)


def combine_p_values(p_values: Sequence[float]) -> float:
    """One p-value from several that may depend on each other in any way.

    It is K/k times the k-th smallest of the K, with k = ceil(K/2). The seeds of a study share their
    test samples, so their p-values may not be multiplied. This bound holds whatever the dependence;
    for one value it is that value.

    References:
        Rueger, "Das maximale Signifikanzniveau des Tests: Lehne H0 ab, wenn k unter n gegebenen
        Tests zur Ablehnung fuehren", Metrika 25, 1978; Vovk and Wang, "Combining p-values via
        averaging", 2020.
    """
    if len(p_values) == 0:
        raise ValueError("combine_p_values needs at least one p-value.")
    ordered = sorted(p_values)
    k = math.ceil(len(ordered) / 2)
    return min(1.0, len(ordered) / k * ordered[k - 1])


def gap_closed(arm: float, control: float, teacher: float | None) -> float | None:
    """(control - arm) / (control - teacher); None where the teacher is not better than the control."""
    if teacher is None or control <= teacher:
        return None
    return (control - arm) / (control - teacher)


def gap_interval(
    arm: Sequence[float], control: Sequence[float], teacher: float | None
) -> list[float] | None:
    """95 % interval over seeds of the gap closed, each seed by itself; None without a gap or with
    one seed.

    Args:
        arm: of each seed.
        control: likewise.
        teacher: its value.
    """
    shares = [gap_closed(a, c, teacher) for a, c in zip(arm, control, strict=True)]
    known = [share for share in shares if share is not None]
    found = paired_interval(known).ci95 if known and len(known) == len(shares) else None
    return None if found is None else list(found)


def verdict(interval: Interval, p_value: float) -> str:
    """``helps`` (fewer errors) or ``hurts`` if interval and test both exclude 0, else ``not
    shown``.
    """
    if interval.ci95 is None or p_value >= LEVEL:
        return "not shown"
    if interval.ci95[1] < 0:
        return "helps"
    if interval.ci95[0] > 0:
        return "hurts"
    return "not shown"


def compare(
    arm_wrong: np.ndarray,
    control_wrong: np.ndarray,
    *,
    arm_nll: Sequence[float],
    control_nll: Sequence[float],
    teacher_errors: float | None = None,
    teacher_nll: float | None = None,
) -> dict[str, Any]:
    """Compare an arm with its control.

    Args:
        arm_wrong: bool, ``[S, N]``: seed by test sample.
        control_wrong: bool, ``[S, N]``, same seeds and samples.
        arm_nll: mean nats per sample, one per seed.
        control_nll: the same for the control.
        teacher_errors: errors of the teacher on the same samples, if there is one.
        teacher_nll: its mean nats per sample.

    Returns:
        ``delta_errors`` (arm - control: mean, ci95, ci95_total, per_seed), ``mcnemar_p``,
        ``gap_closed`` and ``verdict`` as in ``summary.json``.
    """
    arm_errors, control_errors = arm_wrong.sum(1), control_wrong.sum(1)
    per_seed = [int(a) - int(c) for a, c in zip(arm_errors, control_errors, strict=True)]
    interval = paired_interval(per_seed)
    total = total_interval(arm_wrong.astype(int) - control_wrong.astype(int))
    p_value = combine_p_values(
        [mcnemar_exact(a, c) for a, c in zip(arm_wrong, control_wrong, strict=True)]
    )
    return {
        "delta_errors": {
            "mean": interval.mean,
            "ci95": None if interval.ci95 is None else list(interval.ci95),
            "ci95_total": None if total.ci95 is None else list(total.ci95),
            "per_seed": per_seed,
        },
        "mcnemar_p": p_value,
        "gap_closed": {
            "errors": gap_closed(
                float(arm_errors.mean()), float(control_errors.mean()), teacher_errors
            ),
            "nll": gap_closed(float(np.mean(arm_nll)), float(np.mean(control_nll)), teacher_nll),
            "nll_ci95": gap_interval(arm_nll, control_nll, teacher_nll),
        },
        "verdict": verdict(total, p_value),
    }
