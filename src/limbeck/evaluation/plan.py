"""The plan of a larger study, from the variances that a pilot study has seen."""

from dataclasses import dataclass
from functools import partial

from limbeck._base.errors import ConfigError
from limbeck.evaluation.margin import MIN_ERRORS, Margin, margin_of_study
from limbeck.evaluation.measure import measure_of
from limbeck.evaluation.power import SEEDS_TO_TRY, power, power_within, smallest_with_power
from limbeck.evaluation.statistics import Variances
from limbeck.run.comparison import Comparison
from limbeck.run.summary import Summary

SEEDS = (3, 5, 10, 20, 50)
FACTORS = (1, 2, 5, 10)
"""Factors of the number of test samples."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Power of studies with other numbers of seeds and test samples.

    Attributes:
        comparison: Comparison of the pilot study.
        effect: Difference that is to be shown, in the measure of the study; the margin, if
            ``is_margin``.
        is_margin: Whether to show that the arm is not worse by the margin, if it is as good.
        seeds: Numbers of seeds.
        factors: Factors of the number of test samples.
        power: Power for each number of seeds and each factor.
        enough: Smallest number of seeds with a power of 80 %, for each factor; None if 100 are not
            enough.
    """

    comparison: Comparison
    effect: float
    is_margin: bool
    seeds: tuple[int, ...]
    factors: tuple[int, ...]
    power: tuple[tuple[float, ...], ...]
    enough: tuple[int | None, ...]


def plan_study(
    summary: Summary, *, arm: str | None = None, effect: object = None, margin: object = None
) -> Plan:
    """Plan a larger study from a finished one.

    Args:
        summary: Summary of the pilot study.
        arm: Name of the arm whose comparison is planned; by default that of the headline.
        effect: Difference to show, in the forms of a margin; by default the one that was seen.
        margin: Margin for which to plan a test that the arm is not worse; instead of ``effect``.

    Raises:
        ConfigError: If there is no comparison, variance or difference to plan with.
    """
    if effect is not None and margin is not None:
        raise ConfigError("Choose one of effect= (a difference to show) and margin= (not worse).")
    comparison = _comparison_of(summary, arm)
    parts = comparison.variances
    pilot_seeds = len(measure_of(summary).delta(comparison).per_seed or ())
    # Seeds of one split are not independent, so the test is one of splits with as many seeds each.
    pilot_splits = summary.splits or pilot_seeds
    if parts is None or pilot_splits < 2:
        raise ConfigError(
            f"The comparison of {comparison.arm} has no estimate of its variance: it has one seed, "
            "or an earlier version of limbeck made it. Run a pilot with seeds=3 or more."
        )
    variances = Variances(parts.seeds, parts.samples, parts.residual)
    name, value = ("effect", effect) if margin is None else ("margin", margin)
    amount = _amount(summary, comparison, name, value)

    def power_of(splits: int, factor: int) -> float:
        scaled = variances.scaled(seeds=splits / pilot_splits, samples=factor)
        compute = power if margin is None else power_within
        samples = parts.number_of_samples * factor
        return compute(amount * factor, scaled, seeds=splits, samples=samples)

    per_split = pilot_seeds // pilot_splits
    rows = sorted({pilot_splits, *SEEDS} - {1})
    enough = [
        smallest_with_power(SEEDS_TO_TRY, partial(power_of, factor=factor)) for factor in FACTORS
    ]
    return Plan(
        comparison=comparison,
        effect=amount,
        is_margin=margin is not None,
        seeds=tuple(number * per_split for number in rows),
        factors=FACTORS,
        power=tuple(tuple(power_of(number, factor) for factor in FACTORS) for number in rows),
        enough=tuple(None if number is None else number * per_split for number in enough),
    )


def _comparison_of(summary: Summary, arm: str | None) -> Comparison:
    if arm is None:
        if summary.main_comparison is None:
            raise ConfigError("The run compares no arms, so there is nothing to plan.")
        return summary.main_comparison
    for comparison in summary.comparisons:
        if comparison.arm == arm:
            return comparison
    names = ", ".join(dict.fromkeys(entry.arm for entry in summary.comparisons)) or "none"
    raise ConfigError(f"arm={arm} is compared with no control. Arms with a control: {names}.")


def _amount(summary: Summary, comparison: Comparison, name: str, value: object) -> float:
    """The difference or margin in the measure of the study."""
    measure = measure_of(summary)
    if value is None:
        difference = abs(measure.delta(comparison).mean)
        if difference == 0:
            raise ConfigError(
                "The pilot saw no difference, so there is none to plan for. Name one with effect=, "
                "or a margin= within which the arm should not be worse."
            )
        return difference
    margin = Margin.parse(value, name)
    margin.check(
        measure,
        samples=summary.data.test,
        has_teacher=summary.teacher is not None,
        name=name,
        min_errors=MIN_ERRORS if name == "margin" else 0,
    )
    amount = margin_of_study(margin, summary, measure)
    if amount is None:
        raise ConfigError(
            f"{name}={value} is a share of the gap between control and teacher, but the teacher is "
            "no better than the control. Use a number or a share of the test samples."
        )
    return amount
