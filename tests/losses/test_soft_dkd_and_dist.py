"""DKD and DIST against the formulas of their papers, written as loops (conftest.py)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tensors import few, randn, some_labels

from limbeck._base.errors import ConfigError
from limbeck.losses import (
    Objective,
    decoupled,
    kl_divergence,
    relational,
)
from limbeck.losses.soft import SOFT_LOSSES

STANDARDISED = [loss.name for loss in SOFT_LOSSES.values() if loss.can_standardise]

draws = st.integers(0, 10_000)


# DKD ----------------------------------------------------------------------------------------------


@few
@given(draws, st.floats(0.5, 20), st.floats(0, 3), st.floats(0, 10), st.integers(2, 7))
def test_dkd_with_labels_equals_the_papers_formula(
    oracle, seed, t, target_weight, nontarget_weight, classes
):
    z, v, y = (
        randn(5, classes, seed=seed),
        randn(5, classes, seed=seed + 1),
        some_labels(5, classes=classes, seed=seed),
    )
    weights = {"target_weight": target_weight, "nontarget_weight": nontarget_weight}
    result = decoupled(z, v, temperature=t, labels=y, **weights)
    expected = oracle.soft["dkd"](z.numpy(), v.numpy(), t, y.numpy(), **weights)
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-13)


@few
@given(draws, st.floats(0.5, 20))
def test_dkd_with_the_weights_of_the_kl_is_the_kl(seed, t):
    """KL = target part + (1 - p_t) times the other part."""
    z, v, y = (
        randn(5, 6, seed=seed),
        randn(5, 6, seed=seed + 1),
        some_labels(5, classes=6, seed=seed),
    )
    target = torch.where(y == -100, v.argmax(-1), y)
    rest = 1 - (v / t).softmax(-1).gather(-1, target[:, None])[:, 0]
    result = decoupled(z, v, temperature=t, labels=y, target_weight=1.0, nontarget_weight=rest)
    torch.testing.assert_close(result, kl_divergence(z, v, temperature=t), rtol=1e-9, atol=1e-12)


def test_dkd_takes_the_teachers_top_class_where_there_is_no_label():
    z, v = randn(6, 5), randn(6, 5, seed=1)
    none = torch.full((6,), -100)
    expected = decoupled(z, v, temperature=4.0, labels=v.argmax(-1))
    torch.testing.assert_close(decoupled(z, v, temperature=4.0, labels=none), expected)
    torch.testing.assert_close(decoupled(z, v, temperature=4.0), expected)
    assert not torch.allclose(decoupled(z, v, temperature=4.0, labels=v.argmin(-1)), expected)


def test_dkd_of_two_classes_has_no_other_part():
    z, v, y = randn(6, 2), randn(6, 2, seed=1), some_labels(6, classes=2)
    torch.testing.assert_close(
        decoupled(z, v, labels=y), kl_divergence(z, v), rtol=1e-10, atol=1e-13
    )


def test_dkd_of_an_objective_uses_labels_but_not_those_of_mixtures(oracle):
    z, v, y = randn(6, 5), randn(6, 5, seed=1), some_labels(6)
    objective = Objective(
        soft="dkd", hard_weight=0, soft_weight=1, target_weight=0.5, nontarget_weight=2.0
    )
    expected = 16 * oracle.soft["dkd"](z.numpy(), v.numpy(), 4.0, y.numpy(), 0.5, 2.0).mean()
    assert objective(z, v, y).soft.item() == pytest.approx(expected, rel=1e-11)
    mixed = y.flip(0), torch.full((6,), 0.5)
    expected = 16 * oracle.soft["dkd"](z.numpy(), v.numpy(), 4.0, None, 0.5, 2.0).mean()
    assert objective(z, v, y, mixed=mixed).soft.item() == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("first", "second"), [(1.0, 0.0), (0.0, 1.0)])
def test_dkd_gradients_with_labels_are_finite_at_extreme_logits(first, second):
    z = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, 0.0, 0.0]])
    for v in (z, -z, z.flip(-1)):
        for label in (-100, 0, 1, 2):
            own = z.clone().requires_grad_()
            value = decoupled(
                own,
                v,
                temperature=2.0,
                labels=torch.full((3,), label),
                target_weight=first,
                nontarget_weight=second,
            )
            value.sum().backward()
            assert value.isfinite().all()
            assert own.grad.isfinite().all()


@pytest.mark.parametrize("name", ["target_weight", "nontarget_weight"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1, True, "4", None])
def test_bad_weights_of_dkd_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=rf"objective\.{name}="):
        Objective(**{name: value})


def test_dkd_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="both 0: dkd"):
        Objective(soft="dkd", target_weight=0, nontarget_weight=0)


# DIST ---------------------------------------------------------------------------------------------


@few
@given(draws, st.floats(0.5, 20), st.integers(2, 7), st.integers(3, 8))
def test_dist_has_the_papers_mean_over_a_batch(oracle, seed, t, classes, batch):
    z, v = randn(batch, classes, seed=seed), randn(batch, classes, seed=seed + 1)
    result = relational(z, v, temperature=t)
    assert result.shape == (batch,)
    expected = oracle.soft["dist"](z.numpy(), v.numpy(), t).mean()
    assert result.mean().item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_dist_is_zero_for_equal_answers():
    v = randn(8, 5)
    z = v.clone().requires_grad_()
    value = relational(z, v, temperature=2.0).mean()
    value.backward()
    assert abs(value.item()) < 1e-12
    assert z.grad.abs().max() < 1e-10


@few
@given(draws, st.floats(-50, 50), st.floats(-50, 50))
def test_dist_does_not_see_shifts_of_logits(seed, one, other):
    z, v = randn(6, 5, seed=seed), randn(6, 5, seed=seed + 1)
    moved = relational(z + one, v + other, temperature=4.0)
    torch.testing.assert_close(moved, relational(z, v, temperature=4.0), rtol=1e-9, atol=1e-10)


def test_dist_of_stacked_students_and_seeds_is_that_of_each():
    """Each student has batches of its own: arms first, then seeds."""
    z, v = randn(3, 2, 6, 5), randn(2, 6, 5, seed=1)
    t = torch.tensor([1.0, 3.0, 9.0], dtype=torch.float64)
    result = relational(z, v, temperature=t.view(3, 1, 1, 1))
    for arm in range(3):
        for seed in range(2):
            alone = relational(z[arm, seed], v[seed], temperature=t[arm].item())
            torch.testing.assert_close(result[arm, seed], alone, rtol=1e-12, atol=1e-13)


def test_dist_of_a_batch_of_one_has_no_correlation_over_it(oracle):
    z, v = randn(1, 5).requires_grad_(), randn(1, 5, seed=1)
    value = relational(z, v)
    value.sum().backward()
    p, q = v.softmax(-1).numpy()[0], z.detach().softmax(-1).numpy()[0]
    assert value.item() == pytest.approx(1 + 1 - np.corrcoef(p, q)[0, 1])
    assert z.grad.isfinite().all()


def test_the_gradient_of_dist_does_not_shrink_with_the_temperature():
    """So T^2 makes it grow, as docs/reference/losses.md says."""
    z, v = randn(6, 5).requires_grad_(), randn(6, 5, seed=1)
    norms = [
        torch.autograd.grad(relational(z, v, temperature=t).mean(), z)[0].norm().item()
        for t in (1e2, 1e3)
    ]
    assert norms[0] == pytest.approx(norms[1], rel=0.1)
