"""The metric by which a study is judged: errors on test samples, or bits per byte of test text.

Wording and number formats of a measure are in :mod:`limbeck.report`.
"""

import math
import statistics
from dataclasses import dataclass

from limbeck.run.comparison import Comparison, Delta
from limbeck.run.metrics import Metrics
from limbeck.run.summary import ArmResult, MeasureKey, Summary


@dataclass(frozen=True)
class Measure:
    """The metric that decides a study; lower is better.

    Attributes:
        key: Name of the metric in :class:`~limbeck.run.summary.Metrics`.
        unit: Name of the unit, in the plural.
        is_integer: Whether the value of one model is a whole number.
    """

    key: MeasureKey
    unit: str
    is_integer: bool

    def value(self, metrics: Metrics) -> float | None:
        """Return the value of one model; None if it is missing or not finite."""
        value = getattr(metrics, self.key, None)
        return value if value is not None and math.isfinite(value) else None

    def seed_values(self, arm: ArmResult) -> list[float]:
        """Return the values on the test split, of the seeds that have one."""
        values = [self.value(seed.test) for seed in arm.seeds]
        return [value for value in values if value is not None]

    def validation_mean(self, arm: ArmResult) -> float:
        """Return the mean over seeds on the validation split.

        The mean is infinite if a seed has no value, so that such an arm is never chosen.
        """
        values = [self.value(seed.val) for seed in arm.seeds]
        return statistics.fmean(math.inf if value is None else value for value in values)

    def delta(self, comparison: Comparison) -> Delta:
        """Return the differences between arm and control."""
        if self.key == "errors":
            return comparison.delta_errors
        assert comparison.delta_bits_per_byte is not None  # the reader requires it
        return comparison.delta_bits_per_byte

    def p_value(self, comparison: Comparison) -> float | None:
        """Return the p-value behind the verdict; None if it is unknown."""
        if comparison.p_value is None:
            return comparison.mcnemar_p  # written by a version before 0.2
        return comparison.p_value


ERRORS = Measure(key="errors", unit="errors", is_integer=True)
BITS_PER_BYTE = Measure(key="bits_per_byte", unit="bits per byte", is_integer=False)
MEASURES: dict[str, Measure] = {measure.key: measure for measure in (ERRORS, BITS_PER_BYTE)}


def measure_of(summary: Summary) -> Measure:
    """Return the metric by which a study is judged."""
    return MEASURES[summary.measure]
