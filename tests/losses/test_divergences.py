"""Reverse KL, the Jensen-Shannon divergence, and standardised logits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from support.tensors import few, randn, some_labels

from limbeck._base.errors import ConfigError
from limbeck.losses import (
    Objective,
    StackedObjective,
    jensen_shannon,
    kl_divergence,
    reverse_kl,
    standardised,
)
from limbeck.losses.divergences import LOG_OF_ZERO
from limbeck.losses.soft import SOFT_LOSSES

STANDARDISED = [loss.name for loss in SOFT_LOSSES.values() if loss.can_standardise]

draws, shares, temperatures = st.integers(0, 10_000), st.floats(0.01, 0.99), st.floats(0.3, 20)


def gradient(loss, z, v, **settings):
    z = z.clone().requires_grad_()
    return torch.autograd.grad(loss(z, v, **settings).sum(), z)[0]


@few
@given(draws, temperatures)
def test_reverse_kl_is_the_kl_with_its_arguments_swapped(seed, t):
    z, v = randn(5, 7, seed=seed), randn(5, 7, seed=seed + 1)
    torch.testing.assert_close(reverse_kl(z, v, temperature=t), kl_divergence(v, z, temperature=t))


@few
@given(draws, st.floats(0.5, 20))
def test_the_gradient_of_reverse_kl_is_that_of_its_formula(seed, t):
    """d KL(q || p) / d z_c = q_c (log q_c - log p_c - KL) / T."""
    z, v = randn(5, 7, seed=seed), randn(5, 7, seed=seed + 1)
    log_q, log_p = (z / t).log_softmax(-1), (v / t).log_softmax(-1)
    ratio = log_q - log_p
    expected = log_q.exp() * (ratio - (log_q.exp() * ratio).sum(-1, keepdim=True)) / t
    torch.testing.assert_close(
        gradient(reverse_kl, z, v, temperature=t), expected, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_reverse_kl_gives_the_smallest_probability_to_classes_that_only_the_teacher_excludes(dtype):
    z, v = randn(4, 5).to(dtype), randn(4, 5, seed=1).to(dtype)
    v[:, 2] = v[0, 3] = -math.inf
    log_q, log_p = z.double().log_softmax(-1), v.double().log_softmax(-1)
    expected = (log_q.exp() * (log_q - log_p.clamp(min=math.log(2.0**-126)))).sum(-1)
    z.requires_grad_()
    value = reverse_kl(z, v)
    value.sum().backward()
    torch.testing.assert_close(value.double(), expected, rtol=2e-5, atol=0)
    assert pytest.approx(-87.3365, abs=1e-3) == LOG_OF_ZERO
    assert z.grad.isfinite().all()
    assert (z.grad[1:, 2] > 0).all()  # descent lowers the probability of the class
    assert z.grad[0, [2, 3]].sum() > 0


def test_reverse_kl_ignores_classes_that_only_the_student_excludes():
    z, v = randn(4, 5), randn(4, 5, seed=1)
    z[:, 1] = -math.inf
    z.requires_grad_()
    value = reverse_kl(z, v)
    value.sum().backward()
    log_p, log_q = v.log_softmax(-1)[:, [0, 2, 3, 4]], z.detach()[:, [0, 2, 3, 4]].log_softmax(-1)
    torch.testing.assert_close(value, (log_q.exp() * (log_q - log_p)).sum(-1))
    assert z.grad.isfinite().all()


@few
@given(draws, temperatures)
def test_jensen_shannon_at_one_half_equals_scipy_and_is_symmetric(seed, t):
    z, v = randn(5, 7, seed=seed), randn(5, 7, seed=seed + 1)
    result = jensen_shannon(z, v, temperature=t)
    expected = jensenshannon((z / t).softmax(-1).numpy(), (v / t).softmax(-1).numpy(), axis=-1) ** 2
    torch.testing.assert_close(result, torch.from_numpy(expected), rtol=1e-7, atol=1e-12)
    torch.testing.assert_close(result, jensen_shannon(v, z, temperature=t), rtol=1e-9, atol=1e-13)


@few
@given(draws, shares, temperatures)
def test_jensen_shannon_is_at_most_the_entropy_of_the_shares(seed, share, t):
    z, v = randn(5, 7, seed=seed, scale=20), randn(5, 7, seed=seed + 1, scale=20)
    result = jensen_shannon(z, v, temperature=t, teacher_share=share)
    maximum = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert (result >= -1e-14).all()
    assert (result <= maximum + 1e-12).all()


@few
@given(draws, shares)
def test_swapping_student_and_teacher_swaps_the_shares(seed, share):
    z, v = randn(5, 7, seed=seed), randn(5, 7, seed=seed + 1)
    result = jensen_shannon(z, v, teacher_share=share)
    torch.testing.assert_close(
        result, jensen_shannon(v, z, teacher_share=1 - share), rtol=1e-9, atol=1e-13
    )


def test_the_limits_of_jensen_shannon_are_the_two_kls():
    """Huszar 2015, as Agarwal et al. 2024 cite it; values and gradients."""
    z, v, tiny = randn(5, 7, scale=1.0), randn(5, 7, seed=1, scale=1.0), 1e-6
    for share, limit in ((tiny, kl_divergence), (1 - tiny, reverse_kl)):
        result = jensen_shannon(z, v, teacher_share=share) / tiny
        torch.testing.assert_close(result, limit(z, v), rtol=1e-4, atol=1e-6)
        slope = gradient(jensen_shannon, z, v, teacher_share=share) / tiny
        torch.testing.assert_close(slope, gradient(limit, z, v), rtol=1e-3, atol=1e-5)


@few
@given(draws, shares)
def test_jensen_shannon_near_the_teacher_is_the_documented_share_of_the_kl(seed, share):
    v = randn(5, 7, seed=seed, scale=1.0)
    z = v + 1e-3 * randn(5, 7, seed=seed + 1, scale=1.0)
    expected = share * (1 - share) * kl_divergence(z, v)
    torch.testing.assert_close(
        jensen_shannon(z, v, teacher_share=share), expected, rtol=2e-2, atol=1e-13
    )


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_gradcheck(share):
    z, v = randn(3, 4, scale=1.0).requires_grad_(), randn(3, 4, seed=1, scale=1.0)
    assert torch.autograd.gradcheck(
        lambda x: jensen_shannon(x, v, temperature=2.0, teacher_share=share), (z,)
    )
    assert torch.autograd.gradcheck(lambda x: reverse_kl(x, v, temperature=2.0), (z,))


def test_jensen_shannon_of_disjoint_answers_is_ln_2():
    z, v = torch.tensor([[0.0, -math.inf]]), torch.tensor([[-math.inf, 0.0]])
    z.requires_grad_()
    value = jensen_shannon(z, v)
    value.sum().backward()
    assert value.item() == pytest.approx(math.log(2))
    assert z.grad.isfinite().all()


def test_each_arm_has_its_own_share(oracle):
    arms = [
        Objective(soft="jensen_shannon", teacher_share=b, temperature=t)
        for b, t in ((0.1, 1), (0.5, 2), (0.9, 3))
    ]
    arms.insert(1, Objective(soft="reverse_kl", standardise=True))
    z, v, y = randn(4, 2, 6, 5), randn(2, 6, 5, seed=1), torch.randint(0, 5, (2, 6))
    result = StackedObjective(arms)(z, v, y)
    for arm, objective in enumerate(arms):
        for s in range(2):
            expected = oracle.objective(
                z[arm, s].numpy(), v[s].numpy(), y[s].numpy(), **objective.as_dict()
            )
            assert [term[arm, s].item() for term in result] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("share", [0, 1, 0.0, 1.0, -0.1, 1.5, math.nan, "half", None, True])
def test_a_share_is_strictly_between_zero_and_one(share):
    with pytest.raises(ConfigError, match=r"objective\.teacher_share="):
        Objective(teacher_share=share)


# Standardised logits ------------------------------------------------------------------------------


@few
@given(draws, st.floats(0.5, 20), st.sampled_from(STANDARDISED))
def test_standardised_losses_equal_the_papers_formula(oracle, seed, t, kind):
    z, v, y = randn(6, 5, seed=seed), randn(6, 5, seed=seed + 1), some_labels(6, seed=seed)
    objective = Objective(soft=kind, standardise=True, temperature=t, hard_weight=0.3)
    expected = oracle.objective(z.numpy(), v.numpy(), y.numpy(), **objective.as_dict())
    np.testing.assert_allclose([term.item() for term in objective(z, v, y)], expected, rtol=1e-9)


@few
@given(draws, st.floats(0.2, 20), st.floats(-50, 50), st.sampled_from(STANDARDISED))
def test_standardised_losses_see_neither_scale_nor_shift(seed, scale, shift, kind):
    z, v, y = randn(6, 5, seed=seed), randn(6, 5, seed=seed + 1), some_labels(6, seed=seed)
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
