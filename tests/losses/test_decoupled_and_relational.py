"""DKD, DIST and standardised logits against their papers' formulas, written as loops in the oracles
(conftest.py).
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck._base.errors import ConfigError
from limbeck.losses import (
    Objective,
    StackedObjective,
    decoupled,
    kl_divergence,
    relational,
    standardised,
)
from limbeck.losses.soft import SOFT_LOSSES

STANDARDISED = [loss.name for loss in SOFT_LOSSES.values() if loss.can_standardise]

few = settings(max_examples=25, deadline=None, derandomize=True, database=None)
draws = st.integers(0, 10_000)


def randn(*shape, seed=0, scale=3.0):
    return (
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        * scale
    )


def some_labels(size, classes, seed=0):
    y = torch.randint(0, classes, (size,), generator=torch.Generator().manual_seed(seed))
    y[seed % size] = -100
    return y


# DKD ----------------------------------------------------------------------------------------------


@few
@given(draws, st.floats(0.5, 20), st.floats(0, 3), st.floats(0, 10), st.integers(2, 7))
def test_dkd_with_labels_equals_the_papers_formula(
    oracle, seed, t, target_weight, nontarget_weight, classes
):
    z, v, y = (
        randn(5, classes, seed=seed),
        randn(5, classes, seed=seed + 1),
        some_labels(5, classes, seed),
    )
    weights = {"target_weight": target_weight, "nontarget_weight": nontarget_weight}
    result = decoupled(z, v, temperature=t, labels=y, **weights)
    expected = oracle.soft["dkd"](z.numpy(), v.numpy(), t, y.numpy(), **weights)
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-13)


@few
@given(draws, st.floats(0.5, 20))
def test_dkd_with_the_weights_of_the_kl_is_the_kl(seed, t):
    """KL = target part + (1 - p_t) times the other part."""
    z, v, y = randn(5, 6, seed=seed), randn(5, 6, seed=seed + 1), some_labels(5, 6, seed)
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
    z, v, y = randn(6, 2), randn(6, 2, seed=1), some_labels(6, 2)
    torch.testing.assert_close(
        decoupled(z, v, labels=y), kl_divergence(z, v), rtol=1e-10, atol=1e-13
    )


def test_dkd_of_an_objective_uses_labels_but_not_those_of_mixtures(oracle):
    z, v, y = randn(6, 5), randn(6, 5, seed=1), some_labels(6, 5)
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


# DIST ---------------------------------------------------------------------------------------------


@few
@given(draws, st.floats(0.5, 20), st.integers(2, 7), st.integers(3, 8))
def test_dist_has_the_papers_mean_over_a_batch(oracle, seed, t, classes, batch):
    z, v = randn(batch, classes, seed=seed), randn(batch, classes, seed=seed + 1)
    result = relational(z, v, temperature=t)
    assert result.shape == (batch,)
    expected = oracle.soft["dist"](z.numpy(), v.numpy(), t).mean()
    assert result.mean().item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_dist_is_zero_where_the_student_answers_alike():
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


# Standardised logits ------------------------------------------------------------------------------


@few
@given(draws, st.floats(0.5, 20), st.sampled_from(STANDARDISED))
def test_standardised_losses_equal_the_papers_formula(oracle, seed, t, kind):
    z, v, y = randn(6, 5, seed=seed), randn(6, 5, seed=seed + 1), some_labels(6, 5, seed)
    objective = Objective(soft=kind, standardise=True, temperature=t, hard_weight=0.3)
    expected = oracle.objective(z.numpy(), v.numpy(), y.numpy(), **objective.as_dict())
    np.testing.assert_allclose([term.item() for term in objective(z, v, y)], expected, rtol=1e-9)


@few
@given(draws, st.floats(0.2, 20), st.floats(-50, 50), st.sampled_from(STANDARDISED))
def test_standardised_losses_see_neither_scale_nor_shift(seed, scale, shift, kind):
    z, v, y = randn(6, 5, seed=seed), randn(6, 5, seed=seed + 1), some_labels(6, 5, seed)
    objective = Objective(soft=kind, standardise=True, temperature=2.0)
    expected = objective(z, v, y).soft
    torch.testing.assert_close(
        objective(scale * z + shift, v, y).soft, expected, rtol=1e-8, atol=1e-9
    )
    torch.testing.assert_close(
        objective(z, scale * v + shift, y).soft, expected, rtol=1e-8, atol=1e-9
    )
    assert not torch.isclose(
        Objective(soft=kind)(3 * z, v, y).soft, Objective(soft=kind)(z, v, y).soft, rtol=1e-3
    )


def test_standardised_logits_have_mean_zero_and_spread_one(oracle):
    z = randn(2, 3, 6, 5)
    result = standardised(z)
    torch.testing.assert_close(
        result.mean(-1), torch.zeros(2, 3, 6, dtype=torch.float64), rtol=0, atol=1e-14
    )
    torch.testing.assert_close(result.square().mean(-1), torch.ones(2, 3, 6, dtype=torch.float64))
    np.testing.assert_allclose(result[0, 0], oracle.standardised(z[0, 0].numpy()), rtol=1e-12)


def test_standardised_logits_leave_excluded_classes_out():
    z = randn(4, 6)
    without = standardised(z[:, 1:])
    z[:, 0] = -math.inf
    result = standardised(z)
    torch.testing.assert_close(result[:, 1:], without)
    assert (result[:, 0] == -math.inf).all()


@pytest.mark.parametrize("kind", STANDARDISED)
def test_standardised_gradients_are_finite_at_extreme_logits(kind):
    z = torch.tensor([[1e4, -1e4, 0.0], [7.0, 7.0, 7.0], [0.0, 1e-30, 0.0], [0.0, 0.0, 0.0]])
    y = torch.tensor([0, 1, 2, -100])
    objective = Objective(soft=kind, standardise=True)
    for v in (z, -z, z.flip(-1), z.flip(0)):
        own = z.clone().requires_grad_()
        loss = objective(own, v, y).loss
        loss.backward()
        assert loss.isfinite()
        assert own.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["probabilities", "logits", "dist"])
def test_others_are_not_standardised(kind):
    with pytest.raises(
        ConfigError, match=rf"objective\.standardise=true works with .*not with {kind}"
    ):
        Objective(soft=kind, standardise=True)
    assert Objective(soft=kind, standardise=True, soft_weight=0, hard_weight=1).standardise


# All of them --------------------------------------------------------------------------------------

ARMS = [
    Objective(soft="dkd", temperature=3.0, nontarget_weight=2.0),
    Objective(),
    Objective(soft="dist", temperature=2.0),
    Objective(standardise=True, temperature=1.5),
    Objective(soft="dkd", target_weight=0.0),
    Objective(hard_weight=1, soft_weight=0),
    Objective(soft="dkd", standardise=True),
    Objective(soft="dist", scale_by_t2=False, soft_weight=3.0),
    Objective(soft="cross_entropy", standardise=True),
]


def test_a_stack_gives_each_arm_what_it_has_alone(oracle):
    z, v = randn(len(ARMS), 2, 6, 5), randn(2, 6, 5, seed=1)
    y = torch.stack([some_labels(6, 5), some_labels(6, 5, seed=1)])
    z.requires_grad_()
    result = StackedObjective(ARMS)(z, v, y)
    result.loss.sum().backward()
    for arm, objective in enumerate(ARMS):
        alone = z[arm].detach().clone().requires_grad_()
        expected = objective(alone, v, y)
        expected.loss.sum().backward()
        torch.testing.assert_close(
            [term[arm] for term in result], list(expected), rtol=1e-11, atol=1e-13
        )
        torch.testing.assert_close(z.grad[arm], alone.grad, rtol=1e-10, atol=1e-14)
        for s in range(2):
            numbers = z[arm, s].detach().numpy(), v[s].numpy(), y[s].numpy()
            reference = oracle.objective(*numbers, **objective.as_dict())
            assert [term[arm, s].item() for term in result] == pytest.approx(reference, rel=1e-6)


@pytest.mark.parametrize("objective", ARMS)
def test_samples_side_by_side_in_memory_change_nothing(objective):
    """As stacked layers give them."""
    z, v, y = randn(1, 6, 5), randn(6, 5, seed=1), some_labels(6, 5)
    turned = z.mT.contiguous().mT
    assert turned.stride() != z.stride()
    result, expected = (StackedObjective([objective])(x, v, y).loss for x in (turned, z))
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("objective", ARMS)
def test_autocast_and_half_precision_stay_in_float32(objective):
    z, v, y = (
        randn(6, 5).bfloat16().requires_grad_(),
        randn(6, 5, seed=1).bfloat16(),
        some_labels(6, 5),
    )
    with torch.autocast("cpu", torch.bfloat16):
        result = objective(z, v, y)
    assert {term.dtype for term in result} == {torch.float32}
    expected = objective(z.detach().double(), v.double(), y)
    torch.testing.assert_close(result.loss.double(), expected.loss, rtol=5e-5, atol=1e-6)
    result.loss.backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("name", ["target_weight", "nontarget_weight"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1, True, "4", None])
def test_bad_weights_of_dkd_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=rf"objective\.{name}="):
        Objective(**{name: value})


def test_dkd_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="both 0: dkd"):
        Objective(soft="dkd", target_weight=0, nontarget_weight=0)


@pytest.mark.parametrize("kind", sorted(SOFT_LOSSES))
def test_each_soft_loss_falls_when_the_student_follows_its_gradient(kind):
    z, v, y = randn(8, 5, scale=1.0), randn(8, 5, seed=1, scale=1.0), some_labels(8, 5)
    objective = Objective(soft=kind, hard_weight=0, soft_weight=1, temperature=2.0)
    values = []
    for _ in range(30):
        z.requires_grad_()
        loss = objective(z, v, y).loss
        values.append(loss.item())
        z = (z - 0.3 * torch.autograd.grad(loss, z)[0]).detach()
    assert values[-1] < values[0]
