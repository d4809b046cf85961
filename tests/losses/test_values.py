"""Losses of values against NumPy and scikit-learn in float64, and what they do without labels."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_squared_error
from support.tensors import randn

from limbeck._base.errors import ConfigError
from limbeck.losses import SOFT_LOSSES, TASKS, Objective, StackedObjective, hard_loss

VALUE_LOSSES = [name for name, loss in SOFT_LOSSES.items() if loss.outputs == "values"]
REGRESSION = TASKS["regression"]
Z, V, Y = randn(8, 3), randn(8, 3, seed=1), randn(8, 3, seed=2)


def some_values():
    """Labels, of which that of the second sample is missing."""
    labels = Y.clone()
    labels[1] = torch.nan
    return labels


def huber_by_numpy(difference):
    size = np.abs(difference)
    return np.where(size <= 1, difference**2 / 2, size - 0.5).mean(-1)


def test_the_squared_error_is_scikit_learns():
    expected = mean_squared_error(Y.T, Z.T, multioutput="raw_values")
    np.testing.assert_allclose(hard_loss(Z, Y, kind="mse"), expected, rtol=1e-12)
    np.testing.assert_allclose(SOFT_LOSSES["mse"](Z, Y), expected, rtol=1e-12)


def test_the_huber_loss_is_that_of_its_formula():
    expected = huber_by_numpy((Z - Y).numpy())
    np.testing.assert_allclose(hard_loss(Z, Y, kind="huber"), expected, rtol=1e-12)
    np.testing.assert_allclose(SOFT_LOSSES["huber"](Z, Y), expected, rtol=1e-12)


def test_the_bounded_loss_counts_only_students_that_are_farther_from_the_label_than_the_teacher():
    student, teacher = ((x - Y).square().mean(-1).numpy() for x in (Z, V))
    expected = np.where(student > teacher, student, 0.0)
    assert 0 < (expected > 0).sum() < len(expected)
    np.testing.assert_allclose(SOFT_LOSSES["bounded"](Z, V, labels=Y), expected, rtol=1e-12)


def test_without_a_label_the_bounded_loss_is_the_squared_error_to_the_teacher():
    values = SOFT_LOSSES["bounded"](Z, V, labels=some_values())
    torch.testing.assert_close(values[1], SOFT_LOSSES["mse"](Z, V)[1])
    torch.testing.assert_close(SOFT_LOSSES["bounded"](Z, V), SOFT_LOSSES["mse"](Z, V))


@pytest.mark.parametrize("kind", ["mse", "huber"])
def test_a_sample_without_a_label_has_no_hard_loss_and_no_gradient(kind):
    z = Z.clone().requires_grad_()
    values = hard_loss(z, some_values(), kind=kind)
    (gradient,) = torch.autograd.grad(values.sum(), z)
    assert values[1] == 0
    assert not gradient[1].any()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("kind", VALUE_LOSSES)
def test_an_answer_that_is_not_a_number_is_no_loss_of_zero(kind):
    teacher = V.clone()
    teacher[2, 0] = torch.nan
    assert SOFT_LOSSES[kind](Z, teacher)[2].isnan()


@pytest.mark.parametrize("kind", VALUE_LOSSES)
def test_the_objective_is_the_weighted_sum_of_scaled_losses(kind):
    scale = [2.0, 0.5, 10.0]
    objective = Objective(hard="mse", soft=kind, hard_weight=0.3, soft_weight=2.0, temperature=1.0)
    stacked = StackedObjective([objective, objective], scale=scale)
    labels = some_values()
    terms = stacked(torch.stack([Z, V]), V, labels)
    divisor = torch.tensor(scale)
    z, v, y = Z / divisor, V / divisor, labels / divisor
    hard = hard_loss(z, y, kind="mse").sum() / 7
    soft = SOFT_LOSSES[kind](z, v, **({"labels": y} if kind == "bounded" else {})).mean()
    torch.testing.assert_close(terms.hard[0], hard)
    torch.testing.assert_close(terms.soft[0], soft)
    torch.testing.assert_close(terms.loss[0], 0.3 * hard + 2.0 * soft)
    assert terms.soft[1] == 0


def test_a_mixture_has_the_mean_of_both_losses():
    weight, other = torch.linspace(0, 1, 8, dtype=torch.float64), Y.flip(0)
    values = hard_loss(Z, Y, kind="mse", mixed=(other, weight))
    expected = weight * hard_loss(Z, Y, kind="mse") + (1 - weight) * hard_loss(Z, other, kind="mse")
    torch.testing.assert_close(values, expected)


@pytest.mark.parametrize("kind", VALUE_LOSSES)
def test_the_loss_falls_when_the_student_follows_its_gradient(kind):
    z, objective = Z, Objective(soft=kind, hard_weight=0, soft_weight=1, temperature=1.0)
    values = []
    for _ in range(20):
        z = z.clone().requires_grad_()
        loss = objective(z, V, Y).loss
        values.append(loss.item())
        z = (z - 0.5 * torch.autograd.grad(loss, z)[0]).detach()
    assert values[-1] < values[0]


def test_the_default_losses_become_those_of_the_task():
    objective = Objective(hard_weight=0.5).for_task(REGRESSION)
    assert (objective.hard, objective.soft, objective.temperature) == ("mse", "mse", 1.0)
    assert objective.hard_weight == 0.5
    assert Objective(soft="dkd").for_task(TASKS["classes"]).soft == "dkd"


def test_losses_for_other_outputs_are_refused():
    with pytest.raises(ConfigError, match=r"soft=dkd is not for regression. Choose one of mse, hu"):
        Objective(soft="dkd").for_task(REGRESSION)
    with pytest.raises(ConfigError, match=r"hard=huber is not for classification"):
        Objective(hard="huber").for_task(TASKS["classes"])
    with pytest.raises(ConfigError, match=r"cross_entropy is for classes and .*mse is for values"):
        StackedObjective([Objective(soft="mse")])


@pytest.mark.parametrize(
    "setting",
    [{"temperature": 2.0}, {"class_weights": "balanced"}, {"label_smoothing": 0.1}],
)
def test_settings_that_only_classes_have_are_refused(setting):
    with pytest.raises(ConfigError, match=f"{next(iter(setting))}=.* has no meaning for regress"):
        Objective(**setting).for_task(REGRESSION)
