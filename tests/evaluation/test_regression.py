"""Metrics of regressions are scikit-learn's, and their comparison is a test over samples."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from support.tensors import randn

from limbeck.evaluation.comparison import GapSeeds, compare_samples
from limbeck.evaluation.regression import regression_metrics, squared_errors

SCALE = [2.0, 0.5, 30.0]


@pytest.mark.parametrize("targets", [1, 3])
def test_metrics_are_scikit_learns(targets):
    y, z, scale = randn(40, targets), randn(40, targets, seed=1), SCALE[:targets]
    metrics = regression_metrics(z, y, None, scale)
    mse = mean_squared_error(y / torch.tensor(scale), z / torch.tensor(scale))
    assert metrics.squared_error == pytest.approx(mse, rel=1e-12)
    assert metrics.r_squared == pytest.approx(r2_score(y, z), rel=1e-12)
    unit = torch.tensor([1.0] if targets == 1 else scale, dtype=torch.float64)
    assert metrics.mae == pytest.approx(mean_absolute_error(y / unit, z / unit), rel=1e-12)
    assert metrics.rmse == pytest.approx(math.sqrt(mean_squared_error(y / unit, z / unit)))
    assert metrics.distance_to_teacher is None


def test_the_distance_to_the_teacher_is_in_the_unit_of_the_squared_error():
    y, z, v = (randn(40, 3, seed=seed) for seed in range(3))
    metrics = regression_metrics(z, y, v, SCALE)
    assert metrics.distance_to_teacher == regression_metrics(z, v, None, SCALE).squared_error


def test_predicting_the_mean_has_a_squared_error_of_one():
    y = randn(1000, 1, scale=50.0) + 300
    scale = y.std(0, correction=0).tolist()
    mean = y.mean(0).expand_as(y)
    assert regression_metrics(mean, y, None, scale).squared_error == pytest.approx(1)


def test_values_that_are_not_finite_have_no_metrics():
    y = randn(10, 1)
    metrics = regression_metrics(torch.full_like(y, torch.nan), y, None, [1.0])
    assert metrics.squared_error is None
    assert metrics.r_squared is None


def test_with_equal_seeds_the_test_is_students_over_samples():
    rng = np.random.default_rng(0)
    arm, control = rng.random(50), rng.random(50) + 0.1
    differences = np.stack([arm - control] * 2) / 50
    gap = GapSeeds(arm=[arm.mean()] * 2, control=[control.mean()] * 2, teacher=0.2)
    comparison = compare_samples("soft", "hard", differences, "squared_error", gap)
    delta = comparison.delta_squared_error
    assert comparison.p_value == pytest.approx(stats.ttest_rel(arm, control).pvalue, rel=1e-6)
    assert delta.mean == pytest.approx((arm - control).mean())
    assert delta.per_seed == pytest.approx([(arm - control).mean()] * 2)
    assert comparison.delta_errors is None
    share = (control.mean() - arm.mean()) / (control.mean() - 0.2)
    assert comparison.gap_closed.squared_error == pytest.approx(share)


def test_squared_errors_are_per_sample_in_units_of_the_variance():
    values = torch.tensor([[[1.0, 1.0]], [[3.0, 0.0]]])
    labels = torch.tensor([[1.0, 0.5]])
    assert squared_errors(values, labels, [2.0, 0.5]).tolist() == [[0.5], [1.0]]
