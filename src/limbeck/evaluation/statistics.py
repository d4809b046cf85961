"""Intervals and tests of paired differences between an arm and its control.

Two things vary: the training (seeds) and the test samples. :func:`crossed_test` accounts for both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.05
MAX_SEGMENTS = 30
"""Maximum number of segments of the test text in the test.

Neighbouring tokens are not independent, and neither are neighbouring short segments. Fewer segments
are longer, and cost little power: the quantile of t grows from 1.98 for 100 of them to 2.05.
"""


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; None with fewer than two pairs."""

    mean: float
    ci95: tuple[float, float] | None


def paired_interval(differences: Sequence[float]) -> Interval:
    """Compute Student's t interval of the mean of paired differences.

    If all differences are equal, the interval has no width.

    Args:
        differences: One difference per seed, ``[S]``.

    Raises:
        ValueError: If there are no differences.
    """
    if len(differences) == 0:
        raise ValueError("paired_interval needs at least one difference.")
    values = np.asarray(differences, dtype=float)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, None)
    quantile = stats.t.ppf(1 - LEVEL / 2, len(values) - 1)
    half = float(quantile * values.std(ddof=1) / math.sqrt(len(values)))
    return Interval(mean, (mean - half, mean + half))


@dataclass(frozen=True)
class Variances:
    """Estimates of the variance of a mean difference, from three mean squares of a two-way layout.

    Attributes:
        seeds: Variance that follows from the sums of the seeds; includes the residual.
        samples: Variance that follows from the means of the samples; includes the residual.
        residual: Variance due to what neither the seed nor the sample explains.
    """

    seeds: float
    samples: float
    residual: float

    @property
    def total(self) -> float:
        """Variance of the mean difference. Seeds cannot contribute less than the residual."""
        return max(self.seeds, self.residual) + self.samples_alone

    @property
    def samples_alone(self) -> float:
        """Variance due to samples, without the residual."""
        return max(self.samples - self.residual, 0.0)

    def scaled(self, *, seeds: float = 1.0, samples: float = 1.0) -> "Variances":
        """Return the variances of a sum over other numbers of seeds and samples.

        Args:
            seeds: Factor of the number of seeds, over which the mean is taken.
            samples: Factor of the number of samples, over which the sum is taken.
        """
        residual = self.residual * samples / seeds
        seeds_alone = max(self.seeds - self.residual, 0.0) * samples**2 / seeds
        return Variances(
            seeds=seeds_alone + residual,
            samples=self.samples_alone * samples + residual,
            residual=residual,
        )


@dataclass(frozen=True)
class CrossedTest:
    """Test of a mean difference over seeds and test samples, both regarded as random.

    Attributes:
        mean: Mean over seeds of the sum over samples.
        ci95: Interval of the mean; None with fewer than two seeds or samples.
        p_value: Two-sided p-value; None with fewer than two seeds or samples.
        standard_error: Standard error of the mean; None as for ``p_value``.
        df: Degrees of freedom of the t distribution; None as for ``p_value``.
        variances: Estimates behind the standard error; None as for ``p_value``.
    """

    mean: float
    ci95: tuple[float, float] | None = None
    p_value: float | None = None
    standard_error: float | None = None
    df: float | None = None
    variances: Variances | None = None

    @classmethod
    def from_variances(
        cls, mean: float, variances: Variances, *, seeds: int, samples: int
    ) -> "CrossedTest":
        """Test a mean difference whose variances have been estimated.

        Args:
            mean: Mean difference.
            variances: Estimates of its variance.
            seeds: Number of seeds, at least 2.
            samples: Number of samples, at least 2.
        """
        error = math.sqrt(variances.total)
        if not math.isfinite(error):  # a model's outputs are not finite
            return cls(mean)
        if error == 0:
            p_value = 1.0 if mean == 0 else 0.0
            return cls(mean, (mean, mean), p_value, 0.0, math.inf, variances)
        df = degrees_of_freedom(variances, seeds, samples)
        half = float(stats.t.ppf(1 - LEVEL / 2, df)) * error
        p_value = 2 * float(stats.t.sf(abs(mean) / error, df))
        return cls(mean, (mean - half, mean + half), p_value, error, df, variances)


def crossed_test(differences: np.ndarray) -> CrossedTest:
    """Test whether the mean difference is 0, for other seeds and for other test samples alike.

    This is the analysis of Obuchowski and Rockette for readers who all judge the same cases, with
    seeds as readers and test samples as cases. The difference of seed s on sample i is the sum of
    a mean, an effect of the seed, an effect of the sample, and a residual. So the variance of the
    mean is the sum of a part due to seeds and a part due to samples, and t has the degrees of
    freedom of Hillis, of which there are few if the seeds dominate.

    The variance between few seeds is often underestimated by chance. Therefore the degrees of
    freedom are those at an upper bound of it, whose confidence falls from 80 % with two seeds to
    50 % with five and more. With it, at most 6 % of tests without a difference are below 0.05,
    whatever the shares of seeds, samples and residual (``benchmarks/false_alarms.py``).

    Args:
        differences: Difference of each seed and sample, ``[S, N]``.

    Returns:
        The test of the mean over seeds of the sum over samples. Interval and p-value agree: p is
        below 0.05 exactly if the interval does not contain 0.

    Raises:
        ValueError: If there are no differences.

    References:
        Obuchowski and Rockette, "Hypothesis testing of diagnostic accuracy for multiple readers and
        multiple tests: an ANOVA approach with dependent observations", 1995; Hillis, "A comparison
        of denominator degrees of freedom methods for multiple observer ROC analysis", 2007.
    """
    seeds, samples = differences.shape
    if seeds == 0:
        raise ValueError("crossed_test needs at least one seed.")
    mean = float(differences.sum(1).mean())
    if seeds < 2 or samples < 2:
        return CrossedTest(mean)
    variances = _variances(differences)
    return CrossedTest.from_variances(mean, variances, seeds=seeds, samples=samples)


def mean_by_split(differences: np.ndarray, splits: int) -> np.ndarray:
    """Average differences over the seeds of each training and validation split.

    Seeds of one split have a part of their difference in common, so that they are not independent,
    but their means are.

    Args:
        differences: Difference of each seed and sample, ``[S, N]``; each split has as many seeds,
            one after the other.
        splits: Number of splits, K; with one, seeds vary for the same split and are returned as
            they are.

    Returns:
        The differences ``[K, N]``, or ``[S, N]`` for one split.
    """
    if splits == 1:
        return differences
    return differences.reshape(splits, -1, differences.shape[1]).mean(1)


def _variances(differences: np.ndarray) -> Variances:
    """Estimate the parts of the variance from the mean squares of a two-way layout."""
    seeds, samples = differences.shape
    values = differences.astype(float)
    seed_sums, sample_means = values.sum(1), values.mean(0)
    residuals = values - sample_means - seed_sums[:, None] / samples + values.mean()
    residual = samples * float((residuals**2).sum()) / (seeds * (seeds - 1) * (samples - 1))
    return Variances(
        seeds=float(seed_sums.var(ddof=1)) / seeds,
        samples=samples * float(sample_means.var(ddof=1)),
        residual=residual,
    )


def degrees_of_freedom(variances: Variances, seeds: int, samples: int) -> float:
    """Compute degrees of freedom by Satterthwaite's formula, with an upper bound for the seeds."""
    quantile = min(seeds / 10, 0.5)
    factor = (seeds - 1) / float(stats.chi2.ppf(quantile, seeds - 1))
    of_seeds = max(factor * variances.seeds, variances.residual)
    uncertainty = of_seeds**2 / (seeds - 1) + variances.samples**2 / (samples - 1)
    return float((of_seeds + variances.samples_alone) ** 2 / uncertainty)


def mcnemar_exact(first_wrong: np.ndarray, second_wrong: np.ndarray) -> float:
    """Test with McNemar's exact two-sided test whether two models err equally often.

    Args:
        first_wrong: Whether the first model errs, bool ``[N]``.
        second_wrong: Whether the second model errs, bool ``[N]``.

    Returns:
        The p-value; 1 if the models never differ.

    References:
        McNemar, "Note on the sampling error of the difference between correlated proportions",
        1947.
    """
    only_first = int(np.sum(first_wrong & ~second_wrong))
    only_second = int(np.sum(second_wrong & ~first_wrong))
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second).pvalue)
