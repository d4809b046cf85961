"""The verdict on the difference between an arm and its control."""

from limbeck.evaluation.statistics import LEVEL, Interval
from limbeck.run.summary import Verdict


def verdict(interval: Interval, p_value: float) -> Verdict:
    """Return the verdict on a difference, where lower is better.

    The verdict is ``helps`` or ``hurts`` if both the interval and the test exclude 0, otherwise
    ``not shown``.
    """
    if interval.ci95 is None or p_value >= LEVEL:
        return "not shown"
    low, high = interval.ci95
    if high < 0:
        return "helps"
    if low > 0:
        return "hurts"
    return "not shown"
