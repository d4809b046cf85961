"""The difference between an arm and its control, and the verdict on it."""

from collections.abc import Sequence

from limbeck.evaluation.statistics import LEVEL, CrossedTest, paired_interval
from limbeck.run.comparison import Delta, Verdict


def verdict(test: CrossedTest) -> Verdict:
    """Return the verdict on a difference, where lower is better.

    The verdict is ``helps`` or ``hurts`` if the p-value is below 0.05, otherwise ``not shown``.
    """
    if test.p_value is None or not test.p_value < LEVEL:  # NaN shows nothing
        return "not shown"
    return "helps" if test.mean < 0 else "hurts"


def delta_of(per_seed: Sequence[float], test: CrossedTest | None = None) -> Delta:
    """Return the record of paired differences.

    Args:
        per_seed: Difference of each seed.
        test: Test over seeds and test samples; None for a metric that has none.
    """
    over_seeds = paired_interval(per_seed)
    return Delta(
        mean=over_seeds.mean,
        ci95=over_seeds.ci95,
        ci95_total=None if test is None else test.ci95,
        per_seed=tuple(per_seed),
    )
