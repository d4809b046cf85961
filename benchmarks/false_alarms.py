"""Claim: the verdict is wrong in at most 5 % of studies in which neither arm is better. 400
simulated studies per row.

A prediction for one of 1,000 test samples is wrong if the sum of three normal variables is above
1.6: one for arm and sample, which all seeds share (a share ``shared`` of the variance); one for
arm, sample and seed; and one for arm and seed (standard deviation ``shift``). The rule in use is
compared with one that uses only the interval over seeds. No time is measured.
"""

import argparse
import itertools

import numpy as np

from limbeck.evaluation.statistics import (
    combine_p_values,
    mcnemar_exact,
    paired_interval,
    total_interval,
)
from limbeck.evaluation.verdict import verdict


def study(rng: np.random.Generator, seeds: int, shared: float, shift: float) -> np.ndarray:
    """Simulate which predictions are wrong under the null hypothesis, bool ``[2, seeds, 1000]``."""
    by_sample = rng.normal(size=(2, 1, 1000))
    by_answer = rng.normal(size=(2, seeds, 1000))
    by_seed = rng.normal(size=(2, seeds, 1))
    return np.sqrt(shared) * by_sample + np.sqrt(1 - shared) * by_answer + shift * by_seed > 1.6


def false_alarms(studies: int, seeds: int, shared: float, shift: float) -> tuple[float, float]:
    """Return the share of verdicts by the interval over seeds alone, and by the rule in use."""
    rng = np.random.default_rng(1)
    seeds_alone = in_use = 0
    for _ in range(studies):
        arm, control = study(rng, seeds, shared, shift)
        p_values = [mcnemar_exact(a, c) for a, c in zip(arm, control, strict=True)]
        p = combine_p_values(p_values)
        differences = arm.astype(int) - control.astype(int)
        seeds_alone += verdict(paired_interval(differences.sum(1)), p) != "not shown"
        in_use += verdict(total_interval(differences), p) != "not shown"
    return seeds_alone / studies, in_use / studies


def main() -> None:
    parser = argparse.ArgumentParser(
        description="False alarms of the verdict under the null hypothesis."
    )
    parser.add_argument(
        "--short",
        action="store_true",
        help="a small version that only checks that the script works",
    )
    studies = 10 if parser.parse_args().short else 400
    print("seeds  shared  shift   seeds alone   seeds and samples (in use)")
    for seeds, shared, shift in itertools.product((5, 10), (0.5, 0.9, 1.0), (0.05, 0.1)):
        seeds_alone, in_use = false_alarms(studies, seeds, shared, shift)
        print(f"{seeds:5}  {shared:6}  {shift:5}   {seeds_alone:11.4f}   {in_use:11.4f}")


if __name__ == "__main__":
    main()
