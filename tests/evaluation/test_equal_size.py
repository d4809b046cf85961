"""Size at which a model has a given result."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.evaluation.equal_size import size_for


def test_a_result_between_two_sizes_is_interpolated():
    assert size_for(75, [100, 400], [100, 50]) == pytest.approx(200)
    assert size_for(75, [400, 100], [50, 100]) == pytest.approx(200)
    assert size_for(50, [100, 400], [100, 50]) == pytest.approx(400)


def test_the_smallest_model_may_be_enough_and_the_largest_too_small():
    assert size_for(120, [100, 400], [100, 50]) == 100
    assert size_for(100, [100, 400], [100, 50]) == 100
    assert size_for(49, [100, 400], [100, 50]) is None


def test_the_first_size_counts_where_larger_models_are_worse():
    assert size_for(75, [100, 400, 900, 1600], [100, 50, 90, 10]) == pytest.approx(200)


@given(
    st.floats(-3, 3).filter(lambda slope: abs(slope) > 1e-3),
    st.lists(st.floats(1, 1e6), min_size=2, max_size=6, unique=True),
    st.floats(0, 1),
)
def test_a_line_over_the_logarithm_is_inverted(slope, sizes, place):
    """Results that are a falling line over the logarithm of the size: its inverse is known."""
    low, high = math.log(min(sizes)), math.log(max(sizes))
    if high - low < 1e-6:
        return
    values = [-abs(slope) * math.log(size) for size in sizes]
    log_size = low + place * (high - low)
    size = size_for(-abs(slope) * log_size, sizes, values)
    if size is None:  # the target is the last value, but for rounding
        assert place > 1 - 1e-6
    else:
        assert math.log(size) == pytest.approx(log_size, abs=1e-5)
