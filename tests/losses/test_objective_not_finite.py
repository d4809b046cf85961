"""NaN and infinity in every loss: a value that is not finite never looks like a loss.

A teacher's logit of -inf excludes a class, which is valid except in the squared error of logits.
"""

import math

import pytest
import torch
from support.losses import CLASS_LOSSES
from support.tensors import randn

from limbeck._base.errors import ConfigError, TeacherError
from limbeck.losses import (
    SPARSE_LOSSES,
    Objective,
    SparseTargets,
    StackedObjective,
    attention_loss,
    chunked_loss,
    hard_loss,
    hint_loss,
)

LABELS = torch.tensor([0, 1, 2, 3])
OBJECTIVES = {kind: Objective(soft=kind, hard_weight=0) for kind in CLASS_LOSSES} | {
    f"standardised {kind}": Objective(soft=kind, hard_weight=0, standardise=True)
    for kind, loss in CLASS_LOSSES.items()
    if loss.can_standardise
}
HARD = {
    "cross_entropy": {},
    "squared_error": {"kind": "squared_error"},
    "smoothed": {"smoothing": 0.1},
    "weighted": {"class_weights": torch.tensor([1.0, 2.0, 0.5, 1.0, 1.0])},
    "mixed": {"mixed": (LABELS.flip(0), torch.full((4,), 0.5))},
}


def logits(seed=0, value=None, classes=slice(1, 2)):
    """Logits of 4 samples, of which the second has a value in some classes."""
    z = randn(4, 5, seed=seed).float()
    if value is not None:
        z[1, classes] = value
    return z


def value_and_gradient(loss, z):
    z = z.requires_grad_()
    value = loss(z)
    (gradient,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), gradient


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("classes", [slice(1, 2), slice(0, 5)], ids=["one class", "all"])
def test_nan_and_infinity_of_either_side_make_a_soft_loss_nan(name, value, classes):
    objective = OBJECTIVES[name]
    for z, v in (
        (logits(), logits(1, value, classes)),
        (logits(0, value, classes), logits(1)),
    ):
        terms, gradient = value_and_gradient(lambda z, v=v: objective(z, v, LABELS).loss, z)
        assert terms.isnan()
        assert objective.soft == "dist" or gradient[[0, 2, 3]].isfinite().all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_teacher_may_exclude_a_class_but_not_all(name):
    objective = OBJECTIVES[name]
    value, gradient = value_and_gradient(
        lambda z: objective(z, logits(1, -math.inf), LABELS).loss, logits()
    )
    assert value.isfinite() == gradient.isfinite().all()
    assert value.isfinite() != CLASS_LOSSES[objective.soft].needs_finite
    nothing = logits(1, -math.inf, slice(0, 5))
    assert objective(logits(), nothing, LABELS).loss.isnan()


def test_one_arm_with_nan_leaves_the_others_alone():
    arms = list(OBJECTIVES.values())
    z = logits().repeat(len(arms), 1, 1)
    expected = StackedObjective(arms)(z, logits(1), LABELS).loss
    z[3, 1, 1] = math.nan
    result = StackedObjective(arms)(z, logits(1), LABELS).loss
    assert result[3].isnan()
    others = [arm for arm in range(len(arms)) if arm != 3]
    assert torch.equal(result[others], expected[others])


@pytest.mark.parametrize("kind", SPARSE_LOSSES)
@pytest.mark.parametrize("part", ["log_p", "tail", "student"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_nan_and_infinity_make_a_sparse_loss_nan(kind, part, value, temperature):
    log_p = logits(1).log_softmax(-1)[:, :2]
    tail = torch.tensor([[-1.0, -3.0]]).repeat(4, 1)
    targets = SparseTargets(torch.tensor([[3, 4]] * 4), log_p, tail, 5)
    z = logits()
    spoilt = {"log_p": log_p, "tail": tail, "student": z}[part]
    for column in range(2):
        remaining = spoilt[1, column].item()
        spoilt[1, column] = value
        for without_tail in (False, True):
            if part == "tail" and without_tail:
                continue
            used = targets._replace(tail=None) if without_tail else targets
            loss = SPARSE_LOSSES[kind](z, used, temperature=temperature)
            assert loss.isfinite().tolist() == [True, False, True, True]
            assert part != "student" or loss[1].isnan()
        spoilt[1, column] = remaining


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_of_a_label_make_a_hard_loss_not_finite(name, value):
    values = hard_loss(logits(0, value), LABELS, **HARD[name])
    assert not values[1].isfinite()
    assert values[[0, 3]].isfinite().all()


def test_chunks_carry_nan_of_either_side():
    hidden, weight = randn(4, 3).float(), randn(5, 3, seed=2).float()

    def total(hidden, v):
        def loss(z, part):
            return OBJECTIVES["kl"](z, v[part], LABELS[part]).loss

        return chunked_loss(hidden, weight, loss, chunk=2)[0]

    assert total(hidden, logits(1)).isfinite()
    assert total(hidden, logits(1, math.nan)).isnan()
    hidden[1, 1] = math.nan
    assert total(hidden, logits(1)).isnan()


@pytest.mark.parametrize("loss", [hint_loss, attention_loss])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_of_either_side_make_a_loss_of_layers_not_finite(loss, value):
    layers = [randn(2, 3, 4, 4, seed=seed) for seed in range(2)]
    assert loss(*layers).isfinite().all()
    for side in range(2):
        spoilt = [layer.clone() for layer in layers]
        spoilt[side][1, 0, 0, 0] = value
        assert loss(*spoilt).isfinite().tolist() == [True, False]


def test_a_single_logit_is_refused_with_the_fix():
    z, y = torch.randn(4, 1), torch.zeros(4, dtype=torch.long)
    for objective in (Objective(), Objective(hard_weight=1, soft_weight=0)):
        with pytest.raises(ConfigError, match=r"student has one logit.* two for yes or no"):
            objective(z, z, y)
    with pytest.raises(TeacherError, match=r"1 classes and the student 2.*two for yes or no"):
        Objective()(torch.randn(4, 2), z, y)


def test_a_padded_vocabulary_is_cut_by_the_fix_in_the_message():
    """Models of one family pad their vocabularies differently, as Qwen2.5 with 3B and 14B."""
    z, v, y = torch.randn(2, 2000), torch.randn(2, 2100), torch.zeros(2, dtype=torch.long)
    with pytest.raises(TeacherError, match=r"2100 classes .* cut it: logits\[\.\.\., :2000\]"):
        Objective()(z, v, y)
    assert Objective()(z, v[..., :2000], y).loss.isfinite()
