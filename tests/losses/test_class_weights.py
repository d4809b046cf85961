"""Class weights and the squared error of grades, in the hard loss."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from support.tensors import few, randn, some_labels

from limbeck._base.errors import ConfigError
from limbeck.losses import Objective, StackedObjective, balanced_weights, hard_loss

WEIGHTS = [0.5, 2.0, 0.0, 1.0, 3.5]


def labels_only(**settings):
    return Objective(hard_weight=1, soft_weight=0, **settings)


@few
@given(st.integers(0, 10_000), st.lists(st.floats(0, 10), min_size=5, max_size=5).filter(any))
def test_weighted_cross_entropy_is_pytorchs_sum_over_the_number_of_labels(seed, weights):
    z, y = randn(8, 5, seed=seed), some_labels(8, seed=seed)
    result = labels_only(class_weights=weights)(z, None, y).hard
    numbers = torch.tensor(weights, dtype=torch.float64)
    expected = (
        F.cross_entropy(z, y, weight=numbers, reduction="sum", ignore_index=-100)
        / (y != -100).sum()
    )
    torch.testing.assert_close(result, expected)
    weighed = numbers[y[y != -100]].sum()
    if weighed > 1e-6:  # PyTorch's mean divides by what the samples count in all
        mean = F.cross_entropy(z, y, weight=numbers, ignore_index=-100)
        torch.testing.assert_close(result * (y != -100).sum() / weighed, mean)


def test_balanced_weights_are_sklearns():
    from sklearn.utils.class_weight import compute_class_weight

    y = torch.tensor([0] * 7 + [1] * 2 + [2] * 1 + [4] * 5 + [-100] * 9)
    result = balanced_weights(y, 6)
    remaining = y[y != -100].numpy()
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 2, 4]), y=remaining)
    assert [result[c] for c in (0, 1, 2, 4)] == pytest.approx(expected)
    assert result[3] == result[5] == 1.0
    assert np.mean([result[c] for c in remaining]) == pytest.approx(1.0)


def test_balanced_classes_need_no_weights():
    assert balanced_weights(torch.arange(12) % 4, 4) == [1.0] * 4
    assert balanced_weights(torch.full((3,), -100), 4) == [1.0] * 4


def test_balanced_makes_numbers_of_labels():
    objective = labels_only(class_weights="balanced")
    z, y = randn(6, 3), torch.tensor([0, 0, 0, 1, 1, 2])
    with pytest.raises(ConfigError, match="balanced needs the labels"):
        objective(z, None, y)
    result = objective.for_labels(y, 3)
    assert result.class_weights == pytest.approx((6 / 9, 1.0, 2.0))
    per_class = [hard_loss(z, y)[y == c].mean() for c in range(3)]
    torch.testing.assert_close(result(z, None, y).hard, torch.stack(per_class).mean())
    assert objective.as_dict()["class_weights"] == "balanced"
    assert Objective().for_labels(y, 3) == Objective()


def test_in_a_stack_each_arm_has_its_own_weights_and_kind():
    arms = [
        labels_only(),
        labels_only(class_weights=WEIGHTS),
        labels_only(hard="squared_error"),
        Objective(hard_weight=0.2),
        labels_only(hard="squared_error", class_weights=WEIGHTS[::-1]),
        Objective(class_weights=WEIGHTS, soft="logits"),
    ]
    z, v, y = randn(6, 2, 7, 5), randn(2, 7, 5, seed=1), some_labels(2, 7)
    mixed = some_labels(2, 7, seed=3), torch.rand(2, 7, generator=torch.Generator().manual_seed(0))
    z.requires_grad_()
    for mixture in (None, mixed):
        result = StackedObjective(arms)(z, v, y, mixed=mixture)
        gradient = torch.autograd.grad(result.loss.sum(), z)[0]
        for arm, objective in enumerate(arms):
            alone = z[arm].detach().clone().requires_grad_()
            expected = objective(alone, v, y, mixed=mixture)
            torch.testing.assert_close(
                [term[arm] for term in result], list(expected), rtol=1e-12, atol=1e-14
            )
            expected.loss.sum().backward()
            torch.testing.assert_close(gradient[arm], alone.grad, rtol=1e-12, atol=1e-14)


def test_the_loss_of_a_mixture_weighs_each_label_by_its_class():
    z, first, second = randn(4, 5), torch.tensor([0, 1, 3, 4]), torch.tensor([4, 4, 0, -100])
    share = torch.tensor([0.25, 1.0, 0.5, 0.5], dtype=torch.float64)
    numbers = torch.tensor(WEIGHTS, dtype=torch.float64)
    result = hard_loss(z, first, mixed=(second, share), class_weights=numbers)
    one = F.cross_entropy(z, first, weight=numbers, reduction="none")
    other = F.cross_entropy(z, second, weight=numbers, reduction="none", ignore_index=-100)
    expected = share * one + (1 - share) * other
    expected[3] = 0  # a mixture with an unlabelled sample has no label
    torch.testing.assert_close(result, expected)


def test_squared_error_is_that_of_a_graded_students_score():
    """A graded student with score s has logits k s - sum over j up to k of (j - 1/2)."""
    score = torch.tensor([-0.7, 0.2, 1.4, 3.9, 2.5], dtype=torch.float64, requires_grad=True)
    grades = torch.arange(5)
    logits = grades * score[:, None] - torch.tensor(
        [sum(j - 0.5 for j in range(1, k + 1)) for k in range(5)]
    )
    y = torch.tensor([0, 1, 1, 4, -100])
    result = hard_loss(logits, y, kind="squared_error")
    torch.testing.assert_close(result, torch.where(y == -100, 0.0, (score - y).square()))
    result.sum().backward()
    torch.testing.assert_close(score.grad, torch.where(y == -100, 0.0, 2 * (score.detach() - y)))
    assert logits.argmax(-1).tolist()[:4] == [0, 0, 1, 4]  # the nearest grade


def test_squared_error_in_half_precision_is_in_float32():
    z, y = randn(6, 5).bfloat16(), some_labels(6)
    assert hard_loss(z, y, kind="squared_error").dtype == torch.float32


@pytest.mark.parametrize(
    "weights",
    [[], [0.0, 0.0], [1.0, -1.0], [1.0, float("nan")], ["1"], [True, 1], "equal", 3, [1e9]],
)
def test_bad_class_weights_are_refused(weights):
    with pytest.raises(ConfigError, match=r"objective\.class_weights="):
        Objective(class_weights=weights)


def test_class_weights_are_one_a_class():
    with pytest.raises(ConfigError, match="has 5 numbers but the dataset has 4 classes"):
        labels_only(class_weights=WEIGHTS).for_labels(torch.arange(4), 4)
    with pytest.raises(ConfigError, match="has 5 numbers but the dataset has 3 classes"):
        labels_only(class_weights=WEIGHTS)(randn(6, 3), None, some_labels(6, classes=3))


@pytest.mark.parametrize("hard", ["l1", None, ["cross_entropy"]])
def test_an_unknown_hard_loss_is_refused(hard):
    with pytest.raises(ConfigError, match=r"objective\.hard=.*cross_entropy, squared_error"):
        Objective(hard=hard)
