"""What the wordings of all measures have in common: columns, decimals and number formats."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from limbeck.evaluation.measure import Measure
from limbeck.report.formats import count, fixed, is_number, is_zero, p_value, plural
from limbeck.run.comparison import Comparison
from limbeck.run.summary import DataFacts, Summary


@dataclass(frozen=True)
class Column:
    """A column of the results table.

    Attributes:
        key: Name of the metric.
        title: Heading on the page.
        short: Heading in the terminal.
        kind: Number format, a key of :data:`~limbeck.report.formats.FORMATS`.
        always: Whether to show the column even if no row has a number.
    """

    key: str
    title: str
    short: str
    kind: str
    always: bool = False


@dataclass(frozen=True)
class Decimals:
    """Decimals of a measure; None stands for a whole number.

    Attributes:
        single: Decimals of one model.
        mean: Decimals of a mean over seeds.
        by_seed: Decimals in the table of seeds.
    """

    single: int | None
    mean: int
    by_seed: int | None


class MeasureWording(ABC):
    """Words and number formats of a measure.

    Attributes:
        measure: Measure that the words describe.
        title: Heading of a column or a figure.
        verb: Verb between an arm and its number.
        columns: Columns of the results table.
        main_metric: Key of the column whose numbers are at the top of the page.
        decimals: Decimals of the numbers.
        gaps: Keys and headings of the shares in ``gap_closed``; the first is in the headline.
        beats_teacher: Clause for an arm that is better than the teacher.
        test_sample: Name of a sample of the test split.
        samples_in_interval: Name of what the interval covers besides seeds, in the plural.
        more_samples: Words for more of the test split, after "3.0 times".
        too_small: Clause for a test split that is too small for a verdict.
        validation_curve: Metric of ``metrics.csv`` to draw next to the training loss.
        has_logits: Whether ``predictions.npz`` holds the logits that some figures need.
        less: Word for less of the measure: "fewer" or "less".
        least: Word for the least of the measure: "fewest" or "least".
    """

    measure: Measure
    title: str
    verb: str
    columns: tuple[Column, ...]
    main_metric: str
    decimals: Decimals
    gaps: tuple[tuple[str, str], ...]
    beats_teacher: str
    test_sample: str = "test sample"
    samples_in_interval: str = "test samples"
    more_samples: str = "as many test samples"
    too_small: str = "the test set is too small"
    validation_curve: str = "val_loss"
    has_logits: bool = False
    less: str = "fewer"
    least: str = "fewest"

    @property
    def unit(self) -> str:
        """Unit of the measure, in the plural: "errors" or "bits per byte"."""
        return self.measure.unit

    @property
    def title_in_sentence(self) -> str:
        """The title inside a sentence."""
        return self.title[0].lower() + self.title[1:]

    def test_split(self, data: DataFacts) -> str:
        """Size of the test split, such as "500 test samples"."""
        return plural(data.test, self.test_sample)

    @abstractmethod
    def axis(self, data: DataFacts) -> str:
        """Title of an axis."""

    @abstractmethod
    def level(self, value: str, data: DataFacts) -> str:
        """Result of one model, such as "7 errors on 500 test samples"."""

    @abstractmethod
    def finding(self, comparison: Comparison, summary: Summary) -> str:
        """Difference between an arm and its control, as a sentence without its period."""

    @abstractmethod
    def data_settings(self, data: DataFacts) -> list[tuple[str, str]]:
        """Names and values that describe the data."""

    def arm_mean(self, arm: str, summary: Summary) -> str:
        """The mean of an arm over its seeds; a dash if the summary has no such arm."""
        means = {entry.name: self.measure.value(entry.mean) for entry in summary.arms}
        return self.mean(means.get(arm))

    def amount(self, comparison: Comparison, noun: str = "") -> str:
        """The change of a comparison in words, such as "16.5 fewer errors than".

        Args:
            comparison: Arm and control.
            noun: Name of what is counted, in the plural; empty to leave it out.
        """
        size = self.change(comparison, signed=False)
        noun = f" {noun}" if noun else ""
        if is_zero(size):
            return f"as {'many' if self.less == 'fewer' else 'much'}{noun} as"
        direction = self.less if self.measure.delta(comparison).mean < 0 else "more"
        return f"{size} {direction}{noun} than"

    def p_value(self, comparison: Comparison) -> str:
        """The p-value, such as ``p = 0.03``; empty if there is none."""
        p = self.measure.p_value(comparison)
        return p_value(p) if is_number(p) else ""

    def number(self, value: object) -> str:
        """The number of one model."""
        return _text(value, self.decimals.single)

    def mean(self, value: object) -> str:
        """A mean over seeds."""
        return _text(value, self.decimals.mean)

    def seed_value(self, value: object, *, signed: bool = False) -> str:
        """A number or a change in the table of seeds."""
        return _text(value, self.decimals.by_seed, signed=signed)

    def mean_and_sd(self, mean: object, sd: object) -> str:
        """Mean and standard deviation, ``85.3 ± 4.2``; the mean alone for a single seed."""
        if not is_number(sd):
            return self.number(mean)
        return f"{self.mean(mean)} ± {self.mean(sd)}"

    def change(self, comparison: Comparison, *, signed: bool = True) -> str:
        """The mean change of a comparison."""
        delta = self.measure.delta(comparison)
        value = delta.mean if signed else abs(delta.mean)
        if self.measure.is_integer and not delta.ci95:
            return count(value, signed=signed)
        return fixed(value, self._decimals_of(value), signed=signed)

    def interval(self, comparison: Comparison, *, over_seeds: bool = False) -> str:
        """The 95 % interval of the change, such as ``−30.1 to −16.5``; a dash with one seed.

        Args:
            comparison: Arm and control.
            over_seeds: Whether to return the interval over seeds alone, for these test samples,
                instead of the one that decides.
        """
        delta = self.measure.delta(comparison)
        bounds = delta.ci95 if over_seeds else delta.ci95_total or delta.ci95
        decimals = self._decimals_of(delta.mean)
        return " to ".join(fixed(bound, decimals) for bound in bounds or (None,))

    def difference(self, value: float, *, signed: bool = False) -> str:
        """A difference or a bound of one, such as ``−16.5``."""
        return fixed(value, self._decimals_of(value), signed=signed)

    def _decimals_of(self, change: float) -> int:
        """Decimals of a change; a small change has one more, to keep its digits."""
        decimals = self.decimals.mean
        if self.measure.is_integer or abs(change) >= 10 ** (1 - decimals):
            return decimals
        return decimals + 1


def _text(value: object, decimals: int | None, *, signed: bool = False) -> str:
    if decimals is None:
        return count(value, signed=signed)
    return fixed(value, decimals, signed=signed)
