"""Corrections for several comparisons, by hand, by definition and in simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from support.summaries import make_comparison

from limbeck.evaluation.multiple_tests import benjamini_hochberg, correct_comparisons, holm


@pytest.mark.parametrize(
    ("p_values", "want"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # the example of R's p.adjust
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm_by_hand(p_values, want):
    assert holm(p_values) == pytest.approx(want)


def test_holm_is_the_closed_test_of_bonferroni():
    """A hypothesis is rejected if each set of hypotheses with it is, by Bonferroni's test."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        p = rng.random(4) ** 3
        for index, adjusted in enumerate(holm(p.tolist())):
            sets = [
                subset
                for size in range(1, 5)
                for subset in itertools.combinations(range(4), size)
                if index in subset
            ]
            largest = max(min(1.0, len(one) * min(p[list(one)])) for one in sets)
            assert adjusted == pytest.approx(largest)


def test_benjamini_hochberg_by_hand():
    assert benjamini_hochberg([]) == []
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])


def compared(*p_values, main=0):
    return [
        make_comparison(
            f"arm{number}",
            "hard",
            p_value=p,
            main=number == main,
            verdict="helps" if p is not None and p < 0.05 else "not shown",
        )
        for number, p in enumerate(p_values)
    ]


def test_all_verdicts_but_the_headline_follow_from_holm():
    corrected = correct_comparisons(compared(0.04, 0.03, 0.001, None, 0.5, main=0))
    assert [entry.verdict for entry in corrected] == [
        "helps",
        "not shown",
        "helps",
        "not shown",
        "not shown",
    ]
    assert [entry.p_holm for entry in corrected] == pytest.approx([0.09, 0.09, 0.004, None, 0.5])
    assert corrected[2].p_bh == pytest.approx(0.004)
    assert [entry.p_value for entry in corrected] == [0.04, 0.03, 0.001, None, 0.5]


@pytest.mark.parametrize("p_values", [(), (0.04,), (0.04, None)])
def test_a_single_test_is_not_corrected(p_values):
    comparisons = compared(*p_values)
    assert correct_comparisons(comparisons) == comparisons


def test_false_alarms_among_many_comparisons_are_rare():
    """Ten comparisons with the same control; tolerance: 3 binomial standard errors."""
    studies, rng = 2000, np.random.default_rng(0)
    shared = rng.normal(size=(studies, 1))
    z = (shared + rng.normal(size=(studies, 10))) / math.sqrt(2)
    p = 2 * stats.norm.sf(np.abs(z))
    alarms = np.mean([min(holm(row.tolist())) < 0.05 for row in p])
    assert alarms <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)
    assert np.mean((p < 0.05).any(1)) > 0.2  # without a correction
