"""Claim: at most 6 % of studies in which neither arm is better get a verdict, and a real gain of
22 % fewer errors is shown by most studies of five seeds. 2,000 simulated studies per row.

A study has two arms, S seeds and N test samples. The logit of an error is the sum of a constant,
the difficulty of the sample (the same for both arms), an interaction of arm and sample (the same
for all seeds), and an effect of arm and seed, all normal. Given the logits, errors are independent.
The error rate is 5 % of 500 samples and 0.62 % of 10,000. In the rows with a gain, the second arm
errs on 48 samples instead of 62, on average.

The first table takes a simpler model, normal differences of many samples, and searches all
mixtures of the variances of seeds, samples and residual for the one with the most false alarms.

The last table adds an effect of arm and split to studies whose seeds are spread over several
training and validation splits. The test takes the mean of each split; beside it stands what it
would do if it took all seeds for independent.

The rule in use is compared with that of versions before 0.2: an interval over seeds and samples
without 0, and Rueger's bound on the p-values of McNemar's test of each seed below 0.05. No time is
measured.
"""

import argparse
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import special, stats

from limbeck.evaluation.statistics import (
    LEVEL,
    CrossedTest,
    Variances,
    crossed_test,
    mean_by_split,
    paired_interval,
)

DIFFICULTY = 5.0
"""Standard deviation of the samples' difficulty."""
ERRORS = {500: 25, 10_000: 62}
"""Mean number of errors by the number of test samples."""
FEWER_ERRORS = 48
MANY_SAMPLES = 1_000_000
Mixture: TypeAlias = tuple[float, float, float]
"""Variances of seeds, samples and residual."""
ShareOf: TypeAlias = Callable[..., float]
MAX_VALUES = 1 << 22
"""Number of simulated predictions in memory at once."""


@dataclass(frozen=True)
class Cell:
    """Conditions of simulated studies.

    Attributes:
        samples: Number of test samples.
        seeds: Number of seeds.
        interaction: Standard deviation of the interaction of arm and sample.
        shift: Standard deviation of the effect of arm and seed.
        splits: Number of training and validation splits, over which the seeds are spread.
        split_shift: Standard deviation of the effect of arm and split.
    """

    samples: int
    seeds: int
    interaction: float
    shift: float
    splits: int = 1
    split_shift: float = 0.0


def constant_of(rate: float, cell: Cell) -> float:
    """Compute the constant logit that leads to an error rate, by bisection."""
    parts = (DIFFICULTY, cell.interaction, cell.shift, cell.split_shift)
    spread = math.hypot(*parts)
    points, weights = np.polynomial.hermite_e.hermegauss(201)
    weights = weights / weights.sum()
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        mean = float(weights @ special.expit(middle + spread * points))
        low, high = (middle, high) if mean < rate else (low, middle)
    return low


def studies(cell: Cell, count: int, errors: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield which predictions are wrong, bool ``[2, S, N]``, for each simulated study.

    Args:
        cell: Conditions of the studies.
        count: Number of studies.
        errors: Mean number of errors of each arm.
    """
    rng = np.random.default_rng(1)
    constants = np.array([constant_of(number / cell.samples, cell) for number in errors])
    at_once = max(1, MAX_VALUES // (2 * cell.seeds * cell.samples))

    def normal(scale: float, *shape: int) -> np.ndarray:
        return scale * rng.standard_normal(shape, dtype=np.float32)

    for start in range(0, count, at_once):
        number = min(at_once, count - start)
        logits = (
            constants.astype(np.float32)[:, None, None]
            + normal(DIFFICULTY, number, 1, 1, cell.samples)
            + normal(cell.interaction, number, 2, 1, cell.samples)
            + normal(cell.shift, number, 2, cell.seeds, 1)
        )
        if cell.splits > 1:
            of_split = normal(cell.split_shift, number, 2, cell.splits, 1)
            logits += of_split.repeat(cell.seeds // cell.splits, axis=2)
        yield from rng.random(logits.shape, dtype=np.float32) < special.expit(logits)


def is_shown(wrong: np.ndarray) -> bool:
    """Whether the rule in use gives a verdict."""
    p_value = crossed_test(wrong[1].astype(np.int8) - wrong[0].astype(np.int8)).p_value
    return p_value is not None and p_value < LEVEL


def is_shown_by_splits(wrong: np.ndarray, splits: int) -> bool:
    """Whether the rule in use gives a verdict, with the mean of each split."""
    differences = wrong[1].astype(np.int8) - wrong[0].astype(np.int8)
    p_value = crossed_test(mean_by_split(differences, splits)).p_value
    return p_value is not None and p_value < LEVEL


def was_shown(wrong: np.ndarray) -> bool:
    """Whether the rule of versions before 0.2 gives a verdict."""
    differences = wrong[1].astype(int) - wrong[0].astype(int)
    seeds, samples = differences.shape
    over_seeds = paired_interval(differences.sum(1).tolist())
    assert over_seeds.ci95 is not None
    variance = samples * float(differences.mean(0).var(ddof=1))
    quantile = float(stats.norm.ppf(1 - LEVEL / 2))
    half = math.hypot(over_seeds.ci95[1] - over_seeds.mean, quantile * math.sqrt(variance))
    better, worse = (differences < 0).sum(1), (differences > 0).sum(1)
    p_values = 2 * stats.binom.cdf(np.minimum(better, worse), better + worse, 0.5)
    middle = math.ceil(seeds / 2)
    combined = seeds / middle * np.sort(np.minimum(p_values, 1.0))[middle - 1]
    return bool(abs(over_seeds.mean) > half and combined < LEVEL)


def shares(cell: Cell, count: int, errors: tuple[int, int]) -> tuple[float, float]:
    """Compute the share of studies with a verdict, by the rule in use and by the earlier one."""
    verdicts = [(is_shown(wrong), was_shown(wrong)) for wrong in studies(cell, count, errors)]
    in_use, earlier = np.mean(verdicts, axis=0)
    return float(in_use), float(earlier)


def worst_mixture(share_of: ShareOf, seeds: int, count: int) -> Mixture:
    """Search the mixture with the highest share of false verdicts.

    Args:
        share_of: Function that computes the share for a mixture, ``seeds``, ``count`` and ``seed``.
        seeds: Number of seeds.
        count: Number of simulated studies.
    """
    mixtures = itertools.product((0.0, 0.3, 3.0, 100.0), (0.0, 0.3, 3.0), (0.0, 0.5))
    possible = [mixture for mixture in mixtures if mixture[0] + mixture[2] > 0]
    return max(possible, key=lambda mixture: share_of(mixture, seeds, count, seed=1))


def alarms_of_mixture(mixture: Mixture, seeds: int, count: int, *, seed: int) -> float:
    """Compute the share of false alarms if differences are normal, with many samples.

    Args:
        mixture: Variances due to seeds, samples and residual.
        seeds: Number of seeds.
        count: Number of simulated studies.
        seed: Seed of the random numbers.
    """
    tests = tests_of_mixture(mixture, seeds, count, seed=seed, effect=0.0)
    return sum(test.p_value is not None and test.p_value < LEVEL for test in tests) / count


def tests_of_mixture(
    mixture: Mixture, seeds: int, count: int, *, seed: int, effect: float
) -> Iterator[CrossedTest]:
    """Yield the tests of studies whose differences are normal, with this real mean."""
    rng = np.random.default_rng(seed)
    of_seeds, of_samples, residual = mixture
    estimates = (of_seeds + residual) * rng.chisquare(seeds - 1, count) / (seeds - 1)
    means = effect + math.sqrt(of_seeds + of_samples + residual) * rng.standard_normal(count)
    for mean, estimate in zip(means, estimates, strict=True):
        variances = Variances(estimate, of_samples + residual, residual)
        yield CrossedTest.from_variances(mean, variances, seeds=seeds, samples=MANY_SAMPLES)


def number_of_studies(description: str) -> int:
    """Return the number of studies per row that the command line asks for.

    Args:
        description: Description of the script, for its help.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--short",
        action="store_true",
        help="a small version that only checks that the script works",
    )
    return 4 if parser.parse_args().short else 2000


def main() -> None:
    count = number_of_studies("False alarms and power of the verdict.")
    print("seeds  most false alarms  with variances of seeds, samples, residual")
    for seeds in (2, 3, 4, 5, 10):
        mixture = worst_mixture(alarms_of_mixture, seeds, count)
        share = alarms_of_mixture(mixture, seeds, 10 * count, seed=2)
        print(f"{seeds:5}  {share:17.4f}  {mixture}", flush=True)
    print()
    print("errors      samples  seeds  interaction  shift   in use  before 0.2")
    highest = 0.0
    for samples, seeds in itertools.product(ERRORS, (2, 3, 5, 10)):
        for interaction, shift in itertools.product((0.0, 1.0), (0.02, 0.1, 0.3)):
            cell = Cell(samples, seeds, interaction, shift)
            number = ERRORS[samples]
            in_use = print_row(cell, count, (number, number))
            highest = max(highest, in_use)
    for seeds, interaction in itertools.product((2, 3, 5, 10), (0.0, 0.5, 1.0)):
        print_row(Cell(10_000, seeds, interaction, 0.05), count, (62, FEWER_ERRORS))
    print(f"most false alarms of the rule in use: {highest:.2%}")
    print()
    print("samples  seeds  splits  interaction  split shift   in use  as if independent")
    highest = 0.0
    spreads = ((5, 5), (10, 10), (10, 5), (20, 5), (9, 3))
    for samples, (seeds, splits) in itertools.product(ERRORS, spreads):
        for interaction, split_shift in itertools.product((0.0, 1.0), (0.1, 0.3)):
            cell = Cell(samples, seeds, interaction, 0.1, splits, split_shift)
            highest = max(highest, print_row_of_splits(cell, count))
    print(f"most false alarms with several splits: {highest:.2%}")


def print_row(cell: Cell, count: int, errors: tuple[int, int]) -> float:
    """Print the shares of one cell; returns that of the rule in use."""
    in_use, earlier = shares(cell, count, errors)
    name = f"{errors[0]}, {errors[1]}"
    print(
        f"{name:10}  {cell.samples:7}  {cell.seeds:5}  {cell.interaction:11}  {cell.shift:5}"
        f"  {in_use:7.4f}  {earlier:10.4f}",
        flush=True,
    )
    return in_use


def print_row_of_splits(cell: Cell, count: int) -> float:
    """Print the false alarms of one cell with splits; returns those of the rule in use."""
    number = ERRORS[cell.samples]
    verdicts = [
        (is_shown_by_splits(wrong, cell.splits), is_shown(wrong))
        for wrong in studies(cell, count, (number, number))
    ]
    in_use, independent = map(float, np.mean(verdicts, axis=0))
    print(
        f"{cell.samples:7}  {cell.seeds:5}  {cell.splits:6}  {cell.interaction:11}"
        f"  {cell.split_shift:11}  {in_use:7.4f}  {independent:17.4f}",
        flush=True,
    )
    return in_use


if __name__ == "__main__":
    main()
