"""The statistics of the verdict against scipy, direct sums and seeded simulation."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from limbeck.evaluation.comparison import (
    Interval,
    combine_p_values,
    compare,
    gap_closed,
    mcnemar_exact,
    paired_interval,
    total_interval,
    verdict,
)


def wrong(count, of):
    return np.arange(of) < count


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
    found = paired_interval(arm - control)
    assert found.mean == pytest.approx((arm - control).mean(), rel=1e-12)
    assert found.ci95 == pytest.approx((want.low, want.high), rel=1e-10)


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
    for _ in range(200):
        p = rng.random(count)
        larger = p + (1 - p) * rng.random(count) * (rng.random(count) < 0.5)
        found = combine_p_values(p)
        assert found <= combine_p_values(larger) <= 1
        assert found == combine_p_values(rng.permutation(p))


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


@pytest.mark.parametrize(
    ("ci95", "p", "want"),
    [
        ((-9.0, -1.0), 0.01, "helps"),
        ((1.0, 9.0), 0.01, "hurts"),
        ((-9.0, 1.0), 0.01, "not shown"),
        ((-9.0, 0.0), 0.01, "not shown"),
        ((0.0, 9.0), 0.01, "not shown"),
        ((0.0, 0.0), 0.01, "not shown"),
        ((-9.0, -1.0), 0.05, "not shown"),
        ((1.0, 9.0), 0.5, "not shown"),
        ((-9.0, -1.0), 0.0499, "helps"),
        ((math.nan, math.nan), 0.01, "not shown"),
        (None, 0.0001, "not shown"),
    ],
)
def test_verdict(ci95, p, want):
    assert verdict(Interval(0.0 if ci95 is None else sum(ci95) / 2, ci95), p) == want


def test_gap_closed():
    assert gap_closed(80, 100, 60) == 0.5
    assert gap_closed(60, 100, 60) == 1
    assert gap_closed(120, 100, 60) == -0.5
    assert gap_closed(50, 100, 60) == 1.25


@pytest.mark.parametrize("teacher", [None, 100, 101])
def test_no_gap_where_the_teacher_is_not_better(teacher):
    assert gap_closed(80, 100, teacher) is None


def test_compare_of_a_known_case():
    """Of 100 samples the control gets 40, 42, 44 wrong and the arm the first 20, 21, 24 of those."""
    control = np.stack([wrong(40, 100), wrong(42, 100), wrong(44, 100)])
    arm = np.stack([wrong(20, 100), wrong(21, 100), wrong(24, 100)])
    found = compare(
        arm,
        control,
        arm_nll=[0.5, 0.6, 0.7],
        control_nll=[0.9, 1.0, 1.1],
        teacher_errors=12,
        teacher_nll=0.2,
    )
    assert found["delta_errors"]["per_seed"] == [-20, -21, -20]
    assert found["delta_errors"]["mean"] == pytest.approx(-61 / 3)
    half = 4.302652729911275 * math.sqrt(1 / 3) / math.sqrt(3)
    assert found["delta_errors"]["ci95"] == pytest.approx(
        [-61 / 3 - half, -61 / 3 + half], rel=1e-9
    )
    assert found["mcnemar_p"] == pytest.approx(1.5 * 2 * 0.5**20, rel=1e-9)
    assert found["gap_closed"]["errors"] == pytest.approx((42 - 65 / 3) / 30)
    assert found["gap_closed"]["nll"] == pytest.approx(0.5)
    assert found["verdict"] == "helps"
    assert json.loads(json.dumps(found)) == found


def test_compare_is_antisymmetric():
    control = np.stack([wrong(40, 100), wrong(42, 100), wrong(44, 100)])
    arm = np.stack([wrong(20, 100), wrong(21, 100), wrong(24, 100)])
    nll = {"arm_nll": [1.0] * 3, "control_nll": [1.0] * 3}
    helps, hurts = compare(arm, control, **nll), compare(control, arm, **nll)
    assert (helps["verdict"], hurts["verdict"]) == ("helps", "hurts")
    assert helps["mcnemar_p"] == hurts["mcnemar_p"]
    assert hurts["delta_errors"]["mean"] == -helps["delta_errors"]["mean"]
    assert helps["gap_closed"] == {"errors": None, "nll": None, "nll_ci95": None}


@pytest.mark.parametrize(
    ("arm_counts", "control_counts"),
    [
        ([20], [40]),  # one seed: no interval
        ([40, 41, 39], [40, 41, 39]),  # the same
        ([38, 39, 37], [40, 41, 39]),  # 2 fewer every time: too few samples to tell
        ([10, 60, 20], [40, 40, 40]),  # seeds disagree
    ],
)
def test_compare_that_shows_nothing(arm_counts, control_counts):
    arm, control = (
        np.stack([wrong(n, 100) for n in counts]) for counts in (arm_counts, control_counts)
    )
    ones = [1.0] * len(arm_counts)
    assert compare(arm, control, arm_nll=ones, control_nll=ones)["verdict"] == "not shown"


def test_compare_refuses_other_seeds():
    with pytest.raises(ValueError):
        compare(
            np.ones((3, 9), bool), np.ones((2, 9), bool), arm_nll=[1.0] * 3, control_nll=[1.0] * 2
        )
    with pytest.raises(ValueError):
        compare(np.ones((0, 9), bool), np.ones((0, 9), bool), arm_nll=[], control_nll=[])


def null_study(kind, rng, seeds=3, samples=400):
    """Errors of an arm and a control that err equally often over all seeds and samples."""
    shape = (seeds, samples)
    if kind == "samples":  # easy and hard samples, independent answers
        difficulty = rng.beta(0.3, 1.2, samples)
        return rng.random(shape) < difficulty, rng.random(shape) < difficulty
    if kind == "fixed answers":  # arm and control differ, in the same way in every seed
        arm, control = rng.random((2, 1, samples)) < 0.2
        return np.repeat(arm, seeds, 0), np.repeat(control, seeds, 0)
    rates = np.clip(
        rng.normal(0.25, 0.06, (2, seeds, 1)), 0.02, 0.9
    )  # every seed has its own true rate
    return rng.random(shape) < rates[0], rng.random(shape) < rates[1]


@pytest.mark.parametrize("kind", ["samples", "fixed answers", "seeds"])
def test_false_alarms_of_the_verdict(kind):
    """At most 5 % of studies without an effect get a verdict; tolerance: 3 binomial standard
    errors.
    """
    studies, rng = 500, np.random.default_rng(0)
    ones = [1.0] * 3
    found = [
        compare(*null_study(kind, rng), arm_nll=ones, control_nll=ones)["verdict"]
        for _ in range(studies)
    ]
    rate = np.mean([v != "not shown" for v in found])
    assert rate <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


def test_a_clear_effect_is_found():
    rng, ones, found = np.random.default_rng(0), [1.0] * 5, []
    for _ in range(50):
        arm, control = rng.random((5, 1000)) < 0.10, rng.random((5, 1000)) < 0.20
        found.append(compare(arm, control, arm_nll=ones, control_nll=ones)["verdict"])
    assert found.count("helps") >= 48


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
