"""The verdict on the difference between an arm and its control."""

from limbeck.evaluation.statistics import LEVEL, CrossedTest
from limbeck.run.comparison import Verdict


def verdict(test: CrossedTest) -> Verdict:
    """Return the verdict on a difference, where lower is better.

    The verdict is ``helps`` or ``hurts`` if the p-value is below 0.05, otherwise ``not shown``.
    """
    if test.p_value is None or not test.p_value < LEVEL:  # NaN shows nothing
        return "not shown"
    return "helps" if test.mean < 0 else "hurts"
