"""The statistics of paired differences against scipy, direct sums and seeded simulation."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from limbeck.evaluation.statistics import (
    Interval,
    combine_p_values,
    mcnemar_exact,
    paired_interval,
    paired_t_test,
    total_interval,
)


def discordant(only_first, only_second, both=3, neither=5):
    """Two columns of outcomes with the given counts."""
    first = [True] * only_first + [False] * only_second + [True] * both + [False] * neither
    second = [False] * only_first + [True] * only_second + [True] * both + [False] * neither
    return np.array(first), np.array(second)


def binomial_sum(b, c):
    """Exact two-sided p-value for b against c of b + c fair coins, in integers."""
    tail = sum(math.comb(b + c, i) for i in range(min(b, c) + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2 ** (b + c))))


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_paired_interval_equals_scipy(seeds):
    rng = np.random.default_rng(seeds)
    arm, control = rng.normal(100, 8, seeds), rng.normal(110, 8, seeds)
    want = stats.ttest_rel(arm, control).confidence_interval(0.95)
    interval = paired_interval(arm - control)
    assert interval.mean == pytest.approx((arm - control).mean(), rel=1e-12)
    assert interval.ci95 == pytest.approx((want.low, want.high), rel=1e-10)


def test_paired_interval_of_few_or_equal_differences():
    assert paired_interval([3]) == Interval(3.0, None)
    assert paired_interval([-2, -2, -2]) == Interval(-2.0, (-2.0, -2.0))
    with pytest.raises(ValueError, match="at least one"):
        paired_interval([])


@pytest.mark.parametrize("b", range(0, 13, 3))
@pytest.mark.parametrize("c", [0, 1, 5, 12, 60])
def test_mcnemar_equals_the_binomial_sum(b, c):
    first, second = discordant(b, c)
    assert mcnemar_exact(first, second) == pytest.approx(binomial_sum(b, c), rel=1e-10)
    assert mcnemar_exact(second, first) == mcnemar_exact(first, second)


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [
        (
            121,
            59,
            4.434449e-06,
        ),  # the table [[101, 121], [59, 33]] of the statsmodels documentation
        (6, 0, 0.03125),
        (1, 9, 22 / 1024),
        (5, 5, 1.0),
    ],
)
def test_mcnemar_of_known_tables(b, c, p):
    assert mcnemar_exact(*discordant(b, c)) == pytest.approx(p, rel=1e-6)


def test_mcnemar_looks_at_discordant_samples_only():
    want = mcnemar_exact(*discordant(2, 9))
    assert mcnemar_exact(*discordant(2, 9, both=400, neither=4000)) == want
    assert mcnemar_exact(*discordant(0, 0)) == 1


def test_combining_one_p_value_is_that_value():
    for p in (0.0, 0.03, 0.5, 1.0):
        assert combine_p_values([p]) == p


@pytest.mark.parametrize(
    ("p_values", "want"),
    [
        ([0.01, 0.5], 0.02),
        ([0.9, 0.01, 0.02], 0.03),
        ([0.01, 0.02, 0.03, 0.9], 0.04),
        ([0.03, 0.9, 0.01, 0.02, 0.8], 0.05),
        ([0.7, 0.8, 0.9], 1.0),
    ],
)
def test_combined_by_hand(p_values, want):
    assert combine_p_values(p_values) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_combining_is_monotone_symmetric_and_at_most_one(count):
    rng = np.random.default_rng(count)
    for _ in range(50):
        p = rng.random(count)
        larger = p + (1 - p) * rng.random(count) * (rng.random(count) < 0.5)
        combined = combine_p_values(p)
        assert combined <= combine_p_values(larger) <= 1
        assert combined == combine_p_values(rng.permutation(p))


def dependent_p_values(kind, studies, seeds, rng):
    """Uniform p-values, one row per study."""
    if kind == "independent":
        return rng.random((studies, seeds))
    if kind == "the same":
        return np.repeat(rng.random((studies, 1)), seeds, axis=1)
    if kind == "correlated":
        shared = rng.normal(size=(studies, 1))
        return stats.norm.cdf((shared + rng.normal(size=(studies, seeds))) / math.sqrt(2))
    u = rng.random((studies, 1))  # opposed
    return np.where(np.arange(seeds) % 2, u, 1 - u)


@pytest.mark.parametrize("kind", ["independent", "the same", "correlated", "opposed"])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_combined_p_values_keep_their_level(kind, seeds):
    """Tolerance: 4 binomial standard errors."""
    studies = 4000
    rows = dependent_p_values(kind, studies, seeds, np.random.default_rng(seeds))
    rate = np.mean([combine_p_values(row) < 0.05 for row in rows])
    assert rate <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / studies)


def test_total_interval_holds_the_interval_over_seeds_and_adds_the_samples():
    rng = np.random.default_rng(5)
    differences = rng.integers(-1, 2, size=(4, 300))
    total = total_interval(differences)
    seeds = paired_interval(differences.sum(1))
    by_hand = math.sqrt(
        (seeds.ci95[1] - seeds.mean) ** 2
        + 1.959963984540054**2 * 300 * differences.mean(0).var(ddof=1)
    )
    assert total.mean == seeds.mean
    assert total.ci95 == pytest.approx((total.mean - by_hand, total.mean + by_hand), rel=1e-12)
    assert total.ci95[0] < seeds.ci95[0] < seeds.ci95[1] < total.ci95[1]
    assert total_interval(differences[:1]).ci95 is None


def test_paired_t_test_equals_scipy():
    differences = np.random.default_rng(2).normal(0.3, 1, 20)
    want = stats.ttest_1samp(differences, 0).pvalue
    assert paired_t_test(differences) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    ("differences", "p_value"), [([0.5], 1.0), ([0.0, 0.0], 1.0), ([0.5, 0.5], 0.0)]
)
def test_paired_t_test_where_nothing_varies(differences, p_value):
    assert paired_t_test(np.array(differences)) == p_value
