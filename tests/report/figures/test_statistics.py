import numpy as np
import pytest
from scipy.stats import t as student_t
from sklearn.metrics import recall_score

from limbeck.report.figures.predictions import Predictions, predict
from limbeck.report.figures.statistics import (
    mean_recall,
    pooled_bins,
    recall,
    reliability_bins,
    t_interval,
)

random = np.random.default_rng(5)
LABELS = random.integers(0, 4, 300)
LOGITS = 2 * np.eye(4)[LABELS] + random.normal(size=(3, 300, 4))
STUDENTS = [predict(logits) for logits in LOGITS]


def test_recall_equals_that_of_scikit_learn():
    tops = LOGITS.argmax(2)
    expected = np.mean([recall_score(LABELS, top, average=None) for top in tops], axis=0)
    values = mean_recall(Predictions(LABELS, classes=4), STUDENTS)
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert 0 < values.min() < values.max() < 1


def test_recall_of_a_class_without_samples_is_unknown():
    values = recall(np.array([0, 0, 2]), np.array([0, 1, 2]), 4)
    np.testing.assert_array_equal(values, [0.5, np.nan, 1.0, np.nan])


def test_bins_equal_a_direct_computation():
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(2, keepdims=True)
    confidence, is_right = p.max(2).ravel(), (LOGITS.argmax(2) == LABELS).ravel()
    bins = pooled_bins(LABELS, STUDENTS)
    ece = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        assert bins.share[i] == pytest.approx(inside.mean())
        if not inside.any():
            assert np.isnan(bins.accuracy[i])
            continue
        assert bins.confidence[i] == pytest.approx(confidence[inside].mean())
        assert bins.accuracy[i] == pytest.approx(is_right[inside].mean())
        ece += inside.mean() * abs(confidence[inside].mean() - is_right[inside].mean())
    assert bins.ece == pytest.approx(ece)
    assert ece > 0.001


def test_bins_contain_their_upper_edge():
    confidence = np.array([0.0, 0.5, 0.51, 1.0])
    bins = reliability_bins(confidence, np.array([False, True, False, True]), bins=2)
    np.testing.assert_allclose(bins.share, [0.5, 0.5])
    np.testing.assert_allclose(bins.accuracy, [0.5, 0.5])
    np.testing.assert_allclose(bins.confidence, [0.25, 0.755])


def test_the_t_interval_equals_that_of_scipy():
    values = [1.0, 2.0, 3.5, 7.0]
    error = np.std(values, ddof=1) / 2
    expected = student_t.interval(0.95, df=3, loc=np.mean(values), scale=error)
    assert t_interval(values) == pytest.approx(expected, rel=1e-12)
    assert t_interval([5.0]) is None
