"""The gate passes models with the same answers and no others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.deploy.parity import ERROR_ALLOWANCE, check_same_outputs, check_similar_outputs, table

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(1000, 4)).astype(np.float32) * 5
LABELS = RNG.integers(0, 4, 1000)
NAMES = ["a", "b", "c", "d"]


def flipped(rows):
    """The logits with the two largest of some rows swapped."""
    logits = LOGITS.copy()
    for row in rows:
        first, second = np.argsort(-logits[row])[:2]
        logits[row, [first, second]] = logits[row, [second, first]]
    return logits


def similar(logits, **settings):
    return check_similar_outputs(
        "int8", logits, LOGITS, LABELS, **({"share": 0.001, "class_names": NAMES} | settings)
    )


def test_the_same_outputs_pass():
    stage = check_same_outputs("fp32", LOGITS.copy(), LOGITS, LABELS)
    assert stage.passed
    assert stage.errors == (LOGITS.argmax(1) != LABELS).sum()
    assert (stage.max_difference, stage.class_changes) == (0, 0)


def test_rounding_passes_and_more_than_rounding_does_not():
    largest = np.abs(LOGITS).max(1, keepdims=True).clip(1)
    assert check_same_outputs("fp32", LOGITS + 0.9e-4 * largest, LOGITS, LABELS).passed
    (reason,) = check_same_outputs("fp32", LOGITS + 1.2e-4 * largest, LOGITS, LABELS).failures
    assert reason.startswith("logits differ by up to")


def test_one_large_logit_does_not_hide_differences():
    reference = LOGITS.copy()
    reference[0, 0] = 1e5
    noisy = reference + RNG.normal(size=LOGITS.shape) * 2
    stage = check_same_outputs("fp32", noisy, reference, LABELS)
    assert stage.class_changes > 100
    assert len(stage.failures) >= 2


def test_one_changed_top_class_fails():
    wide = np.flatnonzero(np.ptp(np.sort(LOGITS, 1)[:, -2:], axis=1) > 1)[0]
    stage = check_same_outputs("fp32", flipped([wide]), LOGITS, LABELS)
    assert stage.class_changes == 1
    assert any("1 top classes changed" in reason for reason in stage.failures)


def test_a_tie_may_change_its_top_class():
    reference = np.array([[1.0, 1.0 + 1e-5, 0.0], [3.0, 0.0, 0.0]])
    other = np.array([[1.0 + 1e-5, 1.0, 0.0], [3.0, 0.0, 0.0]])
    stage = check_same_outputs("fp32", other, reference, np.array([1, 0]))
    assert stage.passed
    assert (stage.errors, stage.class_changes) == (1, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_infinite_and_nan_logits_fail(value):
    broken = LOGITS.copy()
    broken[5, 2] = value
    assert not check_same_outputs("fp32", broken, LOGITS, LABELS).passed
    assert not similar(broken).passed


def test_a_few_additional_errors_pass_and_one_more_fails():
    right = np.flatnonzero(LOGITS.argmax(1) == LABELS)
    spread = [
        rows
        for k in range(4)
        for rows in np.flatnonzero((LOGITS.argmax(1) == LABELS) & (k == LABELS))[:2]
    ]
    assert similar(flipped(spread[:ERROR_ALLOWANCE])).passed
    assert similar(flipped(spread[: ERROR_ALLOWANCE + 1])).failures == (
        f"{ERROR_ALLOWANCE + 1} more errors, {ERROR_ALLOWANCE} are allowed",
    )
    assert similar(flipped(spread[: ERROR_ALLOWANCE + 1]), share=0.02).passed
    assert len(right) > 100


def test_additional_errors_in_one_class_fail():
    own = np.flatnonzero((LOGITS.argmax(1) == LABELS) & (LABELS == 2))[: ERROR_ALLOWANCE + 1]
    assert similar(flipped(own), share=0.5).failures == (
        f"{ERROR_ALLOWANCE + 1} more errors in class c, {ERROR_ALLOWANCE} are allowed",
    )


def test_few_samples_allow_no_additional_error():
    labels = np.arange(20) % 4
    sure = np.eye(4)[labels] * 9
    worse = sure.copy()
    worse[labels == 2] = np.eye(4)[0] * 9
    stage = check_similar_outputs("int8", worse, sure, labels, share=0.001, class_names=NAMES)
    assert stage.failures == (
        "5 more errors, 0 are allowed",
        "5 more errors in class c, 0 are allowed",
    )


def test_a_share_of_0_allows_no_additional_error():
    right = np.flatnonzero(LOGITS.argmax(1) == LABELS)[:1]
    assert similar(flipped(right), share=0).failures == ("1 more errors, 0 are allowed",)
    assert similar(LOGITS.copy(), share=0).passed


def test_fewer_errors_pass():
    better = LOGITS.copy()
    better[np.arange(1000), LABELS] += 100
    assert similar(better).passed


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 999), max_size=30, unique=True))
def test_errors_are_counted(rows):
    logits = flipped(rows)
    assert similar(logits).errors == int((logits.argmax(1) != LABELS).sum())
    assert similar(logits).class_changes == int((logits.argmax(1) != LOGITS.argmax(1)).sum())


def test_the_table_names_failures():
    stages = [check_same_outputs("fp32", LOGITS, LOGITS, LABELS), similar(flipped(range(900)))]
    first, second, third = table(stages, 1000).splitlines()
    assert first.split()[:4] == ["stage", "errors", "of", "1,000"]
    assert second.endswith("ok")
    assert "more errors" in third
