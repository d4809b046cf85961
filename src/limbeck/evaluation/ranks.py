"""Comparison of arms across data sets by their mean ranks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from limbeck.evaluation.statistics import LEVEL


@dataclass(frozen=True)
class RankTest:
    """Test of mean ranks over data sets.

    Attributes:
        ranks: Rank of each arm on each data set, ``[D, A]``; 1 is the best, ties share their mean.
        mean_ranks: Mean rank of each arm, ``[A]``.
        p_value: The p-value of the hypothesis that all arms are equal.
        critical_difference: Difference of two mean ranks from which it is shown, if the test of
            all arms is significant.
    """

    ranks: np.ndarray
    mean_ranks: np.ndarray
    p_value: float
    critical_difference: float

    @property
    def least_difference(self) -> float:
        """Difference of two mean ranks from which it is shown; infinite if none is shown.

        Pairs are compared only if the test of all arms is significant.
        """
        return self.critical_difference if self.p_value < LEVEL else math.inf


def rank_test(values: np.ndarray) -> RankTest:
    """Test whether arms differ across data sets.

    The p-value is that of Friedman's test, or of the sign test for two arms. The critical
    difference is that of Nemenyi's test, which corrects for the comparison of all pairs. Both
    regard the data sets as random; the results on each are taken as they are.

    Args:
        values: Result of each arm on each data set, ``[D, A]``; lower is better.

    References:
        Demsar, "Statistical comparisons of classifiers over multiple data sets", 2006.
    """
    datasets, arms = values.shape
    ranks = stats.rankdata(values, axis=1)
    return RankTest(
        ranks=ranks,
        mean_ranks=ranks.mean(0),
        p_value=_p_value(values),
        critical_difference=critical_difference(arms, datasets),
    )


def critical_difference(arms: int, datasets: int) -> float:
    """Compute Nemenyi's critical difference of mean ranks at the level of 5 %."""
    quantile = float(stats.studentized_range.ppf(1 - LEVEL, arms, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(arms * (arms + 1) / (6 * datasets))


def _p_value(values: np.ndarray) -> float:
    if values.shape[1] == 2:
        better = int((values[:, 0] < values[:, 1]).sum())
        worse = int((values[:, 0] > values[:, 1]).sum())
        return float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0
    if (values == values[:, :1]).all():
        return 1.0
    return float(stats.friedmanchisquare(*values.T).pvalue)


def groups_without_difference(mean_ranks: Sequence[float], difference: float) -> list[list[int]]:
    """Return the largest groups of arms whose mean ranks are closer than a critical difference.

    Args:
        mean_ranks: Mean rank of each arm.
        difference: Critical difference.

    Returns:
        The numbers of the arms of each group of at least two, from the best to the worst.
    """
    order = sorted(range(len(mean_ranks)), key=lambda arm: mean_ranks[arm])
    groups: list[list[int]] = []
    for start, first in enumerate(order):
        close = [arm for arm in order[start:] if mean_ranks[arm] - mean_ranks[first] < difference]
        is_new = not groups or not set(close) <= set(groups[-1])
        if len(close) > 1 and is_new:
            groups.append(close)
    return groups
