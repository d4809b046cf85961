"""Margins: reading them, and the tests within them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from support.summaries import make_arm, make_comparison, make_metrics

from limbeck._base.errors import ConfigError
from limbeck.evaluation.margin import (
    MIN_ERRORS,
    ONE_SIDED_LEVEL,
    Margin,
    compare_with_margin,
    correct_margin_tests,
    decide_within_margin,
    find_replacements,
    margin_verdict,
)
from limbeck.evaluation.measure import BITS_PER_BYTE, ERRORS
from limbeck.evaluation.statistics import CrossedTest, crossed_test
from limbeck.run.comparison import MarginTest
from limbeck.run.summary import TeacherResult


def difference(mean, error=0.5):
    """A test with this standard error and a normal t."""
    return CrossedTest(mean, (mean - 2 * error, mean + 2 * error), 0.5, error, 1e6)


# Reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "amount", "kind"),
    [
        (20, 20.0, "measure"),
        (0.01, 0.01, "measure"),
        ("1e-3", 0.001, "measure"),
        ("0.5%", 0.005, "samples"),
        (" 0.5 % ", 0.005, "samples"),
        ("10%gap", 0.1, "gap"),
        ("10 % gap", 0.1, "gap"),
        ("0.25gap", 0.25, "gap"),
    ],
)
def test_forms_of_a_margin(text, amount, kind):
    assert Margin.parse(text) == Margin(pytest.approx(amount), kind)


@pytest.mark.parametrize(
    "value", [0, -1, "-5", "", "1.2.3", "5 points", "%", "gap", "nan", True, [1], "1e999", "5%%"]
)
def test_other_margins_are_refused_with_the_forms(value):
    with pytest.raises(ConfigError, match=r"is not a difference above 0.*margin=0\.5%.*10%gap"):
        Margin.parse(value)


@pytest.mark.parametrize("value", ["100%", "150%gap", "1gap"])
def test_a_share_is_less_than_the_whole(value):
    with pytest.raises(ConfigError, match="is the whole"):
        Margin.parse(value)


def test_size_in_the_measure():
    assert Margin.parse(20).size(samples=500, gap=None) == 20
    assert Margin.parse("0.5%").size(samples=500, gap=None) == 2.5
    assert Margin.parse("10%gap").size(samples=500, gap=30.0) == pytest.approx(3.0)
    for gap in (None, 0.0, -2.0):
        assert Margin.parse("10%gap").size(samples=500, gap=gap) is None


def test_a_margin_that_does_not_fit_the_study_is_refused():
    Margin.parse(499).check(ERRORS, samples=500, has_teacher=False)
    Margin.parse(0.01).check(BITS_PER_BYTE, samples=1, has_teacher=False)
    Margin.parse("0.1%").check(ERRORS, samples=4000, has_teacher=False)
    Margin.parse(1).check(ERRORS, samples=500, has_teacher=False, name="effect", min_errors=0)
    with pytest.raises(ConfigError, match="as large as the test split"):
        Margin.parse(500).check(ERRORS, samples=500, has_teacher=True)
    with pytest.raises(ConfigError, match="the study is judged by bits per byte"):
        Margin.parse("1%").check(BITS_PER_BYTE, samples=500, has_teacher=True)
    with pytest.raises(ConfigError, match=r"margin=20 is no difference: .* 8 bits per byte.*0\.01"):
        Margin.parse(20).check(BITS_PER_BYTE, samples=500, has_teacher=True)
    with pytest.raises(ConfigError, match="needs a teacher"):
        Margin.parse("1%gap").check(ERRORS, samples=500, has_teacher=False)


@pytest.mark.parametrize("value", ["0.5%", 0.005, 3])
def test_a_margin_of_few_errors_is_refused_because_no_study_can_show_it(value):
    """Such as a share without its per cent sign."""
    with pytest.raises(ConfigError, match=r"less than 3\.7 errors on 500 .*at least margin=4,"):
        Margin.parse(value).check(ERRORS, samples=500, has_teacher=True)


def test_students_that_agree_on_all_samples_seldom_differ_by_the_smallest_margin():
    unseen = (1 - MIN_ERRORS / 500) ** 500
    assert 0.02 < unseen < ONE_SIDED_LEVEL


# Tests --------------------------------------------------------------------------------------------


def test_p_values_equal_those_of_one_sided_t_tests():
    values = np.random.default_rng(0).normal(0.2, 1, 12)
    test = compare_with_margin(crossed_test(np.outer(values, np.ones(4)) / 4), 0.7)
    upper = stats.ttest_1samp(values, 0.7, alternative="less").pvalue
    lower = stats.ttest_1samp(values, -0.7, alternative="greater").pvalue
    assert test.p_not_worse == pytest.approx(upper)
    assert test.p_equivalent == pytest.approx(max(upper, lower))
    assert test.p_worse == pytest.approx(1 - upper)


@given(st.floats(-5, 5), st.floats(0.05, 3), st.floats(0.1, 5), st.floats(1.5, 1e4))
@settings(max_examples=60)
def test_verdicts_follow_from_the_interval(mean, error, margin, df):
    test = compare_with_margin(CrossedTest(mean, None, 0.5, error, df), margin)
    half = stats.t.ppf(0.975, df) * error
    assert (test.p_not_worse < 0.025) == (mean + half < margin)
    assert (test.p_equivalent < 0.025) == (mean - half > -margin and mean + half < margin)
    assert (test.p_worse < 0.025) == (mean - half > margin)


@pytest.mark.parametrize(
    ("mean", "verdict"),
    [(0.0, "equivalent"), (-9.0, "not worse"), (9.0, "worse"), (2.0, "not shown")],
)
@pytest.mark.parametrize("error", [0.0, 0.5])
def test_verdicts(mean, verdict, error):
    test = compare_with_margin(difference(mean, error), 2.0)
    if error == 0 and mean == 2.0:
        assert test.p_not_worse == test.p_worse == 1.0
    assert margin_verdict(test) == verdict


def test_one_seed_is_no_test():
    assert compare_with_margin(crossed_test(np.zeros((1, 9))), 1.0) is None


def test_holm_multiplies_the_p_values():
    tests = [MarginTest(p_equivalent=p, p_not_worse=p / 2, p_worse=1.0) for p in (0.03, 0.02)]
    first, second = correct_margin_tests(tests)
    assert (first.p_equivalent, second.p_equivalent) == pytest.approx((0.04, 0.04))
    assert (first.p_not_worse, second.p_not_worse) == pytest.approx((0.02, 0.02))
    assert correct_margin_tests([]) == []


# Studies ------------------------------------------------------------------------------------------


def test_open_verdicts_are_decided_within_the_margin():
    comparisons = [
        make_comparison("a", "hard", verdict="not shown", main=True),
        make_comparison("b", "hard", verdict="helps", main=False),
        make_comparison("c", "hard", verdict="not shown", main=False),
        make_comparison("d", "hard", verdict="hurts", main=False),
    ]
    means = {"a": 0.0, "b": -1.0, "c": -9.0, "d": 9.0}
    decided = decide_within_margin(comparisons, 2.5, lambda arm, _: difference(means[arm]))
    assert [entry.verdict for entry in decided] == ["equivalent", "helps", "not worse", "hurts"]
    assert all(entry.margin_test for entry in decided)


def test_the_headline_alone_keeps_its_p_value():
    comparisons = [
        make_comparison(name, "hard", verdict="not shown", main=name == "a") for name in "abcd"
    ]
    test = difference(0.9)  # p_not_worse = 0.014
    first, *others = decide_within_margin(comparisons, 2.0, lambda *_: test)
    assert first.verdict == "equivalent"
    assert {entry.verdict for entry in others} == {"not shown"}


def test_students_in_place_of_the_teacher_and_of_the_largest_student():
    arms = [
        make_arm("large", [10, 10], params=500, val=9),
        make_arm("large-hard", [12, 12], params=500, val=11),
        make_arm("small", [11, 11], params=50),
        make_arm("tiny", [40, 40], params=5),
        make_arm("shuffled", [9, 9], params=5, objective={"shuffled": True}),
    ]
    teacher = TeacherResult(name="net", params=9000, test=make_metrics(8))
    errors = {None: 8, **{arm.name: arm.mean.errors for arm in arms}}

    def test_of(arm, reference):
        return difference(float(errors[arm] - errors[reference]), 0.1)

    tests = find_replacements(arms, teacher, ERRORS, 2.5, test_of)
    assert [(entry.arm, entry.reference, entry.verdict) for entry in tests] == [
        ("tiny", None, "worse"),
        ("small", None, "worse"),
        ("large", None, "equivalent"),
        ("large-hard", None, "worse"),
        ("tiny", "large", "worse"),
        ("small", "large", "equivalent"),
    ]
    assert find_replacements(arms[:2], None, ERRORS, 2.5, test_of) == ()
