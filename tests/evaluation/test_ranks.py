"""Mean ranks across data sets."""

import numpy as np
import pytest
from scipy import stats

from limbeck.evaluation.ranks import critical_difference, groups_without_difference, rank_test

DEMSAR = """
4 3 2 1; 1 2 3 4; 4 1 2 3; 4 1 3 2; 4 2 3 1; 1 2.5 4 2.5; 3 2 4 1; 2.5 2.5 4 1; 4 3 2 1
2.5 2.5 2.5 2.5; 4 2.5 1 2.5; 3 2 4 1; 4 1 2 3; 3 1 4 2
"""
"""Ranks of four variants of C4.5 on 14 data sets: table 6 of Demsar 2006."""


def demsar():
    rows = DEMSAR.strip().replace("\n", ";").split(";")
    return np.array([[float(number) for number in row.split()] for row in rows])


def test_ranks_and_tests_are_those_of_demsar():
    test = rank_test(demsar())
    assert test.mean_ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert test.critical_difference == pytest.approx(1.25, abs=5e-3)
    # 9.28 is the published statistic, which does not correct for the ties
    assert 0.015 < test.p_value < stats.chi2.sf(9.28, 3)
    # Nemenyi's test "is not powerful enough" for any pair: the largest difference is 1.18
    assert groups_without_difference(test.mean_ranks, test.critical_difference) == [[3, 1, 2, 0]]


@pytest.mark.parametrize(
    ("arms", "quantile"),
    [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (8, 3.031), (10, 3.164)],
)
def test_the_critical_difference_uses_the_published_quantiles(arms, quantile):
    """Table 5a of Demsar 2006."""
    factor = np.sqrt(arms * (arms + 1) / (6 * 20))
    assert critical_difference(arms, 20) == pytest.approx(quantile * factor, abs=1e-3 * factor)


def test_two_arms_are_compared_by_signs():
    values = np.array([[1, 2]] * 6 + [[3, 3]])
    assert rank_test(values).p_value == pytest.approx(2 / 2**6)
    assert rank_test(values[-1:]).p_value == 1.0


def test_pairs_differ_only_if_the_test_of_all_arms_is_significant():
    """With four data sets that agree, Nemenyi's difference is below 1, but p is 0.125."""
    four, six = rank_test(np.array([[1, 2]] * 4)), rank_test(np.array([[1, 2]] * 6))
    assert four.critical_difference < 1
    assert groups_without_difference(four.mean_ranks, four.least_difference) == [[0, 1]]
    assert six.least_difference == six.critical_difference


def test_equal_arms_differ_nowhere():
    test = rank_test(np.ones((4, 3)))
    assert test.p_value == 1.0
    assert test.mean_ranks == pytest.approx([2, 2, 2])


def test_groups_are_the_longest_ones():
    assert groups_without_difference([1, 1.5, 2.4, 4], 1) == [[0, 1], [1, 2]]
    assert groups_without_difference([3, 1, 2], 5) == [[1, 2, 0]]
    assert groups_without_difference([1, 3], 1) == []
