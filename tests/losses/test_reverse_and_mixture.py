"""Reverse KL and the Jensen-Shannon divergence: limits, symmetries, excluded classes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from limbeck._base.errors import ConfigError
from limbeck.losses import Objective, StackedObjective, jensen_shannon, kl_divergence, reverse_kl
from limbeck.losses.divergences import LOG_OF_ZERO

few = settings(max_examples=20, deadline=None, derandomize=True, database=None)
draws, shares, temperatures = st.integers(0, 10_000), st.floats(0.01, 0.99), st.floats(0.3, 20)


def randn(*shape, seed=0, scale=3.0):
    return (
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        * scale
    )


def gradient(loss, z, v, **settings):
    z = z.clone().requires_grad_()
    return torch.autograd.grad(loss(z, v, **settings).sum(), z)[0]


@few
@given(draws, temperatures)
def test_reverse_kl_is_the_kl_with_its_sides_changed(seed, t):
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
def test_a_class_that_the_teacher_alone_excludes_is_as_unlikely_as_float32_allows(dtype):
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
    assert (z.grad[1:, 2] > 0).all()  # descent takes the class's probability away
    assert z.grad[0, [2, 3]].sum() > 0


def test_a_class_that_the_student_alone_excludes_counts_nothing_in_the_reverse_kl():
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
def test_at_one_half_it_is_scipys_squared_distance_and_symmetric(seed, t):
    z, v = randn(5, 7, seed=seed), randn(5, 7, seed=seed + 1)
    result = jensen_shannon(z, v, temperature=t)
    expected = jensenshannon((z / t).softmax(-1).numpy(), (v / t).softmax(-1).numpy(), axis=-1) ** 2
    torch.testing.assert_close(result, torch.from_numpy(expected), rtol=1e-7, atol=1e-12)
    torch.testing.assert_close(result, jensen_shannon(v, z, temperature=t), rtol=1e-9, atol=1e-13)


@few
@given(draws, shares, temperatures)
def test_it_lies_between_zero_and_the_entropy_of_the_shares(seed, share, t):
    z, v = randn(5, 7, seed=seed, scale=20), randn(5, 7, seed=seed + 1, scale=20)
    result = jensen_shannon(z, v, temperature=t, teacher_share=share)
    most = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert (result >= -1e-14).all()
    assert (result <= most + 1e-12).all()


@few
@given(draws, shares)
def test_roles_and_shares_change_together(seed, share):
    z, v = randn(5, 7, seed=seed), randn(5, 7, seed=seed + 1)
    result = jensen_shannon(z, v, teacher_share=share)
    torch.testing.assert_close(
        result, jensen_shannon(v, z, teacher_share=1 - share), rtol=1e-9, atol=1e-13
    )


def test_its_limits_are_the_two_kls():
    """Huszar 2015, as Agarwal et al. 2024 cite it; values and gradients."""
    z, v, tiny = randn(5, 7, scale=1.0), randn(5, 7, seed=1, scale=1.0), 1e-6
    for share, limit in ((tiny, kl_divergence), (1 - tiny, reverse_kl)):
        result = jensen_shannon(z, v, teacher_share=share) / tiny
        torch.testing.assert_close(result, limit(z, v), rtol=1e-4, atol=1e-6)
        slope = gradient(jensen_shannon, z, v, teacher_share=share) / tiny
        torch.testing.assert_close(slope, gradient(limit, z, v), rtol=1e-3, atol=1e-5)


@few
@given(draws, shares)
def test_near_the_teacher_it_is_the_share_of_the_kl_that_the_docs_say(seed, share):
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


def test_disjoint_answers_are_ln_2_apart():
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
