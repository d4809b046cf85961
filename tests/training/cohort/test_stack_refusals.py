"""Students that cannot be stacked are refused with the reason."""

import pytest
from support.cohorts import CLASSES, batchnorm, grid_of, mlp
from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.models import MLP
from limbeck.training.cohort import stack as cohort_module
from limbeck.training.cohort.stack import Cohort, reason_not_to_stack


def test_batchnorm_is_refused_with_the_reason():
    with pytest.raises(
        ConfigError, match=r"cannot be stacked: BatchNorm2d keeps statistics.*cohort of one"
    ):
        Cohort(grid_of(batchnorm, 1, 2))


def test_too_large_is_refused_with_the_reason(monkeypatch):
    size = sum(p.numel() for p in mlp(0).parameters())
    monkeypatch.setattr(cohort_module, "MAX_STACKED", 3 * size)
    assert reason_not_to_stack(mlp(0), 3) is None
    with pytest.raises(ConfigError, match=r"4 copies have over"):
        Cohort(grid_of(mlp, 2, 2))
    Cohort.of_one(mlp(0))


@pytest.mark.parametrize(
    "rows", [[], [[]], [[], []], [[1, 2], [1]], [[1], [1, 2]], [[1, 2], [1], [1, 2, 3]]], ids=str
)
def test_a_ragged_grid_is_refused(rows):
    with pytest.raises(ConfigError, match="full grid"):
        Cohort([[mlp(0) for _ in row] for row in rows])


@pytest.mark.parametrize(
    "other",
    [
        lambda: MLP((1, 3, 3), CLASSES, hidden=[7, 6]),
        lambda: MLP((1, 3, 3), CLASSES, hidden=[7]),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(9, CLASSES)),
        lambda: mlp(0, dropout=0.5),
        lambda: mlp(0).double(),
    ],
    ids=["width", "depth", "class", "dropout", "precision"],
)
def test_different_structures_are_refused(other):
    with pytest.raises(ConfigError, match="same layers"):
        Cohort([[mlp(0)], [other()]])


def test_different_settings_of_layers_without_weights_are_refused():
    def make(activation):
        return nn.Sequential(nn.Flatten(), nn.Linear(9, 5), activation, nn.Linear(5, CLASSES))

    with pytest.raises(ConfigError, match="same layers"):
        Cohort([[make(nn.ReLU())], [make(nn.GELU())]])
    with pytest.raises(ConfigError, match="same layers"):
        Cohort([[make(nn.LeakyReLU(0.1))], [make(nn.LeakyReLU(0.2))]])
    with pytest.raises(ConfigError, match="same layers"):
        Cohort([[mlp(0, max_norm=1.0)], [mlp(0, max_norm=2.0)]])


def test_members_frozen_differently_are_refused():
    frozen = mlp(0)
    frozen.layers[1].requires_grad_(False)
    with pytest.raises(ConfigError, match="same layers"):
        Cohort([[mlp(0)], [frozen]])
