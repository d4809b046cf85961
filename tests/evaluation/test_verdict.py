"""The verdict of a test."""

import math

import pytest

from limbeck.evaluation.statistics import CrossedTest
from limbeck.evaluation.verdict import verdict


@pytest.mark.parametrize(
    ("mean", "p", "want"),
    [
        (-5.0, 0.01, "helps"),
        (5.0, 0.01, "hurts"),
        (-5.0, 0.0499, "helps"),
        (-5.0, 0.05, "not shown"),
        (5.0, 0.5, "not shown"),
        (0.0, 1.0, "not shown"),
        (-5.0, math.nan, "not shown"),
        (-5.0, None, "not shown"),
    ],
)
def test_verdict(mean, p, want):
    assert verdict(CrossedTest(mean, None, p)) == want
