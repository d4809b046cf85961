"""Shuffled answers, the negative control, and ignored positions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.losses import CLASS_LOSSES
from support.stacked_losses import assert_equal_to_each_alone
from support.tensors import few, randn, some_labels

from limbeck._base.errors import ConfigError
from limbeck.losses import Objective, SparseTargets, StackedObjective

PER_SAMPLE = sorted(set(CLASS_LOSSES) - {"dist"})


def top_classes(v, k=3):
    """A teacher's K most probable classes, and the rest."""
    log_p, classes = v.log_softmax(-1), v.shape[-1]
    top = log_p.topk(k)
    rest = log_p.scatter(-1, top.indices, -math.inf)
    mean = (log_p.sum(-1) - top.values.sum(-1)) / (classes - k)
    return SparseTargets(
        top.indices, top.values, torch.stack([rest.logsumexp(-1), mean], -1), classes
    )


# Shuffled -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(CLASS_LOSSES))
@pytest.mark.parametrize("batch", [1, 2, 5, 6])
def test_each_sample_has_the_answer_half_a_batch_on(kind, batch, oracle):
    z, v, y = randn(batch, 5), randn(batch, 5, seed=1), torch.zeros(batch, dtype=torch.long)
    if kind == "dist" and batch == 1:
        return  # has no correlation over the batch
    objective = Objective(soft=kind, shuffled=True)
    expected = oracle.objective(z.numpy(), v.numpy(), y.numpy(), **objective.as_dict())
    assert [term.item() for term in objective(z, v, y)] == pytest.approx(expected, rel=1e-6)
    plain = Objective(soft=kind)(z, v, y)
    assert torch.isclose(plain.soft, objective(z, v, y).soft) == (batch == 1)
    assert plain.hard == objective(z, v, y).hard


def test_shuffled_arms_next_to_others():
    arms = [
        Objective(),
        Objective(shuffled=True, temperature=2.0),
        Objective(hard_weight=1, soft_weight=0),
        Objective(soft="logits", shuffled=True),
        Objective(temperature=3.0),
        Objective(shuffled=True, standardise=True),
    ]
    z, v, y = randn(6, 2, 6, 5), randn(2, 6, 5, seed=1), some_labels(2, 6)
    for logits in (z, z.mT.contiguous().mT):
        assert_equal_to_each_alone(arms, logits, v, y)


def test_blocks_of_tokens_are_shuffled_as_blocks():
    """Four blocks of three tokens, flattened: the third block's answers go to the first."""
    z, v = randn(4, 3, 5), randn(4, 3, 5, seed=1)
    result = Objective(shuffled=True)(
        z.flatten(0, 1), v.flatten(0, 1), torch.zeros(12, dtype=torch.long)
    ).soft
    others = v[[2, 3, 0, 1]].flatten(0, 1)
    expected = Objective()(z.flatten(0, 1), others, torch.zeros(12, dtype=torch.long)).soft
    torch.testing.assert_close(result, expected)


def test_sparse_targets_are_shuffled_in_the_same_way():
    z, v, y = randn(6, 9), randn(6, 9, seed=1), some_labels(6)
    result = Objective(shuffled=True)(z, top_classes(v), y)
    expected = Objective()(z, top_classes(v[[3, 4, 5, 0, 1, 2]]), y)
    torch.testing.assert_close(list(result), list(expected))


def test_shuffling_without_a_soft_loss_is_refused():
    with pytest.raises(ConfigError, match=r"objective\.shuffled=true.*objective\.soft_weight=0"):
        Objective(hard_weight=1, soft_weight=0, shuffled=True)
    with pytest.raises(ConfigError, match=r"objective\.shuffled='yes'"):
        Objective(shuffled="yes")


# Ignored ------------------------------------------------------------------------------------------

ARMS = [
    *(Objective(soft=kind, temperature=2.0) for kind in PER_SAMPLE),
    Objective(standardise=True),
    Objective(hard_weight=1, soft_weight=0),
    Objective(label_smoothing=0.2),
    Objective(class_weights=[1, 2, 0.5, 1, 3]),
    Objective(hard="squared_error"),
]
SPARSE_ARMS = [
    Objective(),
    Objective(soft="cross_entropy", temperature=1.0),
    Objective(label_smoothing=0.1),
]


def value_and_gradient(arms, z, v, y, **settings):
    z = z.clone().requires_grad_()
    terms = StackedObjective(arms)(z, v, y, **settings)
    return terms, torch.autograd.grad(terms.loss.sum(), z)[0]


@pytest.mark.slow
@few
@given(st.integers(0, 10_000), st.booleans())
def test_ignored_positions_do_not_change_the_others(seed, sparse):
    arms, size = SPARSE_ARMS if sparse else ARMS, 8
    z, v, y = (
        randn(len(arms), size, 5, seed=seed),
        randn(size, 5, seed=seed + 1),
        some_labels(size, seed=seed),
    )
    ignored = torch.rand(size, generator=torch.Generator().manual_seed(seed)) < 0.4
    remaining = (~ignored).nonzero().flatten()
    teacher = top_classes(v) if sparse else v
    part = teacher.map(lambda t: t[remaining]) if sparse else v[remaining]
    result, gradient = value_and_gradient(arms, z, teacher, y, ignored=ignored)
    if len(remaining):
        expected, of_remaining = value_and_gradient(arms, z[:, remaining], part, y[remaining])
        torch.testing.assert_close(list(result), list(expected), rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(gradient[:, remaining], of_remaining, rtol=1e-10, atol=1e-13)
    else:
        assert all((term == 0).all() for term in result)
    assert (gradient[:, ignored] == 0).all()


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("side", ["teacher", "student", "both"])
def test_values_at_ignored_positions_do_not_matter(junk, side):
    z, v, y = randn(len(ARMS), 2, 6, 5), randn(2, 6, 5, seed=1), some_labels(2, 6)
    ignored = torch.zeros(2, 6, dtype=torch.bool)
    ignored[0, 3:] = ignored[1, 0] = True
    expected, expected_grad = value_and_gradient(ARMS, z, v, y, ignored=ignored)
    v[ignored] = junk if side != "student" else 0.0
    z[:, ignored] = junk if side != "teacher" else 0.0
    y[ignored] = 3
    result, gradient = value_and_gradient(ARMS, z, v, y, ignored=ignored)
    assert all(map(torch.equal, result, expected))
    assert torch.equal(gradient, expected_grad)
    assert expected_grad.isfinite().all()


@pytest.mark.parametrize("tail", [True, False])
@pytest.mark.parametrize("shuffled", [True, False])
def test_sparse_targets_at_ignored_positions_do_not_matter(tail, shuffled):
    arms = [Objective(shuffled=shuffled), Objective(soft="cross_entropy", shuffled=shuffled)]
    z, y = randn(2, 2, 6, 9), some_labels(2, 6)
    targets = top_classes(randn(2, 6, 9, seed=1))
    targets = targets if tail else targets._replace(tail=None)
    ignored = torch.zeros(2, 6, dtype=torch.bool)
    ignored[0, 4:] = ignored[1, 1] = True
    expected, expected_grad = value_and_gradient(arms, z, targets, y, ignored=ignored)
    junk = targets.map(torch.clone)
    junk.ids[ignored] = -7
    for numbers in junk[1:3]:
        if numbers is not None:
            numbers[ignored] = math.nan
    result, gradient = value_and_gradient(arms, z, junk, y, ignored=ignored)
    assert all(map(torch.equal, result, expected))
    assert torch.equal(gradient, expected_grad)
    assert expected_grad.isfinite().all()


def test_samples_whose_shuffled_answer_is_ignored_have_no_soft_loss():
    """Of six samples the last is padding, so the third, whose answer would be the last's, has no
    soft loss.
    """
    z, v, y = randn(6, 5), randn(6, 5, seed=1), torch.zeros(6, dtype=torch.long)
    ignored = torch.tensor([False] * 5 + [True])
    result = Objective(shuffled=True, scale_by_t2=False, temperature=1.0)(
        z, v, y, ignored=ignored
    ).soft
    log_p, log_q = v[[3, 4, 0, 1]].log_softmax(-1), z[[0, 1, 3, 4]].log_softmax(-1)
    torch.testing.assert_close(result, (log_p.exp() * (log_p - log_q)).sum() / 5)


def test_ignoring_nothing_changes_nothing():
    z, v, y = randn(len(ARMS), 2, 6, 5), randn(2, 6, 5, seed=1), some_labels(2, 6)
    result = value_and_gradient(ARMS, z, v, y, ignored=torch.zeros(2, 6, dtype=torch.bool))
    expected = value_and_gradient(ARMS, z, v, y)
    torch.testing.assert_close(list(result[0]), list(expected[0]))
    torch.testing.assert_close(result[1], expected[1])


def test_counts_may_differ_by_seed():
    z, v, y = randn(3, 2, 6, 5), randn(2, 6, 5, seed=1), some_labels(2, 6)
    ignored = torch.zeros(2, 6, dtype=torch.bool)
    ignored[0, 3:] = True
    arms = StackedObjective(
        [Objective(), Objective(hard_weight=1, soft_weight=0), Objective(soft="logits")]
    )
    expected = arms(z, v, y, ignored=ignored)
    counts = torch.tensor([2.0, 5.0]), torch.tensor([3.0, 6.0])
    torch.testing.assert_close(list(arms(z, v, y, ignored=ignored, counts=counts)), list(expected))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(
            list(arms(z, v, y, ignored=ignored, counts=(2.0, 3.0))), list(expected)
        )


def test_a_loss_over_the_batch_is_refused():
    z, v, y = randn(2, 6, 5), randn(6, 5, seed=1), some_labels(6)
    ignored = torch.zeros(6, dtype=torch.bool)
    dist = Objective(soft="dist")
    with pytest.raises(
        ConfigError, match=r"objective\.soft=dist .* has no meaning with ignored positions"
    ):
        StackedObjective([dist, Objective()])(z, v, y, ignored=ignored)
    control = Objective(soft="dist", hard_weight=1, soft_weight=0)
    assert StackedObjective([control, Objective()])(z, v, y, ignored=ignored).loss.isfinite().all()
