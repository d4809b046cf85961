from dataclasses import replace

import pytest
from support.summaries import (
    make_arm,
    make_comparison,
    make_control,
    make_metrics,
    make_summary,
    make_text_summary,
)

from limbeck.report import wording
from limbeck.run.comparison import Delta, GapClosed, Needed
from limbeck.run.summary import FailedStudent, TeacherResult

FINDING = "soft makes 23.3 fewer errors than hard on 500 test samples"
EVIDENCE = "(95 % interval −30.1 to −16.5 over 3 seeds; p = 0.0004)"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {},
            f"Distillation helps: {FINDING} {EVIDENCE}. It closes 62 % of the gap to the teacher.",
        ),
        (
            {
                "verdict": "hurts",
                "delta_errors": Delta(mean=4.0, ci95=(1, 7), per_seed=(4, 4)),
                "gap_closed": GapClosed(errors=-0.2, nll=None),
            },
            "Distillation hurts: soft makes 4.0 more errors than hard on 500 test samples (95 % "
            "interval 1.0 to 7.0 over 2 seeds; p = 0.0004). It widens the gap to the "
            "teacher by 20 %.",
        ),
        (
            {
                "verdict": "not shown",
                "delta_errors": Delta(mean=0.0, ci95=(0.0, 0.0), per_seed=(0, 0)),
            },
            "Not enough evidence: soft makes as many errors as hard on 500 test samples (95 % "
            "interval 0.0 to 0.0 over 2 seeds; p = 0.0004). Both give the same results in every "
            "seed, so there is nothing to test.",
        ),
        (
            {
                "verdict": "not shown",
                "delta_errors": Delta(mean=-4.0, ci95=(-9.0, 1.0), per_seed=(1, 2)),
            },
            "Not enough evidence: soft makes 4.0 fewer errors than hard on 500 test samples (95 % "
            "interval −9.0 to 1.0 over 2 seeds; p = 0.0004). The interval contains 0, so "
            "other seeds could reverse the result.",
        ),
        (
            {"verdict": "not shown", "p_value": 0.2},
            f"Not enough evidence: {FINDING} (95 % interval −30.1 to −16.5 over 3 seeds; "
            "p = 0.20). The seeds agree, but the test set is too small to be sure.",
        ),
        (
            {
                "verdict": "not shown",
                "delta_errors": Delta(mean=0.0, ci95=None, per_seed=(0,)),
                "p_value": None,
            },
            "Not enough evidence: soft makes as many errors as hard on 500 test samples (one seed, "
            "so no interval). One seed cannot tell an effect from chance.",
        ),
        (
            {"gap_closed": GapClosed(errors=None, nll=None)},
            f"Distillation helps: {FINDING} {EVIDENCE}. The teacher is no better than the control, "
            "so there is no gap to close.",
        ),
    ],
    ids=["helps", "hurts", "nothing", "interval", "samples", "one seed", "no gap"],
)
def test_a_headline_about_errors(fields, sentence):
    comparison = make_comparison("soft", "hard", **fields)
    summary = make_summary(comparisons=[comparison])
    assert wording.headlines(summary) == [(comparison.verdict, sentence)]


TEXT_DELTA = Delta(mean=-0.0524, ci95=(-0.0611, -0.0434), per_seed=(-0.05,) * 5)
TEXT_FINDING = "soft needs 2.341 bits per byte, 0.052 fewer than hard"
TEXT_INTERVAL = "95 % interval −0.061 to −0.043 over 5 seeds"
TEXT_P = "p = 0.0004"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {},
            f"Distillation helps: {TEXT_FINDING} ({TEXT_INTERVAL}; {TEXT_P}). It closes 31 % of "
            "the gap to the teacher.",
        ),
        (
            {
                "verdict": "hurts",
                "delta_bits_per_byte": Delta(mean=0.0041, ci95=(0.00123, 0.0069), per_seed=(1, 1)),
                "gap_closed": GapClosed(errors=1.0, nll=-0.2),
                "p_value": 1e-9,
            },
            "Distillation hurts: soft needs 2.341 bits per byte, 0.0041 more than hard (95 % "
            "interval 0.0012 to 0.0069 over 2 seeds; p < 0.0001). "
            "It widens the gap to the teacher by 20 %.",
        ),
        (
            {"verdict": "not shown", "p_value": 0.2},
            f"Not enough evidence: {TEXT_FINDING} ({TEXT_INTERVAL}; p = 0.20). The seeds agree, "
            "but the test text is too short to be sure.",
        ),
        (
            {"verdict": "not shown", "p_value": None},
            f"Not enough evidence: {TEXT_FINDING} ({TEXT_INTERVAL}). The seeds agree, but the test "
            "text is too short to be sure.",
        ),
        (
            {
                "verdict": "not shown",
                "p_value": None,
                "delta_bits_per_byte": Delta(mean=0.0, ci95=None, per_seed=(0.0,)),
            },
            "Not enough evidence: soft needs 2.341 bits per byte, as many as hard (one seed, so no "
            "interval). One seed cannot tell an effect from chance.",
        ),
        (
            {"gap_closed": GapClosed(errors=0.5, nll=1.1)},
            f"Distillation helps: {TEXT_FINDING} ({TEXT_INTERVAL}; {TEXT_P}). It closes 110 % of "
            "the gap to the teacher, so it needs fewer bits than the teacher.",
        ),
    ],
    ids=["helps", "hurts", "p", "no p", "one seed", "past the teacher"],
)
def test_a_headline_about_text_ignores_errors(fields, sentence):
    defaults = {
        "p_value": 0.00041,
        "delta_errors": Delta(mean=9.0, ci95=(8.0, 10.0), per_seed=(9,) * 5),
        "delta_bits_per_byte": TEXT_DELTA,
        "gap_closed": GapClosed(errors=-1.0, nll=0.312, nll_ci95=(0.25, 0.37)),
    }
    comparison = make_comparison("soft", "hard", **{**defaults, **fields})
    arm = make_arm("soft", [9], bits=[2.3412])
    summary = make_text_summary([arm], [comparison])
    assert wording.headlines(summary) == [(comparison.verdict, sentence)]


def test_a_verdict_that_fails_only_the_correction_says_so():
    comparison = make_comparison("soft", "hard", verdict="not shown", p_value=0.03, p_holm=0.09)
    (sentence,) = wording.headlines(make_summary(comparisons=[comparison]))
    assert sentence.text.endswith(
        "Alone, this would be enough; corrected for all comparisons of the study, it is not (Holm, "
        "p = 0.090)."
    )


@pytest.mark.parametrize(
    ("seeds", "factor", "sentence"),
    [
        (9, 2.345, "use about 9 seeds, or 2.3 times as many test samples with the same seeds."),
        (9, 200.0, "use about 9 seeds."),
        (9, None, "use about 9 seeds."),
        (
            None,
            200.0,
            "use about 200 times as many test samples; more seeds alone are not enough.",
        ),
        (None, None, "A difference this small would not be shown by 100 seeds either."),
    ],
)
def test_what_would_be_enough_is_said(seeds, factor, sentence):
    needed = Needed(power=0.3, seeds=seeds, samples_factor=factor)
    comparison = make_comparison("soft", "hard", verdict="not shown", p_value=0.2, needed=needed)
    (headline,) = wording.headlines(make_summary(comparisons=[comparison]))
    assert headline.text.endswith(sentence)
    comparison = make_comparison("soft", "hard", needed=None)
    (headline,) = wording.headlines(make_summary(comparisons=[comparison]))
    assert "in 4 of 5 studies" not in headline.text


def test_the_interval_that_decides_is_shown():
    delta = Delta(mean=-4.0, ci95=(-7.0, -1.0), ci95_total=(-7.6, -0.4), per_seed=(-4,) * 5)
    comparison = make_comparison("soft", "hard", delta_errors=delta)
    (sentence,) = wording.headlines(make_summary(comparisons=[comparison]))
    assert "(95 % interval −7.6 to −0.4 over 5 seeds and the test samples; p" in sentence.text
    comparison = make_comparison("soft", "hard", delta_bits_per_byte=delta)
    (sentence,) = wording.headlines(make_text_summary(comparisons=[comparison]))
    assert "over 5 seeds and the segments of the test text; p" in sentence.text


def test_labels_alone_are_not_called_distillation():
    summary = make_summary([make_control("soft", [3])], [make_comparison("soft", "hard")])
    assert wording.headlines(summary)[0].text.startswith("The change helps: soft makes 23.3 fewer")


def test_without_a_teacher_there_is_no_gap():
    summary = make_summary(comparisons=[make_comparison("soft", "hard")], teacher=None)
    assert wording.headlines(summary)[0].text == f"Distillation helps: {FINDING} {EVIDENCE}."


def test_the_main_comparison_comes_first():
    comparisons = [make_comparison("a", "hard"), make_comparison("b", "hard", main=True)]
    first, second = wording.headlines(make_summary(comparisons=comparisons))
    assert "b makes" in first.text
    assert "a makes" in second.text


def test_many_comparisons_are_counted():
    verdicts = ["hurts", "helps", "not shown", "helps", "helps"]
    comparisons = [
        make_comparison(f"arm{i}", "hard", verdict=verdict, main=i == 1)
        for i, verdict in enumerate(verdicts)
    ]
    first, second = wording.headlines(make_summary(comparisons=comparisons))
    assert first.text.startswith("Distillation helps: arm1 makes")
    assert second == ("none", "5 comparisons in total: 3 helps, 1 hurts, 1 not shown.")


@pytest.mark.parametrize(
    ("summary", "sentence"),
    [
        (make_summary(), "The teacher alone: 7 errors on 500 test samples."),
        (make_text_summary(), "The teacher alone: 2.100 bits per byte of test text."),
        (
            make_summary([make_control("hard", [10, 14])]),
            "Nothing to compare: hard makes 12.0 ± 2.8 errors on 500 test samples, and no other "
            "arm was trained.",
        ),
        (
            make_summary(
                [make_control("hard", [10])],
                failed=(FailedStudent(arm="soft", seed=0, reason="nan"),),
            ),
            "Nothing to compare: hard makes 10 errors on 500 test samples, and no other arm "
            "finished.",
        ),
        (
            make_text_summary([make_arm("soft", [9, 9], bits=[2.34, 2.342])]),
            "Nothing to compare: soft needs 2.341 ± 0.001 bits per byte of test text, and no other "
            "arm was trained.",
        ),
        (
            make_summary([make_arm("a", [1]), make_arm("b", [2])]),
            "No comparison: none of the 2 arms has a control.",
        ),
        (
            make_summary([make_arm("a", [1], failed_control="hard")]),
            "No comparison: the control hard failed.",
        ),
    ],
)
def test_without_a_comparison_a_neutral_sentence_says_why(summary, sentence):
    assert wording.headlines(summary) == [("none", sentence)]


def test_a_teacher_without_a_result_is_a_dash():
    teacher = TeacherResult(name="big", params=1, test=make_metrics(None))
    summary = make_summary(teacher=teacher)
    assert wording.headlines(summary)[0].text == "The teacher alone: – errors on 500 test samples."


def test_the_choice_of_the_headline_is_explained():
    comparisons = [
        make_comparison("soft", "hard", main=True),
        make_comparison("soft", "hard-long"),
        make_comparison("shuffled", "hard"),
    ]
    summary = make_summary(comparisons=comparisons)
    assert wording.choice(summary) == (
        "Of the 2 arms with a control, soft makes the fewest errors on the validation split, so it "
        "is the headline. The test split played no part in this choice."
    )
    assert wording.choice(replace(summary, comparisons=summary.comparisons[:2])) == ""


def test_failed_students_are_listed_by_arm():
    failed = (
        FailedStudent(arm="soft", seed=0, reason="loss is nan"),
        FailedStudent(arm="hard", seed=1, reason="out of memory"),
        FailedStudent(arm="soft", seed=2, reason="loss is inf"),
    )
    assert wording.failures(make_summary(failed=failed)) == [
        ("soft", "seeds 0 and 2", "loss is nan"),
        ("hard", "seed 1", "out of memory"),
    ]
