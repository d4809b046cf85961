"""Every soft loss against scipy in float64, and the identities it has to keep."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.losses import CLASS_LOSSES
from support.tensors import few, randn, some_labels

from limbeck.losses import Objective, cross_entropy, kl_divergence

KINDS = sorted(CLASS_LOSSES)
PER_SAMPLE = [kind for kind in KINDS if kind != "dist"]
PER_CLASS = [kind for kind in PER_SAMPLE if kind != "dkd"]  # whose value no class decides
TEMPERATURES = [0.5, 1.0, 4.0, 20.0]

temperatures = st.floats(0.3, 30)


@st.composite
def pairs(draw, limit=30.0):
    """Student and teacher logits of one shape ``[B, C]``, float64."""
    shape = (draw(st.integers(1, 4)), draw(st.integers(2, 6)))
    values = hnp.arrays(np.float64, shape, elements=st.floats(-limit, limit, width=32))
    return torch.from_numpy(draw(values)), torch.from_numpy(draw(values))


def test_kinds_are_the_documented_ones():
    assert KINDS == [
        "cross_entropy",
        "dist",
        "dkd",
        "jensen_shannon",
        "kl",
        "logits",
        "probabilities",
        "reverse_kl",
    ]


@pytest.mark.parametrize("kind", PER_SAMPLE)
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_value_equals_scipy(kind, temperature, oracle):
    z, v = randn(6, 7), randn(6, 7, seed=1)
    value = CLASS_LOSSES[kind](z, v, temperature=temperature)
    assert value.shape == (6,)
    assert value.dtype == torch.float64
    np.testing.assert_allclose(
        value, oracle.soft[kind](z.numpy(), v.numpy(), temperature), rtol=1e-11
    )


@pytest.mark.parametrize("kind", PER_SAMPLE)
def test_float32_value_is_near_scipy(kind, oracle):
    z, v = randn(6, 7), randn(6, 7, seed=1)
    value = CLASS_LOSSES[kind](z.float(), v.float(), temperature=4.0)
    assert value.dtype == torch.float32
    np.testing.assert_allclose(value, oracle.soft[kind](z.numpy(), v.numpy(), 4.0), rtol=2e-5)


def test_default_temperature_is_one():
    z, v = randn(3, 4), randn(3, 4, seed=1)
    for loss in CLASS_LOSSES.values():
        torch.testing.assert_close(loss(z, v), loss(z, v, temperature=1.0))


@few
@given(pairs(), temperatures)
def test_kl_is_never_negative(pair, temperature):
    assert (kl_divergence(*pair, temperature=temperature) >= -1e-14).all()


@pytest.mark.parametrize(
    "kind", ["kl", "probabilities", "logits", "dkd", "reverse_kl", "jensen_shannon"]
)
@few
@given(pair=pairs(), temperature=temperatures)
def test_zero_value_and_gradient_at_student_equals_teacher(kind, pair, temperature):
    z = pair[0].clone().requires_grad_()
    value = CLASS_LOSSES[kind](z, pair[0], temperature=temperature)
    value.sum().backward()
    assert (value.abs() <= 1e-14).all()
    assert (z.grad.abs() <= 1e-14).all()


@few
@given(pairs(), temperatures)
def test_cross_entropy_is_kl_plus_the_teachers_entropy(pair, temperature):
    z, v = pair
    entropy = cross_entropy(v, v, temperature=temperature)
    total = kl_divergence(z, v, temperature=temperature) + entropy
    torch.testing.assert_close(
        cross_entropy(z, v, temperature=temperature), total, rtol=1e-10, atol=1e-12
    )
    assert (entropy <= math.log(z.shape[1]) + 1e-12).all()


@pytest.mark.parametrize("kind", PER_CLASS)
@few
@given(
    pair=pairs(), temperature=temperatures, shifts=st.tuples(st.floats(-50, 50), st.floats(-50, 50))
)
def test_a_constant_added_to_either_changes_nothing(kind, pair, temperature, shifts):
    (z, v), loss = pair, CLASS_LOSSES[kind]
    expected = loss(z, v, temperature=temperature)
    for moved in (
        loss(z + shifts[0], v, temperature=temperature),
        loss(z, v + shifts[1], temperature=temperature),
    ):
        torch.testing.assert_close(moved, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", PER_CLASS)
@few
@given(pair=pairs(), temperature=temperatures, data=st.data())
def test_permuted_classes_or_samples_have_permuted_values(kind, pair, temperature, data):
    (z, v), loss = pair, CLASS_LOSSES[kind]
    expected = loss(z, v, temperature=temperature)
    classes = data.draw(st.permutations(range(z.shape[1])))
    samples = data.draw(st.permutations(range(z.shape[0])))
    by_class = loss(z[:, classes], v[:, classes], temperature=temperature)
    torch.testing.assert_close(by_class, expected, rtol=1e-10, atol=1e-12)
    by_sample = loss(z[samples], v[samples], temperature=temperature)
    # vector lanes may round differently
    torch.testing.assert_close(by_sample, expected[samples], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", PER_SAMPLE)
def test_broadcasting_of_arms_and_seeds(kind, oracle):
    arms, seeds, batch, classes = 3, 2, 4, 5
    z, v = randn(arms, seeds, batch, classes), randn(seeds, batch, classes, seed=1)
    t = torch.tensor([1.0, 3.0, 9.0], dtype=torch.float64).view(arms, 1, 1, 1)
    value = CLASS_LOSSES[kind](z, v, temperature=t)
    assert value.shape == (arms, seeds, batch)
    for a in range(arms):
        for s in range(seeds):
            expected = oracle.soft[kind](z[a, s].numpy(), v[s].numpy(), t[a].item())
            np.testing.assert_allclose(value[a, s], expected, rtol=1e-11)


@pytest.mark.parametrize("kind", ["kl", "cross_entropy", "reverse_kl"])
def test_gradient_at_high_temperature_is_hintons(kind):
    """Hinton et al. 2015, equation 4: dC/dz_i = (z_i - v_i) / (N T^2) for zero-mean logits and high
    T.
    """
    z, v = randn(5, 7, scale=1.0), randn(5, 7, seed=1, scale=1.0)
    z, v = (x - x.mean(-1, keepdim=True) for x in (z, v))
    z.requires_grad_()

    def scaled(t):
        return torch.autograd.grad(CLASS_LOSSES[kind](z, v, temperature=t).sum(), z)[0] * t**2

    expected = (z - v).detach() / 7
    torch.testing.assert_close(scaled(1e5), expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(
        2 * scaled(2e4) - scaled(1e4), expected, rtol=0, atol=1e-7
    )  # less the term in 1/T


@pytest.mark.parametrize("kind", ["kl", "cross_entropy", "reverse_kl"])
def test_gradient_at_high_temperature_equals_that_of_zero_mean_logits(kind):
    z, v = randn(5, 7).requires_grad_(), randn(5, 7, seed=1)
    y = torch.full((5,), -100)

    def gradient(soft, t):
        objective = Objective(hard_weight=0, soft_weight=1, temperature=t, soft=soft)
        return torch.autograd.grad(objective(z, v, y).loss, z)[0]

    expected = gradient("logits", 1.0)
    torch.testing.assert_close(gradient("logits", 1e5), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient(kind, 1e5), expected, rtol=0, atol=1e-4)
    error = [(gradient(kind, t) - expected).norm() for t in (1e3, 1e4)]
    assert error[0] / error[1] == pytest.approx(10, rel=0.02)
    extrapolated = 2 * gradient(kind, 2e4) - gradient(kind, 1e4)  # less the term in 1/T
    torch.testing.assert_close(extrapolated, expected, rtol=0, atol=1e-6)


def test_value_at_high_temperature_tends_to_that_of_zero_mean_logits(oracle):
    z, v, t = randn(5, 7), randn(5, 7, seed=1), 3e3
    scaled = t**2 * kl_divergence(z, v, temperature=t)
    np.testing.assert_allclose(scaled, oracle.soft["logits"](z.numpy(), v.numpy(), 1.0), rtol=3e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_gradcheck(kind, temperature):
    z, v = randn(3, 4, scale=1.0).requires_grad_(), randn(3, 4, seed=1, scale=1.0)
    assert torch.autograd.gradcheck(
        lambda x: CLASS_LOSSES[kind](x, v, temperature=temperature), (z,)
    )


def test_kl_of_a_known_pair():
    """KL((1/2, 1/2) || (1/4, 3/4)) = ln 2 - ln(3) / 2."""
    z = torch.tensor([[0.25, 0.75]], dtype=torch.float64).log()
    v = torch.zeros(1, 2, dtype=torch.float64)
    assert kl_divergence(z, v).item() == pytest.approx(math.log(2) - math.log(3) / 2, rel=1e-12)


def test_the_teacher_comes_second():
    z, v = torch.tensor([[0.0, 3.0]]), torch.tensor([[0.0, -1.0]])
    assert not torch.isclose(kl_divergence(z, v), kl_divergence(v, z))
    inputs = torch.tensor([[0.0, -math.inf]])
    assert kl_divergence(torch.zeros(1, 2), inputs).item() == pytest.approx(math.log(2))
    assert kl_divergence(inputs, torch.zeros(1, 2)).item() == math.inf


def values_and_gradient(kind, z, v, temperature):
    z = z.clone().requires_grad_()
    value = CLASS_LOSSES[kind](z, v, temperature=temperature)
    value.sum().backward()
    return value, z.grad


@pytest.mark.parametrize("kind", PER_SAMPLE)
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_half_precision_input(kind, temperature, oracle):
    z, v = randn(4, 5).bfloat16(), randn(4, 5, seed=1).bfloat16()
    value, grad = values_and_gradient(kind, z, v, temperature)
    assert value.dtype == torch.float32
    expected = oracle.soft[kind](z.double().numpy(), v.double().numpy(), temperature)
    np.testing.assert_allclose(value.detach(), expected, rtol=2e-5)
    assert grad.dtype == torch.bfloat16
    assert grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_changes_nothing(kind):
    z, v = randn(4, 5).float(), randn(4, 5, seed=1).float()
    expected = values_and_gradient(kind, z, v, 4.0)
    with torch.autocast("cpu", torch.bfloat16):
        result = values_and_gradient(kind, z, v, 4.0)
    assert result[0].dtype == torch.float32
    torch.testing.assert_close(result, expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 20.0])
def test_huge_logits_stay_finite(kind, dtype, temperature):
    z = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4]]).to(dtype)
    for v in (z, -z, z.flip(-1), torch.zeros_like(z)):
        value, grad = values_and_gradient(kind, z, v, temperature)
        assert value.isfinite().all()
        assert grad.isfinite().all()


@pytest.mark.parametrize("kind", ["kl", "cross_entropy", "probabilities", "dkd", "jensen_shannon"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_class_the_teacher_excludes_counts_as_probability_zero(kind, dtype, oracle):
    z, v = randn(4, 5).to(dtype), randn(4, 5, seed=1).to(dtype)
    v[:, 2] = -math.inf
    v[0, :4] = -math.inf
    value, grad = values_and_gradient(kind, z, v, 4.0)
    expected = oracle.soft[kind](z.double().numpy(), v.double().numpy(), 4.0)
    np.testing.assert_allclose(value.detach(), expected, rtol=2e-5)
    assert grad.isfinite().all()


@pytest.mark.parametrize("kind", ["kl", "reverse_kl", "jensen_shannon"])
def test_both_exclude_a_class(kind):
    z, v = randn(4, 5), randn(4, 5, seed=1)
    expected, _ = values_and_gradient(kind, z[:, 1:], v[:, 1:], 2.0)
    z[:, 0] = v[:, 0] = -math.inf
    value, grad = values_and_gradient(kind, z, v, 2.0)
    torch.testing.assert_close(value, expected)
    assert grad.isfinite().all()
    assert (grad[:, 0] == 0).all()


def test_an_excluded_class_has_no_finite_squared_error_of_logits():
    """T^2 KL grows without bound with T here, so its limit must not look like a number."""
    z, v = randn(4, 5), randn(4, 5, seed=1)
    v[:, 2] = -math.inf
    assert not CLASS_LOSSES["logits"](z, v).isfinite().any()
    growing = [t**2 * kl_divergence(z, v, temperature=t).min() for t in (10.0, 100.0, 1000.0)]
    assert growing[2] > 50 * growing[1] > 50 * growing[0]


def test_kldivloss_mean_trap():
    """``KLDivLoss()`` averages over batch and classes; the loss here is C times that: summed over
    classes.
    """
    classes = 10
    z, v = randn(6, classes), randn(6, classes, seed=1)
    log_q, p = (z / 4).log_softmax(-1), (v / 4).softmax(-1)
    trap = torch.nn.functional.kl_div(log_q, p, reduction="none").mean()
    batchmean = torch.nn.functional.kl_div(log_q, p, reduction="batchmean")
    result = kl_divergence(z, v, temperature=4.0).mean()
    torch.testing.assert_close(result, batchmean)
    torch.testing.assert_close(result, classes * trap)
    term = Objective(hard_weight=0, soft_weight=1, temperature=4.0)(
        z, v, torch.zeros(6, dtype=torch.long)
    )
    torch.testing.assert_close(term.loss, 16 * classes * trap)


@pytest.mark.parametrize("kind", PER_SAMPLE)
def test_value_per_sample_does_not_depend_on_the_batch(kind):
    z, v = randn(6, 5), randn(6, 5, seed=1)
    whole = CLASS_LOSSES[kind](z, v, temperature=4.0)
    for i in range(6):
        one = CLASS_LOSSES[kind](z[i : i + 1], v[i : i + 1], temperature=4.0)
        torch.testing.assert_close(one, whole[i : i + 1])


@pytest.mark.parametrize("kind", sorted(CLASS_LOSSES))
def test_each_soft_loss_falls_when_the_student_follows_its_gradient(kind):
    z, v, y = randn(8, 5, scale=1.0), randn(8, 5, seed=1, scale=1.0), some_labels(8)
    objective = Objective(soft=kind, hard_weight=0, soft_weight=1, temperature=2.0)
    values = []
    for _ in range(30):
        z.requires_grad_()
        loss = objective(z, v, y).loss
        values.append(loss.item())
        z = (z - 0.3 * torch.autograd.grad(loss, z)[0]).detach()
    assert values[-1] < values[0]
