"""Timing of repeated calls."""

import time
from collections.abc import Callable
from typing import NamedTuple

WARM_UP = 5
"""Maximum number of calls before a measurement."""
MIN_CALLS = 11
"""Minimum number of calls per measurement, unless they take longer than its limit."""
FEW_CALLS = 3
"""Minimum number of calls per measurement, however long they take."""


class Spread(NamedTuple):
    """Spread of the seconds of a call.

    Attributes:
        median: Median.
        low: Tenth percentile.
        high: Ninetieth percentile.
        calls: Number of calls.
    """

    median: float
    low: float
    high: float
    calls: int


def seconds_of_calls(
    call: Callable[[], object], min_seconds: float, max_seconds: float
) -> list[float]:
    """Measure the seconds of each call, sorted.

    Args:
        call: Computation to measure.
        min_seconds: Minimum duration of all calls together.
        max_seconds: Duration after which no further call starts, if there are a few.
    """
    start = time.perf_counter()
    for _ in range(WARM_UP):
        call()
        if time.perf_counter() - start >= max_seconds / WARM_UP:
            break
    times: list[float] = []
    start = time.perf_counter()
    elapsed = 0.0
    while not _is_enough(len(times), elapsed, min_seconds, max_seconds):
        call_start = time.perf_counter()
        call()
        call_end = time.perf_counter()
        times.append(call_end - call_start)
        elapsed = call_end - start
    return sorted(times)


def spread(times: list[float]) -> Spread:
    """Return the spread of sorted seconds."""
    last = len(times) - 1
    low, median, high = (times[round(share * last)] for share in (0.1, 0.5, 0.9))
    return Spread(median, low, high, len(times))


def _is_enough(calls: int, elapsed: float, min_seconds: float, max_seconds: float) -> bool:
    if elapsed >= max_seconds:
        return calls >= FEW_CALLS
    return calls >= MIN_CALLS and elapsed >= min_seconds
