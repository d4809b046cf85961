"""Repeated calls are timed, slow ones less often."""

import pytest
from support.clocks import Clock

from limbeck._base.runtime import timing
from limbeck._base.runtime.timing import seconds_of_calls, spread


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("seconds", "count", "warm_up"),
    [
        (0.001, 50, 5),  # until the minimum duration is reached
        (0.02, 11, 5),  # the minimum number of calls
        (0.125, 8, 2),  # the limit
        (4.0, 3, 1),  # slower than the limit: a few
    ],
)
def test_slow_calls_are_made_less_often(clock, seconds, count, warm_up):
    calls = []

    def call():
        calls.append(0)
        clock.now += seconds

    times = seconds_of_calls(call, 0.05, 1.0)

    assert len(times) == pytest.approx(count, abs=1)  # sums of floats
    assert len(calls) - len(times) == warm_up
    assert times == pytest.approx([seconds] * len(times))


def test_a_spread_has_the_percentiles():
    assert spread([float(number) for number in range(11)]) == (5.0, 1.0, 9.0, 11)
    assert spread([2.0]) == (2.0, 2.0, 2.0, 1)
