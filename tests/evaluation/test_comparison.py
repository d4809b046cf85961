"""Comparisons of classifiers, by hand and in seeded simulations."""

import math

import numpy as np
import pytest

from limbeck.evaluation.comparison import ArmErrors, compare_classifiers, gap_closed
from limbeck.evaluation.statistics import crossed_test
from limbeck.run.comparison import GapClosed
from limbeck.run.metrics import Metrics

TEACHER = Metrics(errors=12, accuracy=0.88, nll=0.2, ece=0.1, agreement=None, kl_to_teacher=None)


def wrong(*counts, of=100):
    """Whether the first samples are wrong, as many as counted in each seed, ``[S, N]``."""
    return np.stack([np.arange(of) < count for count in counts])


def compared(arm_wrong, control_wrong, arm_nll=None, control_nll=None, teacher=None):
    arm = ArmErrors("arm", arm_wrong, arm_nll or [1.0] * len(arm_wrong))
    control = ArmErrors("control", control_wrong, control_nll or [1.0] * len(control_wrong))
    return compare_classifiers(arm, control, teacher)


def test_gap_closed():
    assert gap_closed(80, 100, 60) == 0.5
    assert gap_closed(60, 100, 60) == 1
    assert gap_closed(120, 100, 60) == -0.5
    assert gap_closed(50, 100, 60) == 1.25


@pytest.mark.parametrize("teacher", [None, 100, 101])
def test_no_gap_where_the_teacher_is_not_better(teacher):
    assert gap_closed(80, 100, teacher) is None


def test_a_comparison_of_a_known_case():
    """Of 100 samples the control errs on 40, 42, 44, the arm on the first 20, 21, 24 of those."""
    comparison = compared(
        wrong(20, 21, 24), wrong(40, 42, 44), [0.5, 0.6, 0.7], [0.9, 1.0, 1.1], TEACHER
    )
    delta = comparison.delta_errors
    assert delta.per_seed == (-20, -21, -20)
    assert delta.mean == pytest.approx(-61 / 3)
    half = 4.302652729911275 * math.sqrt(1 / 3) / math.sqrt(3)
    assert delta.ci95 == pytest.approx((-61 / 3 - half, -61 / 3 + half), rel=1e-9)
    assert comparison.mcnemar_by_seed == pytest.approx(
        (2 * 0.5**20, 2 * 0.5**21, 2 * 0.5**20), rel=1e-9
    )
    test = crossed_test(wrong(20, 21, 24).astype(int) - wrong(40, 42, 44))
    assert (delta.ci95_total, comparison.p_value) == (test.ci95, test.p_value)
    assert comparison.gap_closed.errors == pytest.approx((42 - 65 / 3) / 30)
    assert comparison.gap_closed.nll == pytest.approx(0.5)
    assert comparison.verdict == "helps"
    assert (comparison.arm, comparison.control) == ("arm", "control")


def test_a_comparison_is_antisymmetric():
    arm, control = wrong(20, 21, 24), wrong(40, 42, 44)
    helps, hurts = compared(arm, control), compared(control, arm)
    assert (helps.verdict, hurts.verdict) == ("helps", "hurts")
    assert helps.mcnemar_by_seed == hurts.mcnemar_by_seed
    assert helps.p_value == pytest.approx(hurts.p_value, rel=1e-9)
    assert hurts.delta_errors.mean == -helps.delta_errors.mean
    assert helps.gap_closed == GapClosed(errors=None, nll=None, nll_ci95=None)


@pytest.mark.parametrize(
    ("arm_counts", "control_counts"),
    [
        ([20], [40]),  # one seed: no interval
        ([40, 41, 39], [40, 41, 39]),  # the same
        ([38, 39, 37], [40, 41, 39]),  # 2 fewer every time: too few samples to tell
        ([10, 60, 20], [40, 40, 40]),  # seeds disagree
    ],
)
def test_a_comparison_that_shows_nothing(arm_counts, control_counts):
    assert compared(wrong(*arm_counts), wrong(*control_counts)).verdict == "not shown"


def test_arms_of_other_seeds_are_refused():
    with pytest.raises(ValueError):
        compared(np.ones((3, 9), bool), np.ones((2, 9), bool))
    with pytest.raises(ValueError):
        compared(np.ones((0, 9), bool), np.ones((0, 9), bool))


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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["samples", "fixed answers", "seeds"])
def test_false_alarms_of_the_verdict(kind):
    """At most 5 % of studies without an effect get a verdict; tolerance: 3 binomial standard
    errors.
    """
    studies, rng = 300, np.random.default_rng(0)
    verdicts = [compared(*null_study(kind, rng)).verdict for _ in range(studies)]
    rate = np.mean([verdict != "not shown" for verdict in verdicts])
    assert rate <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


def test_a_clear_effect_is_found():
    rng, verdicts = np.random.default_rng(0), []
    for _ in range(50):
        arm, control = rng.random((5, 1000)) < 0.10, rng.random((5, 1000)) < 0.20
        verdicts.append(compared(arm, control).verdict)
    assert verdicts.count("helps") >= 48
