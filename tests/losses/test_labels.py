"""Losses of several labels against PyTorch and SciPy in float64."""

import numpy as np
import pytest
import torch
from scipy.special import rel_entr
from support.tensors import randn
from torch.nn import functional as F

from limbeck._base.errors import ConfigError
from limbeck.losses import (
    TASKS,
    Objective,
    StackedObjective,
    balanced_label_weights,
    binary_kl,
    hard_loss,
)

Z, V = randn(8, 3), randn(8, 3, seed=1)
Y = (randn(8, 3, seed=2) > 0).double()
LABELS = TASKS["multi_label"]


def test_the_cross_entropy_is_pytorchs():
    expected = F.binary_cross_entropy_with_logits(Z, Y, reduction="none").mean(-1)
    torch.testing.assert_close(hard_loss(Z, Y, kind="binary_cross_entropy"), expected)
    weights = torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)
    weighted = F.binary_cross_entropy_with_logits(Z, Y, pos_weight=weights, reduction="none")
    values = hard_loss(Z, Y, kind="binary_cross_entropy", class_weights=weights)
    torch.testing.assert_close(values, weighted.mean(-1))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_kl_is_scipys(temperature):
    p, q = ((x / temperature).sigmoid().numpy() for x in (V, Z))
    expected = (rel_entr(p, q) + rel_entr(1 - p, 1 - q)).mean(-1)
    np.testing.assert_allclose(binary_kl(Z, V, temperature=temperature), expected, rtol=1e-9)


def test_large_logits_stay_finite():
    z = torch.tensor([[-200.0, 300.0]], requires_grad=True)
    value = binary_kl(z, -z.detach()).sum()
    (gradient,) = torch.autograd.grad(value, z)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_a_sample_without_labels_has_no_hard_loss_and_no_gradient():
    z, labels = Z.clone().requires_grad_(), Y.clone()
    labels[1] = torch.nan
    values = hard_loss(z, labels, kind="binary_cross_entropy")
    (gradient,) = torch.autograd.grad(values.sum(), z)
    assert values[1] == 0
    assert not gradient[1].any()
    assert gradient.isfinite().all()


def test_balanced_weights_give_both_values_the_same_total():
    labels = Y.float()
    labels[0] = torch.nan
    weights = torch.tensor(balanced_label_weights(labels), dtype=torch.float64)
    known = Y[1:]
    torch.testing.assert_close(weights * known.sum(0), 7 - known.sum(0))
    objective = Objective(class_weights="balanced").for_task(LABELS).for_labels(labels, 3)
    assert list(objective.class_weights) == pytest.approx(weights.tolist())


def test_the_objective_has_the_factor_of_the_temperature():
    objective = Objective(hard_weight=0.3, soft_weight=0.7, temperature=2.0).for_task(LABELS)
    terms = StackedObjective([objective])(Z[None], V, Y)
    torch.testing.assert_close(terms.soft[0], 4 * binary_kl(Z, V, temperature=2.0).mean())
    hard = F.binary_cross_entropy_with_logits(Z, Y)
    torch.testing.assert_close(terms.loss[0], 0.3 * hard + 0.7 * terms.soft[0])


def test_settings_that_only_classes_have_are_refused():
    for setting in ({"label_smoothing": 0.1}, {"standardise": True}):
        with pytest.raises(ConfigError, match=f"{next(iter(setting))}=.* has no meaning"):
            Objective(**setting).for_task(LABELS)
