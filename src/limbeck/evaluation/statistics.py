"""Intervals and tests of paired differences between an arm and its control.

Two things vary: the training (seeds) and the test samples. The interval covers both, and the test
covers the samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.05


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; None with fewer than two pairs."""

    mean: float
    ci95: tuple[float, float] | None


def paired_interval(differences: Sequence[float]) -> Interval:
    """Compute Student's t interval of the mean of paired differences.

    If all differences are equal, the interval has no width.

    Args:
        differences: One difference per seed, ``[S]``.

    Raises:
        ValueError: If there are no differences.
    """
    if len(differences) == 0:
        raise ValueError("paired_interval needs at least one difference.")
    values = np.asarray(differences, dtype=float)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, None)
    quantile = stats.t.ppf(1 - LEVEL / 2, len(values) - 1)
    half = float(quantile * values.std(ddof=1) / math.sqrt(len(values)))
    return Interval(mean, (mean - half, mean + half))


def total_interval(differences: np.ndarray) -> Interval:
    """Compute the 95 % interval of the mean difference over seeds and test samples.

    The half width is ``sqrt((t s)^2 / S + z^2 N v)``: it combines the t interval over seeds with
    the variance v over samples of the mean difference. The two terms overlap, so the interval is
    conservative.

    Args:
        differences: Difference of each seed and sample, ``[S, N]``.

    Returns:
        The interval of the mean over seeds of the sum over samples. It has no bounds with fewer
        than two seeds or samples.
    """
    samples = differences.shape[1]
    over_seeds = paired_interval(differences.sum(1))
    if over_seeds.ci95 is None or samples < 2:
        return Interval(over_seeds.mean, None)
    variance = samples * float(differences.mean(0).var(ddof=1))
    seed_half = over_seeds.ci95[1] - over_seeds.mean
    sample_half = stats.norm.ppf(1 - LEVEL / 2) * math.sqrt(variance)
    half = math.hypot(seed_half, sample_half)
    return Interval(over_seeds.mean, (over_seeds.mean - half, over_seeds.mean + half))


def mcnemar_exact(first_wrong: np.ndarray, second_wrong: np.ndarray) -> float:
    """Test with McNemar's exact two-sided test whether two models err equally often.

    Args:
        first_wrong: Whether the first model errs, bool ``[N]``.
        second_wrong: Whether the second model errs, bool ``[N]``.

    Returns:
        The p-value; 1 if the models never differ.

    References:
        McNemar, "Note on the sampling error of the difference between correlated proportions",
        1947.
    """
    only_first = int(np.sum(first_wrong & ~second_wrong))
    only_second = int(np.sum(second_wrong & ~first_wrong))
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second).pvalue)


def paired_t_test(differences: np.ndarray) -> float:
    """Test with a two-sided t-test whether paired differences have mean 0.

    Args:
        differences: Differences ``[N]``.

    Returns:
        The p-value; 1 if all differences are 0 or there is only one.
    """
    if len(differences) < 2 or not differences.any():
        return 1.0
    if differences.std() == 0:
        return 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def combine_p_values(p_values: Sequence[float]) -> float:
    """Combine p-values that may depend on each other in any way.

    The result is K/k times the k-th smallest of the K values, with k = ceil(K/2). The seeds of a
    study share their test samples, so their p-values may not be multiplied. This bound holds for
    any dependence.

    Args:
        p_values: One p-value per seed, ``[K]``.

    Raises:
        ValueError: If there are no p-values.

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
