"""Power and what would be enough, against simulation and scaling laws."""

import math

import numpy as np
import pytest
from scipy import stats

from limbeck.evaluation.power import needed, power
from limbeck.evaluation.statistics import CrossedTest, Variances, crossed_test


def studies(count, seeds, samples, mean, of_seed, of_sample, of_rest):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield (
            mean
            + of_seed * rng.normal(size=(seeds, 1))
            + of_sample * rng.normal(size=(1, samples))
            + of_rest * rng.normal(size=(seeds, samples))
        )


@pytest.mark.parametrize(
    ("seeds", "mean", "spreads"),
    [(5, 0.25, (0.05, 0.5, 1.0)), (5, 0.3, (0.2, 0.5, 0.5)), (10, 0.15, (0.05, 0.5, 1.0))],
)
def test_power_is_the_share_of_studies_that_show_the_difference(seeds, mean, spreads):
    """The formula takes the variances as known; tolerance: 6 points."""
    samples, (of_seed, of_sample, of_rest) = 80, spreads
    residual = samples * of_rest**2 / seeds
    variances = Variances(
        seeds=samples**2 * of_seed**2 / seeds + residual,
        samples=samples * of_sample**2 + residual,
        residual=residual,
    )
    tests = [crossed_test(d) for d in studies(1500, seeds, samples, mean, *spreads)]
    share = np.mean([test.p_value < 0.05 for test in tests])
    want = power(mean * samples, variances, seeds=seeds, samples=samples)
    assert share == pytest.approx(want, abs=0.06)


def test_without_a_difference_the_power_is_the_level():
    variances = Variances(3.0, 2.0, 0.5)
    assert power(0.0, variances, seeds=5, samples=100) == pytest.approx(0.05, abs=1e-3)
    assert power(1.0, Variances(0.0, 0.0, 0.0), seeds=5, samples=100) == 1


def test_power_of_seeds_alone_is_that_of_the_t_test():
    variances = Variances(seeds=4.0, samples=1e-12, residual=0.0)
    quantile, shift = stats.t.ppf(0.975, 9), 5 / math.sqrt(4)
    want = stats.nct.sf(quantile, 9, shift) + stats.nct.cdf(-quantile, 9, shift)
    assert power(5.0, variances, seeds=10, samples=1000) == pytest.approx(want, abs=2e-3)


@pytest.mark.parametrize("effect", [1e-9, 1.0, 1e3, 1e9])
@pytest.mark.parametrize("of_seeds", [0.0, 1e-9, 1.0, 1e6])
@pytest.mark.parametrize("seeds", [2, 5, 100])
def test_power_is_a_probability_for_any_size_of_the_difference(effect, of_seeds, seeds):
    value = power(effect, Variances(of_seeds, 1.0, 0.0), seeds=seeds, samples=3)
    assert 0.04 < value <= 1 + 1e-12


def test_variances_of_more_seeds_and_samples():
    variances = Variances(seeds=5.0, samples=4.0, residual=2.0)
    assert variances.scaled() == variances
    assert variances.scaled(seeds=2) == Variances(seeds=2.5, samples=3.0, residual=1.0)
    assert variances.scaled(samples=3) == Variances(seeds=33.0, samples=12.0, residual=6.0)


def test_what_is_needed_has_enough_power_and_one_less_has_not():
    test = CrossedTest.from_variances(10.0, Variances(40.0, 20.0, 15.0), seeds=5, samples=1000)
    result = needed(test, seeds=5, samples=1000)
    assert result.power == power(10.0, test.variances, seeds=5, samples=1000) < 0.8
    for number, is_enough in ((result.seeds, True), (result.seeds - 1, False)):
        variances = test.variances.scaled(seeds=number / 5)
        assert (power(10.0, variances, seeds=number, samples=1000) >= 0.8) == is_enough
    scaled = test.variances.scaled(samples=result.samples_factor or math.nan)
    if result.samples_factor is not None:
        number = round(1000 * result.samples_factor)
        effect = 10.0 * result.samples_factor
        assert power(effect, scaled, seeds=5, samples=number) >= 0.8


@pytest.mark.parametrize(
    ("variances", "seeds", "has_factor"),
    [
        (Variances(1.0, 400.0, 0.0), None, True),  # only more samples help
        (Variances(400.0, 1.0, 0.0), 30, False),  # only more seeds help
    ],
)
def test_what_dominates_decides_what_helps(variances, seeds, has_factor):
    test = CrossedTest.from_variances(20.0, variances, seeds=5, samples=1000)
    result = needed(test, seeds=5, samples=1000)
    if seeds is None:
        assert result.seeds is None
    else:
        assert result.seeds == pytest.approx(seeds, abs=15)
    assert (result.samples_factor is not None) == has_factor


def test_without_a_difference_or_a_test_nothing_is_needed():
    assert needed(crossed_test(np.ones((1, 9))), seeds=1, samples=9) is None
    assert needed(crossed_test(np.zeros((3, 9))), seeds=3, samples=9) is None
