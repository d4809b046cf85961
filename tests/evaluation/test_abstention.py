"""Thresholds of confidence, and the guarantee of the error rate above them."""

import numpy as np
import pytest
from scipy import stats
from support.answers import draw, real_error_rate

from limbeck.evaluation.abstention import GRID, Answers, answers_of, error_bound, safe_threshold


def test_the_bound_is_that_of_the_exact_binomial_test():
    for errors, answers in ((0, 299), (3, 500), (40, 41)):
        want = stats.binomtest(errors, answers, alternative="less").proportion_ci(0.95).high
        assert error_bound(np.array(errors), np.array(answers)) == pytest.approx(want)
    assert error_bound(np.array([0, 5]), np.array([0, 5])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("error_rate", "overconfidence", "studies"),
    [
        (0.05, 1.0, 250),
        pytest.param(0.05, 0.5, 1000, marks=pytest.mark.slow),
        pytest.param(0.05, 1.0, 1000, marks=pytest.mark.slow),
        pytest.param(0.02, 1.0, 1000, marks=pytest.mark.slow),
        pytest.param(0.05, 1.9, 1000, marks=pytest.mark.slow),
    ],
)
def test_the_guarantee_holds_in_simulated_studies(error_rate, overconfidence, studies):
    """Nominal: 5 % of the studies; tolerance: three standard errors."""
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(studies):
        threshold = safe_threshold(draw(rng, 1000, overconfidence), error_rate)
        if threshold is not None:
            broken += real_error_rate(threshold, overconfidence) > error_rate
    assert broken / studies <= 0.05 + 3 * (0.05 * 0.95 / studies) ** 0.5


def test_the_guarantee_holds_for_the_best_of_several_models():
    """Without the correction, the best of 20 equal models often breaks it."""
    rng = np.random.default_rng(1)
    broken = {1: 0, 20: 0}
    for _ in range(100):
        models = [draw(rng, 500, 1.9) for _ in range(20)]
        best = min(models, key=lambda model: model.wrong.sum())
        for candidates in broken:
            threshold = safe_threshold(best, 0.18, candidates=candidates)
            if threshold is not None:
                broken[candidates] += real_error_rate(threshold, 1.9) > 0.18
    assert broken[20] / 100 <= 0.05 + 3 * 0.0218
    assert broken[1] / 100 > 0.2


def test_the_threshold_is_the_lowest_before_a_failure():
    """By a plain loop over the grid."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        answers = draw(rng, 800)
        want = None
        for threshold in GRID:
            errors, number = answers.errors_above(threshold)
            if error_bound(np.array(0), np.array(number)) > 0.03:
                continue
            if error_bound(np.array(errors), np.array(number)) > 0.03:
                break
            want = threshold
        assert safe_threshold(answers, 0.03) == want


def test_a_model_without_errors_answers_all_or_nothing():
    sure = Answers(np.linspace(0.2, 1, 1000), np.zeros(1000, bool))
    assert safe_threshold(sure, 0.01) == 0.0
    assert safe_threshold(sure, 0.001) is None  # 1,000 samples are too few
    assert safe_threshold(Answers(np.ones(9), np.ones(9, bool)), 0.5) is None
    assert safe_threshold(Answers(np.zeros(0), np.zeros(0, bool)), 0.5) is None


def test_confidence_is_the_softmax_of_the_divided_logits():
    answers = answers_of(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([0, 0]), 2.0)
    assert answers.confidence == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-2))])
    assert answers.wrong.tolist() == [False, True]
    assert answers.errors_above(0.8) == (1, 1)
