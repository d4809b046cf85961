"""Claim: at most 5 % of studies call an arm ``not worse`` or ``equivalent`` that is worse by the
margin; in most conditions, at most 2.5 %. 2,000 simulated studies per row.

The studies are those of ``false_alarms.py``. The margin is the real difference between the arms, so
the arm is at the boundary: every verdict within the margin is a false one. The columns count
``not worse`` (which includes ``equivalent``) and ``equivalent``. Then both arms are equally good,
with a margin of the same size, and the share of verdicts is the power. No time is measured.

The first table takes normal differences with the mixture of variances that has most false verdicts.
"""

import itertools

import numpy as np
from false_alarms import (
    ERRORS,
    FEWER_ERRORS,
    Cell,
    Mixture,
    number_of_studies,
    studies,
    tests_of_mixture,
    worst_mixture,
)

from limbeck.evaluation.margin import ONE_SIDED_LEVEL, compare_with_margin
from limbeck.evaluation.statistics import crossed_test

FEWER_OF_500 = 15


def shares(cell: Cell, count: int, errors: tuple[int, int], margin: float) -> tuple[float, float]:
    """Compute the shares of studies that are not worse, and equivalent, within a margin."""
    verdicts = []
    for wrong in studies(cell, count, errors):
        test = crossed_test(wrong[0].astype(np.int8) - wrong[1].astype(np.int8))
        within = compare_with_margin(test, margin)
        assert within is not None
        verdicts.append((within.p_not_worse, within.p_equivalent))
    not_worse, equivalent = (np.array(verdicts) < ONE_SIDED_LEVEL).mean(0)
    return float(not_worse), float(equivalent)


def share_of_mixture(mixture: Mixture, seeds: int, count: int, *, seed: int) -> float:
    """Compute the share of ``not worse`` at the boundary, if differences are normal.

    Args:
        mixture: Variances due to seeds, samples and residual.
        seeds: Number of seeds.
        count: Number of simulated studies.
        seed: Seed of the random numbers.
    """
    margin = 50.0
    tests = tests_of_mixture(mixture, seeds, count, seed=seed, effect=margin)
    within = (compare_with_margin(test, margin) for test in tests)
    return sum(test is not None and test.p_not_worse < ONE_SIDED_LEVEL for test in within) / count


def main() -> None:
    """Print the tables."""
    count = number_of_studies("False verdicts and power within a margin.")
    print("seeds  most false verdicts  with variances of seeds, samples, residual")
    for seeds in (2, 3, 4, 5, 10):
        mixture = worst_mixture(share_of_mixture, seeds, count)
        share = share_of_mixture(mixture, seeds, 10 * count, seed=2)
        print(f"{seeds:5}  {share:19.4f}  {mixture}", flush=True)
    print()
    print("errors      samples  seeds  interaction  shift  not worse  equivalent")
    for samples, seeds in itertools.product(ERRORS, (2, 3, 5, 10)):
        many, few = ERRORS[samples], FEWER_ERRORS if samples > 500 else FEWER_OF_500
        for interaction, shift in itertools.product((0.0, 1.0), (0.02, 0.3)):
            cell = Cell(samples, seeds, interaction, shift)
            for errors in ((many, few), (many, many)):
                not_worse, equivalent = shares(cell, count, errors, many - few)
                print(
                    f"{errors[0]}, {errors[1]:<6}  {samples:7}  {seeds:5}  {interaction:11}"
                    f"  {shift:5}  {not_worse:9.4f}  {equivalent:10.4f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
