"""Power of a comparison: how likely a real difference is shown, and what would show it."""

import bisect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from scipy import special, stats

from limbeck.evaluation.statistics import LEVEL, CrossedTest, Variances, degrees_of_freedom
from limbeck.run.comparison import Needed

POWER = 0.8
"""Probability of a verdict that is regarded as enough."""
SEEDS_TO_TRY = range(2, 101)
MAX_DF = 1e6
"""Degrees of freedom from which t is normal."""
_PROBABILITIES = (np.arange(500) + 0.5) / 500
MAX_FACTOR = 1000
"""Largest factor by which more test samples are considered."""
_FACTORS = [1.1**step for step in range(int(math.log(MAX_FACTOR, 1.1)) + 1)]

T = TypeVar("T", int, float)


def power(effect: float, variances: Variances, *, seeds: int, samples: int) -> float:
    """Compute the probability that a difference is shown.

    Args:
        effect: Real mean difference.
        variances: Real variances of the mean difference.
        seeds: Number of seeds, at least 2.
        samples: Number of samples, at least 2.
    """
    if variances.total == 0:
        return float(effect != 0)
    df = degrees_of_freedom(variances, seeds, samples)
    quantile = float(stats.t.ppf(1 - LEVEL / 2, df))
    shift = abs(effect) / math.sqrt(variances.total)
    return _probability_above(quantile, (shift, -shift), df)


def power_within(margin: float, variances: Variances, *, seeds: int, samples: int) -> float:
    """Compute the probability that an arm that is as good is shown to be not worse by a margin.

    Args:
        margin: Margin in the measure of the study.
        variances: Real variances of the mean difference.
        seeds: Number of seeds, at least 2.
        samples: Number of samples, at least 2.
    """
    if variances.total == 0:
        return 1.0
    df = degrees_of_freedom(variances, seeds, samples)
    quantile = float(stats.t.ppf(1 - LEVEL / 2, df))
    return _probability_above(quantile, (margin / math.sqrt(variances.total),), df)


def _probability_above(quantile: float, shifts: Iterable[float], df: float) -> float:
    """The probability that noncentral t is above a quantile, summed over shifts.

    It is a mean over the chi-squared distribution: SciPy's own is NaN for some large shifts.
    """
    ratios = np.ones(1)
    if df < MAX_DF:
        ratios = np.sqrt(2 * special.gammaincinv(df / 2, _PROBABILITIES) / df)
    return sum(float(special.ndtr(shift - quantile * ratios).mean()) for shift in shifts)


def needed(test: CrossedTest, *, seeds: int, samples: int) -> Needed | None:
    """Estimate what would show a difference as large as the one seen, with a power of 80 %.

    The estimate takes the difference and the variances seen for the real ones. So it is rough, and
    too low if chance has made the difference look large.

    Args:
        test: Test of the comparison.
        seeds: Its number of seeds.
        samples: Its number of samples.

    Returns:
        The seeds needed with the same samples, and the factor of samples needed with the same
        seeds; None without a difference or a test.
    """
    if test.variances is None or test.mean == 0:
        return None
    return Needed(
        power=power(test.mean, test.variances, seeds=seeds, samples=samples),
        seeds=_needed_seeds(test, seeds, samples),
        samples_factor=_needed_factor(test, seeds, samples),
    )


def _needed_seeds(test: CrossedTest, seeds: int, samples: int) -> int | None:
    """Smallest number of seeds with enough power; None if more than 100 are needed."""
    assert test.variances is not None
    variances = test.variances

    def power_of(number: int) -> float:
        scaled = variances.scaled(seeds=number / seeds)
        return power(test.mean, scaled, seeds=number, samples=samples)

    return smallest_with_power(SEEDS_TO_TRY, power_of)


def _needed_factor(test: CrossedTest, seeds: int, samples: int) -> float | None:
    """Smallest factor of samples with enough power, about; None if there is none."""
    assert test.variances is not None
    variances = test.variances

    def power_of(factor: float) -> float:
        scaled, number = variances.scaled(samples=factor), round(samples * factor)
        return power(test.mean * factor, scaled, seeds=seeds, samples=number)

    return smallest_with_power(_FACTORS, power_of)


def smallest_with_power(sizes: Sequence[T], power_of: Callable[[T], float]) -> T | None:
    """Find the smallest size of a study with a power of 80 %; None if none is enough.

    Args:
        sizes: Sizes in ascending order, which the power grows with.
        power_of: Function that computes the power of a size.
    """
    place = bisect.bisect_left(sizes, True, key=lambda size: power_of(size) >= POWER)
    return sizes[place] if place < len(sizes) else None
