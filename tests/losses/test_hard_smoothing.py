"""Smoothed labels against PyTorch's, alone and next to other arms."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from support.stacked_losses import assert_equal_to_each_alone
from support.tensors import few, randn, some_labels

from limbeck._base.errors import ConfigError
from limbeck.losses import Objective, hard_loss, smoothed_cross_entropy


def labels_only(**settings):
    return Objective(hard_weight=1, soft_weight=0, **settings)


@few
@given(st.integers(0, 10_000), st.floats(0.001, 0.99))
def test_it_equals_pytorchs_label_smoothing(seed, smoothing):
    z, y = randn(8, 5, seed=seed).requires_grad_(), some_labels(8, seed=seed)
    result = labels_only(label_smoothing=smoothing)(z, None, y).hard
    expected = F.cross_entropy(z, y, label_smoothing=smoothing)
    torch.testing.assert_close(result, expected)
    gradients = [torch.autograd.grad(value, z)[0] for value in (result, expected)]
    torch.testing.assert_close(*gradients)


def test_without_smoothing_it_is_the_cross_entropy():
    z, y = randn(8, 5), some_labels(8)
    torch.testing.assert_close(smoothed_cross_entropy(z, y, 0.0), hard_loss(z, y))


def test_both_labels_of_a_mixture_are_smoothed(oracle):
    z, first, second = randn(8, 5), some_labels(8), some_labels(8, seed=5)
    weight = torch.rand(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = hard_loss(z, first, mixed=(second, weight), smoothing=0.2)
    one, other = (
        F.cross_entropy(z, y, label_smoothing=0.2, reduction="none") for y in (first, second)
    )
    expected = torch.where((first < 0) | (second < 0), 0.0, weight * one + (1 - weight) * other)
    torch.testing.assert_close(result, expected)


def test_each_arm_of_a_stack_has_its_own_smoothing():
    arms = [
        labels_only(),
        labels_only(label_smoothing=0.1),
        labels_only(class_weights=[1, 2, 0, 1, 3]),
        labels_only(hard="squared_error"),
        Objective(label_smoothing=0.3),
    ]
    z, v, y = randn(5, 2, 7, 5), randn(2, 7, 5, seed=1), some_labels(2, 7)
    assert_equal_to_each_alone(arms, z, v, y)


def test_half_precision_is_computed_in_float32():
    z, y = randn(8, 5).bfloat16(), some_labels(8)
    result = hard_loss(z, y, smoothing=0.1)
    assert result.dtype == torch.float32
    expected = F.cross_entropy(z.double(), y, label_smoothing=0.1, reduction="none")
    torch.testing.assert_close(result.double(), expected, rtol=2e-5, atol=1e-6)


def test_samples_without_label_do_not_spoil_the_mean():
    z, y = randn(3, 5), some_labels(3)
    spoilt = z.clone()
    spoilt[1] = math.nan
    objective = labels_only(label_smoothing=0.1)
    torch.testing.assert_close(objective(spoilt, None, y).hard, objective(z, None, y).hard)


@pytest.mark.parametrize("value", [1, 1.0, -0.1, 2, math.nan, math.inf, "0.1", None, True])
def test_values_out_of_range_are_refused(value):
    with pytest.raises(ConfigError, match=r"objective\.label_smoothing="):
        Objective(label_smoothing=value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"hard": "squared_error"},
            "objective.hard=cross_entropy, not with squared_error",
        ),
        ({"class_weights": "balanced"}, "cannot be combined with objective.class_weights"),
        ({"class_weights": [1, 2]}, "cannot be combined with objective.class_weights"),
    ],
)
def test_incompatible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Objective(label_smoothing=0.1, **settings)
    assert Objective(label_smoothing=0.0, **settings).label_smoothing == 0
