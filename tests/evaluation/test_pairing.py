"""Comparison of arms of different runs."""

import numpy as np
import pytest

from limbeck.evaluation.pairing import ArmScores, compare_scores, pair_seeds
from limbeck.evaluation.statistics import crossed_test


def scores(name, wrong):
    """Scores of an arm from its errors by seed."""
    values = {seed: np.asarray(row, dtype=float) for seed, row in wrong.items()}
    return ArmScores(name, values, {seed: row.sum() for seed, row in values.items()})


@pytest.mark.parametrize(
    ("first", "second", "pairs"),
    [
        ([0, 1, 2], [2, 1, 0], [(0, 0), (1, 1), (2, 2)]),
        ([0, 1, 2], [2, 3, 4], [(0, 3), (1, 4), (2, 2)]),
        ([0, 1], [5, 6, 7], [(0, 5), (1, 6)]),
        ([0, 1, 2], [1], [(1, 1)]),
    ],
)
def test_equal_seeds_are_pairs_and_the_others_follow_in_order(first, second, pairs):
    assert pair_seeds(first, second) == pairs


def test_a_comparison_is_the_crossed_test_of_the_paired_differences():
    random = np.random.default_rng(0)
    first = {seed: random.random(200) < 0.2 for seed in range(4)}
    second = {seed: random.random(200) < 0.1 for seed in (3, 2, 1, 0)}
    comparison = compare_scores(scores("b", second), scores("a", first), "errors")
    expected = crossed_test(np.stack([second[s].astype(int) - first[s] for s in range(4)]))
    assert comparison.p_value == pytest.approx(expected.p_value, rel=1e-12)
    assert comparison.delta_errors.ci95_total == pytest.approx(expected.ci95)
    assert comparison.delta_errors.mean == pytest.approx(expected.mean)
    assert comparison.verdict == "helps"


def test_one_pair_of_seeds_gives_no_verdict():
    comparison = compare_scores(
        scores("b", {1: [0] * 50, 2: [0] * 50}), scores("a", {2: [1] * 50}), "errors"
    )
    assert comparison.delta_errors.per_seed == (-50,)
    assert comparison.p_value is None
    assert comparison.verdict == "not shown"


@pytest.mark.parametrize("common", [0, 3])
def test_false_alarms_are_rare_whichever_seeds_are_common(common):
    """Equal arms, whose students of equal seeds resemble each other."""
    random = np.random.default_rng(common)
    alarms, studies = 0, 400
    for _ in range(studies):
        difficulty, seeds = random.normal(-2, 1.5, 200), random.normal(0, 0.3, 12)

        def wrong(numbers, difficulty=difficulty, seeds=seeds):
            logits = difficulty + random.normal(0, 0.3, 200) + seeds[list(numbers), None]
            rows = random.random(logits.shape) < 1 / (1 + np.exp(-logits))
            return dict(zip(numbers, rows, strict=True))

        first, second = wrong(range(6)), wrong(range(6 - common, 12 - common))
        pairs = pair_seeds(first, second)
        test = crossed_test(np.stack([first[a].astype(int) - second[b] for a, b in pairs]))
        alarms += test.p_value < 0.05
    assert alarms / studies < 0.08  # 5 %, and three standard deviations
