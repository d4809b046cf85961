"""The verdict on an interval and a p-value."""

import math

import pytest

from limbeck.evaluation.statistics import Interval
from limbeck.evaluation.verdict import verdict


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
