"""The objective of one student: the sum, the factor T^2, what it refuses."""

import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.losses import CLASS_LOSSES
from support.tensors import labels, randn

from limbeck._base.errors import ConfigError, TeacherError
from limbeck.losses import Objective

KINDS = sorted(CLASS_LOSSES)


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(
    hard_weight=st.floats(0.01, 5),
    soft_weight=st.just(0.0) | st.floats(0.01, 5),
    temperature=st.floats(0.5, 20),
    soft=st.sampled_from(KINDS),
    scale_by_t2=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equals_the_oracle(oracle, seed, **settings):
    z, v, y = randn(6, 5, seed=seed), randn(6, 5, seed=seed + 1), labels(6, seed=seed)
    y[seed % 6] = -100
    result = Objective(**settings)(z, v, y)
    expected = oracle.objective(z.numpy(), v.numpy(), y.numpy(), **settings)
    np.testing.assert_allclose([term.item() for term in result], expected, rtol=1e-10)


def test_defaults_are_the_documented_ones(oracle):
    settings = {
        "hard_weight": 0.1,
        "soft_weight": 0.9,
        "temperature": 4.0,
        "soft": "kl",
        "scale_by_t2": True,
    }
    others = {
        "standardise": False,
        "target_weight": 1.0,
        "nontarget_weight": 8.0,
        "hard": "cross_entropy",
        "class_weights": None,
        "features": [],
        "shuffled": False,
        "teacher_share": 0.5,
        "label_smoothing": 0.0,
    }
    assert Objective().as_dict() == settings | others
    z, v, y = randn(6, 5), randn(6, 5, seed=1), labels(6)
    expected, _, _ = oracle.objective(z.numpy(), v.numpy(), y.numpy(), **settings)
    assert Objective()(z, v, y).loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_are_reduced_apart(kind, oracle):
    z, v, y = randn(3, 6, 5), randn(3, 6, 5, seed=1), labels(3, 6)
    objective = Objective(soft=kind)
    result = objective(z, v, y)
    assert [term.shape for term in result] == [(3,)] * 3
    for s in range(3):
        expected = oracle.objective(z[s].numpy(), v[s].numpy(), y[s].numpy(), **objective.as_dict())
        np.testing.assert_allclose([term[s] for term in result], expected, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_t2_is_applied_once_to_the_soft_term_alone(kind):
    z, v, y = randn(6, 5), randn(6, 5, seed=1), labels(6)
    scaled = Objective(temperature=5.0, soft=kind)
    plain = replace(scaled, scale_by_t2=False)
    assert (scaled.soft_scale, plain.soft_scale) == (25.0, 1.0)
    torch.testing.assert_close(scaled(z, v, y).soft, 25 * plain(z, v, y).soft)
    torch.testing.assert_close(scaled(z, v, y).hard, plain(z, v, y).hard)


def soft_gradient_norms(kind, scale_by_t2):
    z, v = randn(8, 10, scale=0.3).requires_grad_(), randn(8, 10, seed=1, scale=0.3)
    norms = []
    for temperature in range(1, 21):
        objective = Objective(
            hard_weight=0,
            soft_weight=1,
            temperature=temperature,
            soft=kind,
            scale_by_t2=scale_by_t2,
        )
        (grad,) = torch.autograd.grad(objective(z, v, labels(8)).loss, z)
        norms.append(grad.norm().item())
    return norms


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dist"])
def test_gradient_hardly_depends_on_the_temperature(kind):
    norms = soft_gradient_norms(kind, scale_by_t2=True)
    assert max(norms) < 2 * min(norms)


def test_without_t2_the_gradient_shrinks_by_t2():
    norms = soft_gradient_norms("kl", scale_by_t2=False)
    assert norms[0] / norms[19] == pytest.approx(400, rel=0.3)
    assert norms[9] / norms[19] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind):
    z, v, y = randn(4, 5, scale=1.0).requires_grad_(), randn(4, 5, seed=1, scale=1.0), labels(4)
    y[0] = -100
    objective = Objective(hard_weight=0.3, soft_weight=0.7, temperature=3.0, soft=kind)
    assert torch.autograd.gradcheck(lambda x: objective(x, v, y).loss, (z,))


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_under_autocast(kind, oracle):
    z, v, y = randn(6, 5).bfloat16().requires_grad_(), randn(6, 5, seed=1).bfloat16(), labels(6)
    objective = Objective(soft=kind)
    with torch.autocast("cpu", torch.bfloat16):
        result = objective(z, v, y)
    result.loss.backward()
    assert {term.dtype for term in result} == {torch.float32}
    expected = oracle.objective(
        z.detach().double().numpy(), v.double().numpy(), y.numpy(), **objective.as_dict()
    )
    np.testing.assert_allclose([term.item() for term in result], expected, rtol=2e-5)
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_logits_made_under_autocast(kind):
    model = torch.nn.Linear(3, 5)
    x, v, y = randn(6, 3).float(), randn(6, 5, seed=1).float(), labels(6)
    with torch.autocast("cpu", torch.bfloat16):
        z = model(x)
        result = Objective(soft=kind)(z, v, y)
    assert z.dtype == torch.bfloat16
    assert result.loss.dtype == torch.float32
    result.loss.backward()
    assert model.weight.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_huge_logits_stay_finite(kind, dtype):
    z = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    v = z.detach().flip(-1)
    result = Objective(temperature=20.0, soft=kind)(z, v, torch.tensor([1, 0]))
    result.loss.backward()
    assert result.loss.isfinite()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_reaches_the_teacher(kind):
    z, v = randn(6, 5).requires_grad_(), randn(6, 5, seed=1).requires_grad_()
    Objective(soft=kind)(z, v, labels(6)).loss.backward()
    assert v.grad is None
    assert z.grad.abs().sum() > 0


def test_a_control_needs_no_teacher():
    control = Objective(hard_weight=1, soft_weight=0)
    z, v, y = randn(6, 5), randn(6, 5, seed=1), labels(6)
    assert not control.needs_teacher
    assert Objective().needs_teacher
    result = control(z, None, y)
    torch.testing.assert_close(result.loss, torch.nn.functional.cross_entropy(z, y))
    assert result.soft == 0
    assert control(z, v, y) == result


def test_a_missing_teacher_is_a_teacher_error():
    with pytest.raises(TeacherError, match="there is no teacher"):
        Objective()(randn(6, 5), None, labels(6))


@pytest.mark.parametrize("classes", [1, 4, 10])
def test_other_classes_than_the_teacher_are_a_teacher_error(classes):
    with pytest.raises(TeacherError, match=rf"{classes} classes and the student 5"):
        Objective()(randn(6, 5), randn(6, classes), labels(6))


@pytest.mark.parametrize("name", ["temperature", "hard_weight", "soft_weight"])
@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, -1, -1e-9, True, "4", None, [4.0]]
)
def test_bad_numbers_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=rf"objective\.{name}="):
        Objective(**{name: value})


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"temperature": 0}, r"objective\.temperature=0"),
        ({"temperature": 0.0}, r"objective\.temperature=0"),
        ({"temperature": False}, r"objective\.temperature=False"),
        (
            {"hard_weight": 0, "soft_weight": 0},
            r"objective\.hard_weight and objective\.soft_weight",
        ),
        ({"soft": "kld"}, r"objective\.soft='kld'.*kl, cross_entropy, probabilities, logits"),
        ({"soft": "KL"}, r"objective\.soft='KL'"),
        ({"soft": None}, r"objective\.soft=None"),
        ({"soft": ["kl"]}, r"objective\.soft=\['kl'\]"),
        ({"scale_by_t2": "false"}, r"objective\.scale_by_t2='false'"),
        ({"scale_by_t2": None}, r"objective\.scale_by_t2=None"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, key):
    with pytest.raises(ConfigError, match=key):
        Objective(**settings)


def test_whole_numbers_are_numbers():
    z, v, y = randn(6, 5), randn(6, 5, seed=1), labels(6)
    whole = Objective(hard_weight=1, soft_weight=2, temperature=3)(z, v, y)
    assert whole == Objective(hard_weight=1.0, soft_weight=2.0, temperature=3.0)(z, v, y)


def test_is_frozen_and_keyword_only():
    with pytest.raises(FrozenInstanceError):
        Objective().temperature = 2
    with pytest.raises(TypeError):
        Objective(0.1, 0.9)
