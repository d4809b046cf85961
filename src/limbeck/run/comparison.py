"""A comparison of two arms: the records of ``comparisons`` in ``summary.json``."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from limbeck.run.records import optional

Verdict = Literal["helps", "hurts", "equivalent", "not worse", "not shown"]
MarginVerdict = Literal["equivalent", "not worse", "worse", "not shown"]
"""Outcome of a test within a margin."""
Interval: TypeAlias = tuple[float, float]
"""Lower and upper bound of a 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Delta:
    """Paired differences, arm minus control.

    Attributes:
        mean: Mean over seeds.
        ci95: 95 % interval over seeds, for these test samples; None with one seed.
        ci95_total: 95 % interval over seeds and test samples, on which the verdict is based; None
            where it is unknown.
        per_seed: Difference of each seed.
    """

    mean: float
    ci95: Interval | None
    ci95_total: Interval | None = None
    per_seed: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GapClosed:
    """Share of the gap between control and teacher that the arm closes.

    Attributes:
        errors: Share of the gap in errors; None without a teacher that is better than the control.
        nll: Share of the gap in NLL; None as for ``errors``.
        nll_ci95: 95 % interval of ``nll`` over seeds.
        squared_error: Share of the gap in the squared error, of a regression.
        squared_error_ci95: 95 % interval of ``squared_error`` over seeds.
        label_errors: Share of the gap in wrong labels, of models of several labels.
        label_errors_ci95: 95 % interval of ``label_errors`` over seeds.
        missed_neighbours: Share of the gap in missed neighbours, of embeddings.
        missed_neighbours_ci95: 95 % interval of ``missed_neighbours`` over seeds.
    """

    errors: float | None
    nll: float | None
    nll_ci95: Interval | None = None
    squared_error: float | None = optional()
    squared_error_ci95: Interval | None = optional()
    label_errors: float | None = optional()
    label_errors_ci95: Interval | None = optional()
    missed_neighbours: float | None = optional()
    missed_neighbours_ci95: Interval | None = optional()


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What would show a difference as large as the one seen, in four of five studies.

    Attributes:
        power: Probability with which the study itself would have shown it.
        seeds: Number of seeds, with the same test samples; None if 100 are not enough.
        samples_factor: Factor of the number of test samples, with the same seeds; None if 1,000
            times as many are not enough.
    """

    power: float
    seeds: int | None
    samples_factor: float | None


@dataclass(frozen=True, kw_only=True)
class VarianceParts:
    """Estimates of the variance of a mean difference, from the mean squares of a two-way layout.

    Attributes:
        seeds: Variance that follows from the sums of the seeds; includes the residual.
        samples: Variance that follows from the means of the samples; includes the residual.
        residual: Variance due to what neither the seed nor the sample explains.
        number_of_samples: Number of test samples, or of segments of the test text.
    """

    seeds: float
    samples: float
    residual: float
    number_of_samples: int


@dataclass(frozen=True, kw_only=True)
class MarginTest:
    """One-sided tests whether a difference is smaller than the margin of the study.

    Each is significant if its p-value is below 0.025, as is customary for such tests. So a single
    test agrees with the 95 % interval.

    Attributes:
        p_equivalent: The p-value of the hypothesis that the difference is as large as the margin,
            in either direction.
        p_not_worse: The p-value of the hypothesis that the arm is worse by the margin or more.
        p_worse: The p-value of the hypothesis that it is worse by the margin at most.
    """

    p_equivalent: float
    p_not_worse: float
    p_worse: float


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """Test whether an arm can replace the teacher, or a larger student, within the margin.

    Attributes:
        arm: Name of the arm.
        reference: Name of the arm with the larger student; None for the teacher.
        delta: Difference, arm minus reference, in the measure of the study.
        ci95: 95 % interval of the difference over seeds and test samples.
        margin_test: Test within the margin, with Holm's correction for the number of arms that are
            compared with the same reference.
        verdict: Outcome of the test.
    """

    arm: str
    reference: str | None
    delta: float
    ci95: Interval
    margin_test: MarginTest
    verdict: MarginVerdict


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An arm compared with its control over the same seeds and test samples.

    Attributes:
        how: Method that set the constants of both arms; None without constants.
        arm: Name of the arm.
        control: Name of its control.
        delta_errors: Difference in test errors, if there are classes.
        delta_bits_per_byte: Difference in bits per byte, if the data is text.
        delta_squared_error: Difference in the squared error, of a regression.
        delta_label_errors: Difference in wrong labels, of models of several labels.
        delta_missed_neighbours: Difference in missed neighbours, of embeddings.
        mcnemar_by_seed: The p-values of McNemar's test of each seed, unless the data is text. They
            describe the seeds; the verdict does not depend on them.
        mcnemar_p: The p-value that versions before 0.2 combined from those of McNemar's test.
        p_value: The p-value of the test over seeds and test samples (segments of text, if the data
            is text), on which the verdict is based; None with one seed.
        p_holm: The p-value with Holm's correction for the number of comparisons, if there are
            several. The verdict is based on it, except that of the headline.
        p_bh: The p-value with the correction of Benjamini and Hochberg, if there are several.
        needed: Seeds and test samples that would be enough, if the verdict is ``not shown``.
        variances: Parts of the variance of the mean difference; None with one seed.
        margin_test: Test within the margin, if the study has one.
        gap_closed: Share of the gap to the teacher that the arm closes.
        verdict: Outcome of the comparison.
        main: Whether this comparison is the headline; None in ``adjusted_comparisons``.
    """

    how: str | None = optional()
    arm: str
    control: str
    delta_errors: Delta | None = optional()
    delta_bits_per_byte: Delta | None = optional()
    delta_squared_error: Delta | None = optional()
    delta_label_errors: Delta | None = optional()
    delta_missed_neighbours: Delta | None = optional()
    mcnemar_by_seed: tuple[float, ...] | None = optional()
    mcnemar_p: float | None = optional()
    p_value: float | None = None
    p_holm: float | None = optional()
    p_bh: float | None = optional()
    needed: Needed | None = optional()
    variances: VarianceParts | None = optional()
    margin_test: MarginTest | None = optional()
    gap_closed: GapClosed
    verdict: Verdict
    main: bool | None = optional()
