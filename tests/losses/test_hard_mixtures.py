"""The hard loss of inputs that are mixtures of two, against cross-entropy with explicit soft labels
in float64.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from limbeck.losses import UNLABELLED, Objective, StackedObjective, hard_loss, is_labelled

CLASSES = 5


def mixture(*shape, seed=0, unlabelled=0.3):
    """Logits, labels of both inputs, and weights of the first; some labels are missing."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(*shape, CLASSES)) * 3)
    labels = [
        np.where(rng.random(shape) < unlabelled, UNLABELLED, rng.integers(0, CLASSES, shape))
        for _ in range(2)
    ]
    return logits, *map(torch.from_numpy, labels), torch.from_numpy(rng.random(shape))


def soft_label_loss(logits, first, second, weight):
    """Cross-entropy with ``weight`` of one one-hot label and the rest of another; 0 where one is
    missing.
    """
    labelled = (first >= 0) & (second >= 0)
    rows = np.eye(CLASSES)
    target = (
        weight[..., None] * rows[first.clip(0)] + (1 - weight[..., None]) * rows[second.clip(0)]
    )
    return np.where(labelled, -(target * log_softmax(logits, axis=-1)).sum(-1), 0.0), labelled


@pytest.mark.parametrize("shape", [(12,), (3, 8), (2, 3, 4)])
def test_equals_cross_entropy_with_soft_labels(shape):
    z, first, second, weight = mixture(*shape)
    expected, labelled = soft_label_loss(*(part.numpy() for part in (z, first, second, weight)))
    assert 0 < labelled.sum() < labelled.size
    np.testing.assert_allclose(
        hard_loss(z, first, mixed=(second, weight)), expected, rtol=1e-12, atol=1e-14
    )
    assert np.array_equal(is_labelled(first, (second, weight)), labelled)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    size=st.integers(1, 9),
    unlabelled=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_the_mean_is_over_the_mixtures_that_have_a_label(seed, size, unlabelled):
    z, first, second, weight = mixture(size, seed=seed, unlabelled=unlabelled)
    values, labelled = soft_label_loss(*(part.numpy() for part in (z, first, second, weight)))
    result = Objective(hard_weight=1, soft_weight=0)(z, None, first, mixed=(second, weight))
    assert result.hard.item() == pytest.approx(values.sum() / max(labelled.sum(), 1), rel=1e-12)
    assert result.loss == result.hard


def test_the_weight_one_is_the_first_label_and_zero_the_second():
    z, first, second, _ = mixture(10, unlabelled=0)
    for weight, expected in ((1.0, first), (0.0, second)):
        mixed = (second, torch.full((10,), weight))
        torch.testing.assert_close(hard_loss(z, first, mixed=mixed), hard_loss(z, expected))


def test_without_mixtures_nothing_changes():
    z, first, _, weight = mixture(4, 6)
    assert torch.equal(hard_loss(z, first, mixed=None), hard_loss(z, first))
    assert torch.equal(is_labelled(first), first != UNLABELLED)
    same = hard_loss(z, first, mixed=(first, weight))
    torch.testing.assert_close(same, hard_loss(z, first), rtol=1e-12, atol=1e-14)


def test_gradients():
    z, first, second, weight = mixture(6)
    assert torch.autograd.gradcheck(
        lambda x: hard_loss(x, first, mixed=(second, weight)), (z.requires_grad_(),)
    )
    hard_loss(z, first, mixed=(second, weight)).sum().backward()
    labelled = is_labelled(first, (second, weight))
    assert (z.grad[~labelled] == 0).all()
    assert (z.grad[labelled] != 0).all()


def test_each_arm_of_a_cohort_gets_what_it_gets_alone():
    arms = [
        Objective(hard_weight=1, soft_weight=0),
        Objective(temperature=3),
        Objective(soft="logits"),
    ]
    z, first, second, weight = mixture(2, 7)
    logits, teacher = torch.stack([z, z * 0.5, z + 1]), z.flip(-1)
    result = StackedObjective(arms)(logits, teacher, first, mixed=(second, weight))
    for arm, objective in enumerate(arms):
        expected = objective(logits[arm], teacher, first, mixed=(second, weight))
        torch.testing.assert_close(
            [term[arm] for term in result], list(expected), rtol=1e-12, atol=1e-14
        )
        plain = objective(logits[arm], teacher, first)
        assert torch.equal(expected.soft, plain.soft), (
            "the teacher has seen the mixture: its answer is not mixed again"
        )
        assert not torch.allclose(expected.hard, plain.hard)


def test_half_precision_gives_float32():
    z, first, second, weight = mixture(8)
    with torch.autocast("cpu", torch.bfloat16):
        result = hard_loss(z.bfloat16(), first, mixed=(second, weight.float()))
    assert result.dtype == torch.float32
    expected = hard_loss(z.bfloat16().double(), first, mixed=(second, weight))
    torch.testing.assert_close(result.double(), expected, rtol=2e-5, atol=1e-6)
