"""Claim: the verdict is wrong in at most 5 % of studies in which neither arm is better. 400
simulated studies a row.

Each of 1,000 test samples is answered wrongly where a sum of three normal draws passes 1.6: one of
arm and sample that every seed shares (share `shared` of the variance), one of arm, sample and seed,
and one of arm and seed (standard deviation `shift`). Compares the rule in use with the one that
asks of the interval over seeds alone. No clock.
"""

import argparse

import numpy as np

from limbeck.evaluation.verdict import (
    combine_p_values,
    mcnemar_exact,
    paired_interval,
    total_interval,
    verdict,
)


def study(rng: np.random.Generator, seeds: int, shared: float, shift: float) -> np.ndarray:
    """Which answers are wrong, ``[2, seeds, 1000]``, under the null hypothesis."""
    of_sample, of_answer = rng.normal(size=(2, 1, 1000)), rng.normal(size=(2, seeds, 1000))
    of_seed = rng.normal(size=(2, seeds, 1))
    return np.sqrt(shared) * of_sample + np.sqrt(1 - shared) * of_answer + shift * of_seed > 1.6


def main() -> None:
    parser = argparse.ArgumentParser(
        description="False alarms of the verdict under the null hypothesis."
    )
    parser.add_argument(
        "--short", action="store_true", help="a small version that only checks that it works"
    )
    studies = 10 if parser.parse_args().short else 400
    print("seeds  shared  shift   seeds alone   seeds and samples (in use)")
    for seeds in (5, 10):
        for shared in (0.5, 0.9, 1.0):
            for shift in (0.05, 0.1):
                rng = np.random.default_rng(1)
                alone = both = 0
                for _ in range(studies):
                    arm, control = study(rng, seeds, shared, shift)
                    p = combine_p_values(
                        [mcnemar_exact(a, c) for a, c in zip(arm, control, strict=True)]
                    )
                    differences = arm.astype(int) - control.astype(int)
                    alone += verdict(paired_interval(differences.sum(1)), p) != "not shown"
                    both += verdict(total_interval(differences), p) != "not shown"
                print(
                    f"{seeds:5}  {shared:6}  {shift:5}   {alone / studies:11.4f}   "
                    f"{both / studies:11.4f}"
                )


if __name__ == "__main__":
    main()
