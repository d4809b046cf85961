"""The statistics of paired differences against scipy, direct sums and seeded simulation."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from limbeck.evaluation.statistics import (
    CrossedTest,
    Interval,
    Variances,
    crossed_test,
    mcnemar_exact,
    paired_interval,
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


def layout(rng, seeds, samples, of_seed=1.0, of_sample=1.0, of_rest=1.0, mean=0.0):
    """Differences with a normal effect of the seed, of the sample, and a residual."""
    return (
        mean
        + of_seed * rng.normal(size=(seeds, 1))
        + of_sample * rng.normal(size=(1, samples))
        + of_rest * rng.normal(size=(seeds, samples))
    )


def by_direct_sums(differences):
    """The parts of the variance, as sums over the whole matrix."""
    d = differences.astype(float)
    seeds, samples = d.shape
    sums, means = d.sum(1), d.mean(0)
    squares = (
        (d**2).sum()
        - seeds * (means**2).sum()
        - (sums**2).sum() / samples
        + d.sum() ** 2 / (seeds * samples)
    )
    a = sums.var(ddof=1) / seeds
    b = samples * means.var(ddof=1)
    e = samples / (samples - 1) * squares / (seeds * (seeds - 1))
    return a, b, e


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("of_seed", [0.0, 0.05, 1.0])
def test_crossed_test_by_direct_sums(seeds, of_seed):
    rng = np.random.default_rng(seeds)
    for _ in range(20):
        differences = layout(rng, seeds, 40, of_seed, 0.5, 1.0, mean=0.3)
        a, b, e = by_direct_sums(differences)
        variance = max(a, e) + max(b - e, 0)
        bound = max(a * (seeds - 1) / stats.chi2.ppf(min(seeds / 10, 0.5), seeds - 1), e)
        df = (bound + max(b - e, 0)) ** 2 / (bound**2 / (seeds - 1) + b**2 / 39)
        test = crossed_test(differences)
        mean = differences.sum(1).mean()
        half = stats.t.ppf(0.975, df) * math.sqrt(variance)
        assert test.mean == pytest.approx(mean, rel=1e-12)
        assert test.standard_error**2 == pytest.approx(variance, rel=1e-9)
        assert test.df == pytest.approx(df, rel=1e-9)
        assert test.ci95 == pytest.approx((mean - half, mean + half), rel=1e-9)
        assert (test.p_value < 0.05) == (not test.ci95[0] <= 0 <= test.ci95[1])


def test_mean_and_standard_error_are_those_of_statsmodels():
    """REML estimates of crossed random effects (MixedLM of statsmodels 0.15, three optimizers)."""
    seeds, samples = 5, 60
    s, i = np.arange(seeds)[:, None], np.arange(samples)[None]
    noise = 0.8 * np.sin(5 * s * i + s + 2 * i)
    test = crossed_test(0.3 + 0.5 * np.sin(7 * s + 1) + np.cos(3 * i) + noise)
    of_seeds = (test.variances.seeds - test.variances.residual) * seeds / samples**2
    of_samples = (test.variances.samples - test.variances.residual) / samples
    residual = test.variances.residual * seeds / samples
    assert (of_seeds, of_samples, residual) == pytest.approx(
        (0.113142, 0.453613, 0.357363), rel=2e-4
    )
    assert test.mean / samples == pytest.approx(0.5033603575, rel=1e-9)
    assert test.standard_error / samples == pytest.approx(0.177143, rel=1e-4)


def test_the_variances_are_those_of_a_mixed_model():
    """Parts of the variance in expectation; tolerance: 4 standard errors of the simulation."""
    rng, seeds, samples = np.random.default_rng(0), 4, 30
    parts = np.array(
        [by_direct_sums(layout(rng, seeds, samples, 0.5, 2.0, 1.5)) for _ in range(4000)]
    )
    residual = samples * 1.5**2 / seeds
    want = [samples**2 * 0.5**2 / seeds + residual, samples * 2.0**2 + residual, residual]
    errors = parts.std(0) / math.sqrt(len(parts))
    assert np.all(np.abs(parts.mean(0) - want) < 4 * errors)
    means = [layout(rng, seeds, samples, 0.5, 2.0, 1.5).sum(1).mean() for _ in range(4000)]
    assert np.var(means) == pytest.approx(want[0] + want[1] - want[2], rel=0.1)


@pytest.mark.parametrize(
    "seeds",
    [2, 5, pytest.param(3, marks=pytest.mark.slow), pytest.param(10, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    ("of_seed", "of_sample"),
    [
        (0.1, 0.3),
        (1.0, 0.3),
        pytest.param(0.0, 1.0, marks=pytest.mark.slow),
        pytest.param(0.3, 1.0, marks=pytest.mark.slow),
    ],
)
def test_crossed_test_keeps_its_level(seeds, of_seed, of_sample):
    """At most 6 % of false alarms; tolerance: 3 binomial standard errors."""
    studies, rng = 1500, np.random.default_rng(7)
    alarms = [
        crossed_test(layout(rng, seeds, 50, of_seed, of_sample)).p_value < 0.05
        for _ in range(studies)
    ]
    assert np.mean(alarms) <= 0.06 + 3 * math.sqrt(0.06 * 0.94 / studies)


@pytest.mark.parametrize("samples", [20, 400])
def test_with_many_seeds_and_no_residual_it_is_a_t_test_over_samples(samples):
    row = np.random.default_rng(1).normal(0.2, 1, samples)
    want = stats.ttest_1samp(row, 0)
    test = crossed_test(np.repeat(row[None], 6, 0))
    assert test.p_value == pytest.approx(want.pvalue, rel=1e-9)
    assert test.ci95 == pytest.approx(np.array(want.confidence_interval(0.95)) * samples, rel=1e-9)


def test_if_only_seeds_vary_it_is_a_t_test_over_seeds():
    changes = np.array([-3.0, -5.0, -2.0, -6.0])
    test = crossed_test(np.repeat(changes[:, None] / 10, 10, 1))
    assert test.p_value == pytest.approx(stats.ttest_1samp(changes, 0).pvalue, rel=1e-9)
    assert test.ci95 == pytest.approx(paired_interval(changes).ci95, rel=1e-9)


def test_crossed_test_of_few_or_equal_differences():
    ones = np.ones((3, 4), dtype=int)
    nothing_varies = Variances(0.0, 0.0, 0.0)
    want = CrossedTest(4.0, (4.0, 4.0), 0.0, 0.0, math.inf, nothing_varies)
    assert crossed_test(ones) == want
    want = CrossedTest(0.0, (0.0, 0.0), 1.0, 0.0, math.inf, nothing_varies)
    assert crossed_test(0 * ones) == want
    assert crossed_test(ones[:1]) == CrossedTest(4.0)
    assert crossed_test(ones[:, :1]) == CrossedTest(1.0)
    with np.errstate(invalid="ignore"):
        infinite = crossed_test(np.array([[1.0, np.inf], [2.0, 3.0]]))
    assert infinite.p_value is infinite.ci95 is None
    with pytest.raises(ValueError, match="at least one seed"):
        crossed_test(ones[:0])


def test_crossed_test_does_not_depend_on_the_order_or_on_equal_samples():
    rng = np.random.default_rng(3)
    differences = rng.integers(-1, 2, size=(4, 200))
    test = crossed_test(differences)
    shuffled = crossed_test(rng.permutation(rng.permutation(differences), axis=1))
    assert shuffled.p_value == pytest.approx(test.p_value, rel=1e-9)
    opposite = crossed_test(-differences)
    assert opposite.p_value == pytest.approx(test.p_value, rel=1e-12)
    assert opposite.ci95 == pytest.approx((-test.ci95[1], -test.ci95[0]), rel=1e-12)
