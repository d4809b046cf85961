"""Claim: answers above a guaranteed confidence break the promised error rate in at most 5 % of
studies. 1,000 simulated validation splits of 1,000 samples per row.

The probability of an error is a multiple of the missing confidence: 1 for a calibrated classifier,
less for an underconfident and more for an overconfident one. No time is measured.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.answers import draw, real_error_rate

from limbeck.evaluation.abstention import safe_threshold

ROWS = ((0.05, 0.5), (0.05, 1.0), (0.02, 1.0), (0.05, 1.9))
"""Promised error rate, and overconfidence."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="How often a guaranteed error rate is broken.")
    parser.add_argument(
        "--short",
        action="store_true",
        help="a small version that only checks that the script works",
    )
    count = 4 if parser.parse_args().short else 1000
    print("error rate  overconfidence  broken  no threshold")
    for error_rate, overconfidence in ROWS:
        rng = np.random.default_rng(0)
        splits = (draw(rng, 1000, overconfidence) for _ in range(count))
        thresholds = [safe_threshold(answers, error_rate) for answers in splits]
        real = [real_error_rate(t, overconfidence) for t in thresholds if t is not None]
        broken = sum(rate > error_rate for rate in real) / count
        missing = thresholds.count(None) / count
        print(f"{error_rate:10}  {overconfidence:14}  {broken:6.3f}  {missing:12.3f}", flush=True)


if __name__ == "__main__":
    main()
