"""Power of a comparison: how likely a real difference is shown, and what would show it."""

import math

import numpy as np
from scipy import stats

from limbeck.evaluation.statistics import LEVEL, CrossedTest, Variances, degrees_of_freedom
from limbeck.run.comparison import Needed

POWER = 0.8
"""Probability of a verdict that is regarded as enough."""
MAX_SEEDS = 100
MAX_DF = 1e6
"""Degrees of freedom from which t is normal."""
_PROBABILITIES = (np.arange(500) + 0.5) / 500
MAX_FACTOR = 1000
"""Largest factor by which more test samples are considered."""


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
    return _probability_above(quantile, shift, df) + _probability_above(quantile, -shift, df)


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
    return _probability_above(quantile, margin / math.sqrt(variances.total), df)


def _probability_above(quantile: float, shift: float, df: float) -> float:
    """The probability that noncentral t is above a quantile.

    It is a mean over the chi-squared distribution: SciPy's own is NaN for some large shifts.
    """
    ratios = np.sqrt(stats.chi2.ppf(_PROBABILITIES, df) / df) if df < MAX_DF else np.ones(1)
    return float(stats.norm.sf(quantile * ratios - shift).mean())


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
    for number in range(2, MAX_SEEDS + 1):
        variances = test.variances.scaled(seeds=number / seeds)
        if power(test.mean, variances, seeds=number, samples=samples) >= POWER:
            return number
    return None


def _needed_factor(test: CrossedTest, seeds: int, samples: int) -> float | None:
    """Smallest factor of samples with enough power, about; None if there is none."""
    assert test.variances is not None
    factor = 1.0
    while factor <= MAX_FACTOR:
        variances = test.variances.scaled(samples=factor)
        number = round(samples * factor)
        if power(test.mean * factor, variances, seeds=seeds, samples=number) >= POWER:
            return factor
        factor *= 1.1
    return None
