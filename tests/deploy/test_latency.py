import numpy as np
import pytest
from support.clocks import Clock

from limbeck.deploy import latency


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(latency, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("seconds", "measured", "warm_up"),
    [
        (0.001, 50, 5),  # until the minimum duration is reached
        (0.02, 11, 5),  # the minimum number of runs
        (0.125, 8, 2),  # the limit
        (4.0, 3, 1),  # slower than the limit: a few
    ],
)
def test_slow_models_are_run_less_often(clock, seconds, measured, warm_up):
    calls = []

    def run(inputs):
        calls.append(inputs)
        clock.now += seconds

    times = latency._seconds(run, np.zeros(1), 0.05, 1.0)

    assert len(times) == pytest.approx(measured, abs=1)  # sums of floats
    assert len(calls) - len(times) == warm_up
    assert times == pytest.approx([seconds] * len(times))
