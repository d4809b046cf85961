from dataclasses import replace

import pytest
from support.costs import COST, row
from support.summaries import (
    make_arm,
    make_comparison,
    make_control,
    make_summary,
    make_text_summary,
)

from limbeck.report.arm_styles import COLOURS, TEACHER
from limbeck.report.overview import by_how_much, compared, overview
from limbeck.run.comparison import Delta

SIZE = "How large is the student, the small model?"


def study(delta=None, **fields):
    arms = [make_control("hard", [30, 32]), make_arm("soft", [20, 22])]
    delta = delta or Delta(mean=-10, ci95=(-12, -8), ci95_total=(-14.2, -5.8), per_seed=(-10, -10))
    comparison = make_comparison("soft", "hard", delta_errors=delta, main=True, **fields)
    return make_summary(arms, [comparison])


def answers(summary, cost=None):
    return {answer.question: answer.text for answer in overview(summary, cost).answers}


def test_the_top_answers_what_a_newcomer_asks():
    assert answers(study()) == {
        "By how much?": (
            "Accuracy 90.00 % instead of 90.00 % (0.00 points), mean of 2 seeds. The teacher's "
            "is 90.00 %."
        ),
        "How sure is it?": (
            "With 95 % confidence, soft makes 5.8 to 14.2 fewer errors than hard (+1.2 to +2.8 "
            "points of accuracy), for other seeds and test samples of the same kind."
        ),
        "What was compared?": (
            "soft: mlp 100, which learns from the teacher's answers and the labels. hard: the same "
            "network without the teacher. Both start from the same weights and see the same data "
            "in every seed."
        ),
        "On what data?": (
            "digits, 10 classes. Samples: 1,097 training, 200 validation, 500 test. The test split "
            "was used once, for these results."
        ),
        SIZE: "100 parameters (mlp 100), 1.1 % of the teacher's 9,000.",
    }


def test_the_levels_go_from_the_control_to_the_teacher_in_the_colours_of_the_figures():
    page = overview(study())
    assert page.measure == "Accuracy on 500 test samples"
    assert [level.name for level in page.levels] == ["hard", "soft", "teacher"]
    assert [level.colour for level in page.levels] == [*COLOURS[:2], TEACHER]
    assert page.levels[0].note == "without the teacher, 31.0\u00a0±\u00a01.4 errors"
    assert page.levels[1].value == "90.00 %"


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        (Delta(mean=1, ci95=None), "Unknown. One seed"),
        (
            Delta(mean=-1, ci95=(-3, -1), ci95_total=(-5, 3)),
            "Not sure. With 95 % confidence, soft makes between 5.0 fewer and 3.0 more errors",
        ),
        (Delta(mean=4, ci95=(3, 5), ci95_total=(2, 6)), "soft makes 2.0 to 6.0 more errors"),
        (Delta(mean=-4, ci95=(-6, -2)), "for other seeds and the same test samples."),
        (Delta(mean=-4, ci95=(-9, 2), ci95_total=(-900, 800)), "more errors than hard, for"),
    ],
)
def test_the_interval_that_decides_is_said_in_words(delta, text):
    assert text in answers(study(delta))["How sure is it?"]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((100, 100), "the labels of 100 training samples only"),
        ((0.1, 0.1), "the labels of 10 % of the training samples only"),
        ((100, 50), ""),
        (([], []), ""),
    ],
)
def test_a_number_of_labelled_samples_that_all_arms_share_is_named(numbers, text):
    summary = study()
    settings = [{"labelled": number} for number in numbers]
    arms = [
        replace(arm, transfer_settings=s) for arm, s in zip(summary.arms, settings, strict=True)
    ]
    data = answers(replace(summary, arms=tuple(arms)))["On what data?"]
    assert ("the labels of" in data) == bool(text)
    assert text in data


def test_other_networks_epochs_and_objectives_are_named():
    soft = make_arm("soft", [20], objective={"hard_weight": 0.0})
    small = make_control("small", [30], params=50, epochs=4)
    summary = make_summary([soft, small], [make_comparison("soft", "small", main=True)], epochs=2)
    text = compared(summary.comparisons[0], summary)
    assert text == (
        "soft: mlp 100, which learns from the teacher's answers. small: mlp 50 without the "
        "teacher, trained for 4 epochs instead of 2."
    )
    smooth = make_control("smooth", [20])
    smooth = replace(smooth, objective={**smooth.objective, "label_smoothing": 0.1})
    summary = make_summary([smooth, small], [make_comparison("smooth", "small", main=True)])
    text = compared(summary.comparisons[0], summary)
    assert "smooth: mlp 100, which learns from the labels alone (label_smoothing 0.1)." in text
    assert "small: mlp 50 with another objective (labels only)" in text


def test_text_is_measured_in_bits():
    arms = [
        make_control("hard", [1, 1], bits=[2.5, 2.6]),
        make_arm("soft", [1, 1], bits=[2.4, 2.42]),
    ]
    delta = Delta(mean=-0.14, ci95=(-0.2, -0.1), ci95_total=(-0.3, -0.05))
    comparison = make_comparison("soft", "hard", delta_bits_per_byte=delta, main=True)
    summary = make_text_summary(arms, [comparison])
    page = overview(summary)
    assert page.measure.endswith("fewer is better")
    assert (page.levels[0].value, page.levels[1].value) == ("2.550", "2.410")
    assert page.levels[0].note == "without the teacher,\u00a0±\u00a00.071 over seeds"
    assert by_how_much(comparison, summary).startswith(
        "Bits per byte 2.410 instead of 2.550 (0.140 fewer), "
    )
    sure = answers(summary)["How sure is it?"]
    assert "soft needs 0.050 to 0.300 fewer bits per byte than hard, for other seeds" in sure


def test_a_measured_cost_is_at_the_top():
    cost = replace(COST, rows=(row("soft", "onnx", "fp32", bytes=11_000),))
    assert "As ONNX: 11 kB, " in answers(study(), cost)[SIZE]


def test_a_study_without_a_comparison_shows_its_arms():
    page = overview(make_summary([make_arm("soft", [20])], teacher=None))
    assert [level.name for level in page.levels] == ["soft"]
    assert [answer.question for answer in page.answers] == [
        "On what data?",
        SIZE,
    ]
    assert overview(make_summary()).levels[0].name == "teacher"
