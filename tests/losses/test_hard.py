"""The hard loss against scipy, and samples that have no label."""

import numpy as np
import pytest
import torch
from support.tensors import labels, randn

from limbeck.losses import UNLABELLED, Objective, StackedObjective, hard_loss


def test_it_equals_scipy_and_torch(oracle):
    z, y = randn(8, 5), labels(8)
    result = hard_loss(z, y)
    assert result.shape == (8,)
    np.testing.assert_allclose(result, oracle.hard(z.numpy(), y.numpy()), rtol=1e-12)
    torch.testing.assert_close(result.mean(), torch.nn.functional.cross_entropy(z, y))


@pytest.mark.parametrize("label_shape", [(4,), (2, 4), (3, 2, 4)])
def test_labels_broadcast_over_arms_and_seeds(label_shape, oracle):
    z, y = randn(3, 2, 4, 5), labels(*label_shape)
    expected = oracle.hard(z.numpy(), np.broadcast_to(y.numpy(), (3, 2, 4)))
    np.testing.assert_allclose(hard_loss(z, y), expected, rtol=1e-12)


def test_gradients_are_those_of_finite_differences():
    z, y = randn(4, 5).requires_grad_(), labels(4)
    y[1] = UNLABELLED
    assert torch.autograd.gradcheck(lambda x: hard_loss(x, y), (z,))


def test_half_precision_and_autocast(oracle):
    z, y = randn(8, 5).bfloat16(), labels(8)
    expected = oracle.hard(z.double().numpy(), y.numpy())
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            result = hard_loss(z, y)
        assert result.dtype == torch.float32
        np.testing.assert_allclose(result, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_huge_logits_stay_finite(dtype):
    z = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    result = hard_loss(z, torch.tensor([1, 0]))
    result.sum().backward()
    assert result.isfinite().all()
    assert z.grad.isfinite().all()


def test_unlabelled_samples_do_not_count(oracle):
    z, y = randn(6, 5).requires_grad_(), labels(6)
    y[[0, 3, 4]] = UNLABELLED
    values = hard_loss(z, y)
    assert (values[y == UNLABELLED] == 0).all()
    term = Objective(hard_weight=1, soft_weight=0)(z, None, y)
    term.loss.backward()
    expected = oracle.hard(z.detach().numpy(), y.numpy())[[1, 2, 5]].mean()
    assert term.hard.item() == pytest.approx(expected, rel=1e-12)
    assert (z.grad[y == UNLABELLED] == 0).all()
    assert (z.grad[y != UNLABELLED] != 0).all()


def test_a_batch_without_labels_gives_zero_and_zero_gradient():
    z = randn(6, 5).requires_grad_()
    term = Objective(hard_weight=1, soft_weight=0)(z, None, torch.full((6,), UNLABELLED))
    term.loss.backward()
    assert term == (0, 0, 0)
    assert (z.grad == 0).all()


def test_a_batch_without_labels_still_learns_from_the_teacher(oracle):
    z, v, y = randn(6, 5), randn(6, 5, seed=1), torch.full((6,), UNLABELLED)
    term = Objective(hard_weight=0.3, soft_weight=0.7, temperature=2.0)(z, v, y)
    expected = 0.7 * 4 * oracle.soft["kl"](z.numpy(), v.numpy(), 2.0).mean()
    assert term.loss.item() == pytest.approx(expected, rel=1e-12)


def test_seeds_with_different_numbers_of_labels(oracle):
    z, y = randn(2, 4, 5), labels(2, 4)
    y[0, 1:] = UNLABELLED
    result = Objective(hard_weight=1, soft_weight=0)(z, None, y).hard
    values = oracle.hard(z.numpy(), y.numpy())
    np.testing.assert_allclose(result, [values[0, 0], values[1].mean()], rtol=1e-12)


def test_counts_of_the_caller_replace_those_of_the_batch():
    z, v, y = randn(2, 4, 5), randn(2, 4, 5), labels(2, 4)
    y[0, 1:] = UNLABELLED
    objective = StackedObjective([Objective(hard_weight=0.3, soft_weight=0.7)])
    whole = objective(z[None], v, y)
    counts = (y != UNLABELLED).sum(-1) / 2, 4 / 2  # two processes share the batch
    halves = [
        objective(z[None, :, part], v[:, part], y[:, part], counts=counts)
        for part in (slice(0, 4, 2), [1, 3])
    ]
    for result, first, second in zip(whole, *halves, strict=True):
        torch.testing.assert_close((first + second) / 2, result, rtol=1e-12, atol=1e-14)


def test_samples_without_label_do_not_spoil_the_mean():
    z, y = randn(3, 5), labels(3)
    y[1] = UNLABELLED
    spoilt = z.clone()
    spoilt[1] = float("nan")
    objective = Objective(hard_weight=1, soft_weight=0)
    torch.testing.assert_close(objective(spoilt, None, y).hard, objective(z, None, y).hard)


def test_labels_are_not_read_if_no_arm_learns_from_them():
    z, v = randn(3, 5).requires_grad_(), randn(3, 5)
    terms = Objective(hard_weight=0, soft_weight=1)(z, v, torch.tensor([0, 77, -3]))
    assert terms.hard.item() == 0
    torch.testing.assert_close(terms.loss, terms.soft)
    both = StackedObjective(
        [Objective(hard_weight=0, soft_weight=1), Objective(hard_weight=1, soft_weight=0)]
    )
    assert (both(z.detach().expand(2, 3, 5), v, labels(3)).hard > 0).all()


@pytest.mark.parametrize("soft", ["kl", "cross_entropy", "probabilities", "logits"])
def test_the_order_in_memory_does_not_matter(soft):
    z, v, y = randn(2, 4, 5), randn(4, 5, seed=1), labels(4)
    objective = StackedObjective(
        [Objective(soft=soft, temperature=3.0), Objective(soft=soft, hard_weight=0.5)]
    )
    other = z.mT.contiguous().mT
    assert other.stride(-1) != 1
    for result, expected_grad in zip(objective(other, v, y), objective(z, v, y), strict=True):
        torch.testing.assert_close(result, expected_grad, rtol=1e-12, atol=1e-14)
