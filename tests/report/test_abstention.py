"""The section of a student that may abstain."""

import pytest
from support.summaries import make_arm, make_summary

from limbeck.report.abstention import (
    abstention_heading,
    abstention_lead,
    abstention_rows,
    confidence,
)
from limbeck.run.abstention import Abstention, AbstentionRow

ROW = AbstentionRow(error_rate=0.005, threshold=0.9712, answered=400, errors=1, cascade_errors=3)


def content(*rows):
    return Abstention(arm="soft", seed=1, temperature=1.1, candidates=6, rows=rows)


def test_rows_name_errors_answers_and_the_cascade():
    assert abstention_heading(content(ROW))[-1] == "Errors of both, test"
    assert abstention_rows(content(ROW), 500) == [
        ["at most 0.5 %", "0.972", "80.0 %", "1 (0.25 %)", "20.0 %", "3"]
    ]


def test_without_a_teacher_there_is_no_cascade():
    row = AbstentionRow(error_rate=0.05, threshold=0.0, answered=0, errors=0)
    assert len(abstention_heading(content(row))) == 4
    assert abstention_rows(content(row), 500) == [["at most 5 %", "any", "0.0 %", "0 (–)"]]


@pytest.mark.parametrize(
    ("abstention", "text"),
    [
        (None, ""),
        (content(), "200 validation samples are too few, or it errs too often"),
        (content(ROW), "corrected for the choice among 6 students. In the last column"),
    ],
)
def test_the_lead_says_what_is_promised(abstention, text):
    lead = abstention_lead(make_summary([make_arm("soft", [7])], abstention=abstention))
    assert text in lead
    assert bool(text) == bool(lead)


def test_a_damaged_number_of_test_samples_is_no_division_by_zero():
    assert abstention_rows(content(ROW), 0)


@pytest.mark.parametrize("threshold", [0.5, 0.9, 0.901, 0.99, 0.9999, 0.99999, 1 - 1e-7])
def test_a_threshold_is_rounded_up_a_little(threshold):
    rounded = float(confidence(threshold))
    assert threshold <= rounded + 1e-12
    assert 1 - rounded >= 0.5 * (1 - threshold) or 1 - threshold < 1e-6
