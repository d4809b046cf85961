"""A cohort gives each student what training it alone gives; what cannot be stacked is refused."""

import copy

import pytest
import torch
from support.cohorts import (
    CLASSES,
    GRIDS,
    SETTINGS,
    adam,
    batches_of,
    batchnorm,
    compare,
    fit,
    grid_of,
    mlp,
    sgd,
    teacher_of,
)
from support.plain_loop import same
from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.models import MLP
from limbeck.training.cohort import stack as cohort_module
from limbeck.training.cohort.stack import Cohort, reason_not_to_stack


class SmallConv(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.GroupNorm(2, 4),
            nn.GELU(),
            nn.Conv2d(4, 3, 3, stride=2),
            nn.Flatten(),
            nn.Linear(3, CLASSES),
        )

    def forward(self, x):
        return self.net(x)


def conv(seed):
    torch.manual_seed(seed)
    return SmallConv()


@pytest.mark.parametrize("optimizer", [adam, sgd])
@pytest.mark.parametrize(("arms", "seeds"), GRIDS)
def test_a_cohort_equals_its_members_trained_alone(arms, seeds, optimizer):
    assert compare(arms, seeds, mlp, optimizer) < 1e-5


@pytest.mark.parametrize("optimizer", [adam, sgd])
@pytest.mark.parametrize(("arms", "seeds"), [(7, 1), (3, 2), (1, 1)])
def test_in_float64_it_equals_them_to_the_last_digits(arms, seeds, optimizer):
    assert compare(arms, seeds, mlp, optimizer, dtype=torch.float64) < 1e-10


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_convolutions_stack_too(dtype, bound):
    assert compare(3, 2, conv, sgd, dtype=dtype) < bound


def test_a_cohort_may_mix_all_kinds_of_objectives():
    assert compare(7, 2, mlp, adam, dtype=torch.float64) < 1e-10


def test_arms_of_a_seed_read_the_same_batch_and_seeds_read_their_own():
    cohort = Cohort(grid_of(mlp, 2, 3))
    x = torch.randn(3, 5, 1, 3, 3)
    logits = cohort(x)
    assert logits.shape == (2, 3, 5, CLASSES)
    for seed in range(3):
        torch.testing.assert_close(logits[0, seed], mlp(seed)(x[seed]))
        torch.testing.assert_close(logits[1, seed], logits[0, seed])


@pytest.mark.parametrize(("arms", "seeds"), GRIDS)
def test_members_answer_as_the_cohort_does(arms, seeds):
    cohort = Cohort(grid_of(mlp, arms, seeds))
    fit(cohort, batches_of(seeds, steps=5), SETTINGS[:arms], sgd, teacher=teacher_of())
    cohort.eval()
    x = torch.randn(seeds, 8, 1, 3, 3)
    with torch.no_grad():
        logits = cohort(x)
        positions = [(a, s) for a, s, _ in cohort.members()]
        assert positions == [(a, s) for a in range(arms) for s in range(seeds)]
        for arm, seed, member in cohort.members():
            torch.testing.assert_close(
                member.eval()(x[seed]), logits[arm, seed], rtol=1e-6, atol=1e-6
            )


def test_a_member_is_a_copy():
    for cohort in (Cohort(grid_of(mlp, 2, 1)), Cohort.of_one(mlp(0))):
        before = cohort.member(0, 0)
        changed = cohort.member(0, 0)
        with torch.no_grad():
            for parameter in changed.parameters():
                parameter.add_(1)
        assert same(cohort.member(0, 0), before)


def test_a_stacked_cohort_copies_its_models_and_a_cohort_of_one_trains_its_own():
    inputs = grid_of(mlp, 1, 2)
    fit(Cohort(inputs), batches_of(2, steps=3), SETTINGS[:1], sgd)
    assert same(inputs[0][0], mlp(0))
    alone = mlp(0)
    fit(Cohort.of_one(alone), batches_of(1, steps=3), SETTINGS[:1], sgd)
    assert not same(alone, mlp(0))


def test_batchnorm_trains_as_a_cohort_of_one():
    assert compare(1, 1, batchnorm, sgd, settings=SETTINGS[1:]) < 1e-5


def test_batchnorm_without_statistics_stacks():
    def make(seed):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(9, 8),
            nn.BatchNorm1d(8, track_running_stats=False),
            nn.Linear(8, CLASSES),
        )

    assert compare(2, 2, make, sgd, dtype=torch.float64) < 1e-9


def test_frozen_parameters_stay():
    def make(seed):
        model = mlp(seed)
        model.layers[1].requires_grad_(False)
        return model

    cohort = Cohort(grid_of(make, 2, 2))
    fit(cohort, batches_of(2), SETTINGS[:2], adam, teacher=teacher_of())
    for _, seed, member in cohort.members():
        assert torch.equal(member.layers[1].weight, mlp(seed).layers[1].weight)
        assert not member.layers[1].weight.requires_grad
        assert not torch.equal(member.layers[3].weight, mlp(seed).layers[3].weight)


class Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("shift", torch.tensor([1.0, 2.0, 3.0, 4.0]))
        self.linear = nn.Linear(9, CLASSES)

    def forward(self, x):
        return self.linear(x.flatten(1) * self.scale) + self.shift


def test_buffers_may_differ_between_members():
    def make(seed):
        torch.manual_seed(seed)
        return Scaled(1.0 + seed)

    assert compare(2, 3, make, sgd, dtype=torch.float64) < 1e-10
    cohort = Cohort(grid_of(make, 1, 3))
    assert [member.scale.item() for _, _, member in cohort.members()] == [1.0, 2.0, 3.0]


def test_tied_weights_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = (
                nn.Linear(9, 9),
                nn.Linear(9, 9),
                nn.Linear(9, CLASSES),
            )
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.head(self.second(self.first(x.flatten(1)).relu()))

    def make(seed):
        torch.manual_seed(seed)
        return Tied()

    assert compare(2, 2, make, sgd, dtype=torch.float64) < 1e-10
    member = Cohort(grid_of(make, 2, 2)).member(1, 1)
    assert member.second.weight is member.first.weight


# Students that cannot be stacked


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


@pytest.mark.parametrize("layer", [nn.RReLU(), nn.LSTM(9, 9)], ids=["random", "recurrent"])
def test_layers_without_a_stacked_form_are_refused(layer):
    def make(seed):
        return nn.Sequential(nn.Flatten(), copy.deepcopy(layer), nn.Linear(9, CLASSES))

    with pytest.raises(ConfigError, match=r"cannot be stacked: .* Train each as a cohort of one"):
        Cohort(grid_of(make, 1, 2))(torch.randn(2, 5, 1, 3, 3))
