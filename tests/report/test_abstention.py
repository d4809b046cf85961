"""The section of a student that may abstain."""

from dataclasses import replace

import pytest
from support.summaries import IMAGES, make_arm, make_summary

from limbeck.report.abstention import (
    abstention_heading,
    abstention_lead,
    abstention_rows,
    confidence,
)
from limbeck.run.abstention import Abstention, AbstentionRow
from limbeck.run.cost import Cost, CostRow, Latency, Timing

ROW = AbstentionRow(error_rate=0.005, threshold=0.9712, answered=400, errors=1, cascade_errors=3)


def content(*rows):
    return Abstention(arm="soft", seed=1, temperature=1.1, candidates=6, rows=rows)


def summary_of(abstention, *, test=500):
    return make_summary(
        [make_arm("soft", [7], student="64-32-10")],
        abstention=abstention,
        data=replace(IMAGES, test=test),
    )


def cost_row(model, kind, median, runtime="onnx"):
    timing = Timing(
        latency_ms=Latency(median=median, quartiles=(median, median), runs=9), per_second=1.0
    )
    return CostRow(
        model=model,
        kind=kind,
        params=1,
        runtime=runtime,
        precision="fp32",
        bytes=1,
        macs=1.0,
        threads={"1": timing, "2": timing},
    )


def test_rows_name_errors_answers_and_the_cascade():
    summary = summary_of(content(ROW))
    assert abstention_heading(summary)[-1] == "Errors of both, test"
    assert abstention_rows(summary) == [
        ["at most 0.5 %", "0.972", "80.0 %", "1 (0.25 %)", "20.0 %", "3"]
    ]


def test_without_a_teacher_there_is_no_cascade():
    row = AbstentionRow(error_rate=0.05, threshold=0.0, answered=0, errors=0)
    summary = summary_of(content(row))
    assert len(abstention_heading(summary)) == 4
    assert abstention_rows(summary) == [["at most 5 %", "any", "0.0 %", "0 (–)"]]


def test_the_time_of_the_cascade_is_the_students_and_a_share_of_the_teachers():
    summary = summary_of(content(ROW))
    student = summary.arm("soft").student
    rows = (cost_row("hard", student, 2.0), cost_row("teacher", "convnet", 10.0))
    cost = Cost(schema=1, rows=rows)
    assert abstention_heading(summary, cost)[-1] == "Time of both"
    assert abstention_rows(summary, cost)[0][-1] == "4 ms"  # 2 + 20 % of 10
    lead = abstention_lead(summary, cost)
    assert "the student takes 2 ms for an input, and the teacher 10 ms" in lead


@pytest.mark.parametrize(
    "rows",
    [
        [("teacher", "convnet", "onnx")],
        [("soft", "another network", "onnx"), ("teacher", "convnet", "onnx")],
        [("soft", None, "onnx"), ("teacher", "convnet", "torch")],
    ],
    ids=["teacher alone", "another student", "two runtimes"],
)
def test_without_the_cost_of_both_the_cascade_has_no_time(rows):
    summary = summary_of(content(ROW))
    own = summary.arm("soft").student
    cost = Cost(schema=1, rows=tuple(cost_row(m, kind or own, 1.0, run) for m, kind, run in rows))
    assert abstention_heading(summary, cost) == abstention_heading(summary)
    assert abstention_rows(summary, cost) == abstention_rows(summary)


@pytest.mark.parametrize(
    ("abstention", "text"),
    [
        (None, ""),
        (content(), "200 validation samples are too few, or it errs too often"),
        (content(ROW), "corrected for the choice among 6 students. In the last columns"),
    ],
)
def test_the_lead_says_what_is_promised(abstention, text):
    lead = abstention_lead(make_summary([make_arm("soft", [7])], abstention=abstention))
    assert text in lead
    assert bool(text) == bool(lead)


def test_a_damaged_number_of_test_samples_is_no_division_by_zero():
    assert abstention_rows(summary_of(content(ROW), test=0))


@pytest.mark.parametrize("threshold", [0.5, 0.9, 0.901, 0.99, 0.9999, 0.99999, 1 - 1e-7])
def test_a_threshold_is_rounded_up_a_little(threshold):
    rounded = float(confidence(threshold))
    assert threshold <= rounded + 1e-12
    assert 1 - rounded >= 0.5 * (1 - threshold) or 1 - threshold < 1e-6
