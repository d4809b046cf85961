"""The metric by which a study is judged, such as errors on test samples or bits per byte of text.

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
        sentence: Value of one model in a sentence.
        none: Value of a model that has learned nothing; None if it depends on the data.
    """

    key: MeasureKey
    unit: str
    is_integer: bool
    sentence: str
    none: float | None = None

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
        delta: Delta | None = getattr(comparison, f"delta_{self.key}")
        assert delta is not None  # the reader requires it
        return delta

    def p_value(self, comparison: Comparison) -> float | None:
        """Return the p-value behind the verdict; None if it is unknown."""
        if comparison.p_value is None:
            return comparison.mcnemar_p  # written by a version before 0.2
        return comparison.p_value


ERRORS = Measure(key="errors", unit="errors", is_integer=True, sentence="{value:.4g} test errors")
BITS_PER_BYTE = Measure(
    key="bits_per_byte",
    unit="bits per byte",
    is_integer=False,
    sentence="{value:.3f} bits per byte of the test text",
    none=8.0,
)
SQUARED_ERROR = Measure(
    key="squared_error",
    unit="squared error",
    is_integer=False,
    sentence="a squared error of {value:.3f}",
    none=1.0,
)
LABEL_ERRORS = Measure(
    key="label_errors", unit="wrong labels", is_integer=True, sentence="{value:.4g} wrong labels"
)
MISSED_NEIGHBOURS = Measure(
    key="missed_neighbours",
    unit="missed neighbours",
    is_integer=False,
    sentence="{value:.2f} of 10 neighbours missed",
)
MEASURES: dict[str, Measure] = {
    measure.key: measure
    for measure in (ERRORS, BITS_PER_BYTE, SQUARED_ERROR, LABEL_ERRORS, MISSED_NEIGHBOURS)
}


def measure_of(summary: Summary) -> Measure:
    """Return the metric by which a study is judged."""
    return MEASURES[summary.measure]
