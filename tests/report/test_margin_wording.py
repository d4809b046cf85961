"""Sentences and table about differences within a margin."""

import pytest
from support.summaries import make_arm, make_comparison, make_control, make_summary

from limbeck.report import wording
from limbeck.report.margin_wording import replacement_rows
from limbeck.run.comparison import Delta, MarginTest, Replacement

EQUIVALENT = MarginTest(p_equivalent=0.001, p_not_worse=0.001, p_worse=1.0)
OPEN = MarginTest(p_equivalent=0.4, p_not_worse=0.3, p_worse=0.7)
DELTA = Delta(mean=-2.0, ci95=(-6.0, 2.0), ci95_total=(-7.0, 3.0), per_seed=(-1, -3, -2))


def study(verdict, test, replacements=(), margin=10.0):
    arms = [
        make_arm("soft", [20] * 3, params=50),
        make_arm("large", [9] * 3, params=500),
        make_control("hard", [22] * 3, params=50),
    ]
    fields = {"verdict": verdict, "margin_test": test, "delta_errors": DELTA, "p_value": 0.3}
    comparison = make_comparison("soft", "hard", main=True, **fields)
    return make_summary(arms, [comparison], margin=margin, replacements=tuple(replacements))


def replacement(arm, reference, verdict):
    return Replacement(
        arm=arm, reference=reference, delta=3.0, ci95=(-1.0, 7.0), margin_test=OPEN, verdict=verdict
    )


@pytest.mark.parametrize(
    ("verdict", "test", "start", "end"),
    [
        ("equivalent", EQUIVALENT, "Equivalent within the margin: soft makes 2.0 fewer", ""),
        ("not worse", EQUIVALENT, "Not worse within the margin:", " Whether it is better is open."),
    ],
)
def test_verdicts_within_the_margin(verdict, test, start, end):
    sentence = wording.headlines(study(verdict, test))[0]
    assert sentence.verdict == verdict
    assert sentence.text.startswith(start)
    assert sentence.text.endswith(
        "(95 % interval −7.0 to 3.0 over 3 seeds and the test samples; the margin is 10.0 "
        f"errors).{end}"
    )


def test_remarks_on_other_verdicts():
    helps = wording.headlines(study("helps", EQUIVALENT))[0].text
    assert helps.endswith("smaller than the margin of 10.0 errors (2.00 % of the test samples).")
    assert "margin" not in wording.headlines(study("helps", OPEN))[0].text
    assert "not worse by the margin of 10.0" in wording.headlines(study("not shown", OPEN))[0].text


def test_a_file_without_the_margin_can_be_shown():
    summary = study("equivalent", EQUIVALENT, [replacement("soft", None, "worse")], margin=None)
    assert len(wording.headlines(summary)) == 1


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        (("worse", "not worse"), "The smallest student that is not worse than the teacher by 10.0"),
        (("equivalent", "worse"), "is soft, with 50 parameters."),
        (("worse", "worse"), "Every student is worse than the teacher by more than 10.0 errors"),
        (("worse", "not shown"), "No student is shown to be as good as the teacher within 10.0"),
    ],
)
def test_the_smallest_student_in_place_of_the_teacher(verdicts, sentence):
    tests = [replacement("soft", None, verdicts[0]), replacement("large", None, verdicts[1])]
    others = wording.headlines(study("helps", OPEN, tests))[1:]
    assert [entry.verdict for entry in others] == ["none"]
    assert sentence in others[0].text


def test_each_reference_has_its_sentence_and_rows():
    tests = [replacement("soft", None, "worse"), replacement("soft", "large", "not worse")]
    summary = study("helps", OPEN, tests)
    assert "not worse than large by" in wording.headlines(summary)[2].text
    assert replacement_rows(summary) == [
        ["soft", "the teacher", "50", "+3.0", "−1.0 to 7.0", "worse"],
        ["soft", "large", "50", "+3.0", "−1.0 to 7.0", "not worse"],
    ]
