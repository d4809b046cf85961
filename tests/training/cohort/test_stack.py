"""A cohort gives each student what training it alone gives."""

import copy

import pytest
import torch
from support.plain_loop import Loader, far, same, train_alone, trainer
from torch import nn

from limbeck import DistillationModule, Objective
from limbeck._base.errors import ConfigError
from limbeck.data.batches import Batch
from limbeck.models import MLP, ConvNet
from limbeck.models.mlp import BoundedLinear
from limbeck.teacher.signal import TeacherSignal
from limbeck.training.cohort import stack as cohort_module
from limbeck.training.cohort.stack import Cohort, reason_not_to_stack

CLASSES = 4
STEPS = 24
SETTINGS = (
    {"hard_weight": 1.0, "soft_weight": 0.0},
    {"hard_weight": 0.1, "soft_weight": 0.9, "temperature": 4.0},
    {"hard_weight": 0.5, "soft_weight": 0.5, "temperature": 1.0, "soft": "cross_entropy"},
    {"hard_weight": 0.0, "soft_weight": 2.0, "temperature": 2.5, "scale_by_t2": False},
    {"hard_weight": 0.3, "soft_weight": 0.7, "temperature": 3.0, "soft": "probabilities"},
    {"hard_weight": 0.2, "soft_weight": 0.8, "temperature": 20.0, "soft": "logits"},
    {
        "hard_weight": 0.2,
        "soft_weight": 0.8,
        "temperature": 5.0,
        "soft": "cross_entropy",
        "scale_by_t2": False,
    },
)
GRIDS = ((1, 1), (2, 1), (1, 2), (7, 1), (1, 7), (3, 2))


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.01, weight_decay=0.001)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True)


def mlp(seed, **options):
    torch.manual_seed(seed)
    return MLP((1, 3, 3), CLASSES, hidden=[7, 5], **options)


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


def grid_of(make, arms, seeds):
    """Arms of a seed share its initial weights."""
    return [[make(seed) for seed in range(seeds)] for _ in range(arms)]


def batches_of(seeds, steps=STEPS, size=6, dtype=torch.float32):
    """One list of (x, y) a seed, each of its own order; some samples have no label."""
    result = []
    for seed in range(seeds):
        draw = torch.Generator().manual_seed(100 + seed)
        x = torch.randn(steps, size, 1, 3, 3, generator=draw, dtype=torch.float64).to(dtype)
        y = torch.randint(CLASSES, (steps, size), generator=draw)
        y[1::3, :2] = -100
        result.append(list(zip(x, y, strict=True)))
    return result


def stacked(batches):
    """Batches of all seeds at once."""
    steps = zip(*batches, strict=True)
    return Loader(
        [
            Batch(torch.stack([b[0] for b in step]), torch.stack([b[1] for b in step]))
            for step in steps
        ]
    )


def teacher_of(dtype=torch.float32):
    torch.manual_seed(99)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, CLASSES)).to(dtype).requires_grad_(False)


class Exact(TeacherSignal):
    """A teacher whose logits keep float64."""

    def __init__(self, model):
        self.model = model

    def __call__(self, x, sample, view):
        return self.model(x)


def fit(cohort, batches, objectives, optimizer, *, teacher=None, **options):
    module = DistillationModule(
        cohort,
        teacher,
        [Objective(**o) for o in objectives],
        optimizer=optimizer,
        arm_names=[f"arm{i}" for i in range(len(objectives))],
        seeds=range(len(batches)),
    )
    trainer(max_epochs=1, **options).fit(module, stacked(batches))
    return module


def compare(
    arms,
    seeds,
    make,
    optimizer,
    *,
    dtype=torch.float32,
    clip=None,
    max_norm=None,
    settings=SETTINGS,
):
    """The largest relative distance of cohort members from students trained alone."""
    members = [[model.to(dtype) for model in row] for row in grid_of(make, arms, seeds)]
    alone = copy.deepcopy(members)
    batches, teacher = batches_of(seeds, dtype=dtype), teacher_of(dtype)
    options = {} if clip is None else {"gradient_clip_val": clip}
    precision = "64-true" if dtype == torch.float64 else "32-true"
    cohort = Cohort(members)
    fit(
        cohort,
        batches,
        settings[:arms],
        optimizer,
        teacher=Exact(teacher),
        precision=precision,
        **options,
    )
    worst = 0.0
    for arm in range(arms):
        for seed in range(seeds):
            own = alone[arm][seed]
            train_alone(
                own,
                batches[seed],
                optimizer,
                teacher=teacher,
                clip=clip,
                max_norm=max_norm,
                **settings[arm],
            )
            trained = cohort.member(arm, seed).to(dtype)
            assert far(trained, make(seed).to(dtype)) > 1e-3, "it did not learn"
            worst = max(worst, far(trained, own))
    return worst


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


def test_every_kind_of_objective_rides_in_one_cohort_with_seeds():
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


def test_the_weights_given_to_a_stacked_cohort_are_copied_and_one_alone_is_trained_itself():
    inputs = grid_of(mlp, 1, 2)
    fit(Cohort(inputs), batches_of(2, steps=3), SETTINGS[:1], sgd)
    assert same(inputs[0][0], mlp(0))
    alone = mlp(0)
    fit(Cohort.of_one(alone), batches_of(1, steps=3), SETTINGS[:1], sgd)
    assert not same(alone, mlp(0))


# What cannot be stacked ---------------------------------------------------------------------------


def batchnorm(seed):
    torch.manual_seed(seed)
    return ConvNet((1, 3, 3), CLASSES, channels=[4], strides=[1], dropout=0.0)


def test_batchnorm_is_refused_with_the_reason():
    with pytest.raises(
        ConfigError, match=r"cannot be stacked: BatchNorm2d keeps statistics.*cohort of one"
    ):
        Cohort(grid_of(batchnorm, 1, 2))


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


# Frozen parameters, buffers, clipping, bounds -----------------------------------------------------


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


@pytest.mark.parametrize(("arms", "seeds"), [(3, 2), (1, 1)])
def test_gradients_are_clipped_per_student(arms, seeds):
    assert compare(arms, seeds, mlp, sgd, dtype=torch.float64, clip=0.05) < 1e-6
    assert compare(arms, seeds, mlp, sgd, dtype=torch.float64, clip=1e6) < 1e-10


def test_a_student_with_huge_gradients_does_not_change_the_others():
    calm = {"hard_weight": 1.0, "soft_weight": 0.0}
    wild = {"hard_weight": 1e5, "soft_weight": 0.0}
    trained = []
    for first in (calm, wild):
        cohort = Cohort(grid_of(mlp, 2, 1))
        fit(cohort, batches_of(1), (first, calm), sgd, gradient_clip_val=0.5)
        trained.append(cohort)
    assert same(trained[0].member(1, 0), trained[1].member(1, 0))
    assert far(trained[0].member(0, 0), trained[1].member(0, 0)) > 1e-2


def test_a_student_that_diverges_does_not_touch_the_others():
    cohort = Cohort(grid_of(mlp, 2, 1))
    with torch.no_grad():
        cohort.stacked[0][:, 0] = float("nan")
    x = torch.randn(1, 6, 1, 3, 3)
    cohort(x).square().sum().backward()
    other = mlp(0)
    other(x[0]).square().sum().backward()
    torch.testing.assert_close(cohort.stacked[0].grad[0, 1], other.layers[1].weight.grad)


def test_clipping_by_value_passes_through():
    cohort = Cohort(grid_of(mlp, 2, 1))
    fit(
        cohort,
        batches_of(1, steps=1),
        SETTINGS[:2],
        lambda p: torch.optim.SGD(p, lr=1.0),
        teacher=teacher_of(),
        gradient_clip_val=1e-3,
        gradient_clip_algorithm="value",
    )
    for _, seed, member in cohort.members():
        moved = [
            (a - b).abs().max().item()
            for a, b in zip(member.parameters(), mlp(seed).parameters(), strict=True)
        ]
        assert max(moved) == pytest.approx(1e-3, rel=1e-3)


def test_the_bound_on_norms_equals_renorm_after_each_step():
    bounds = {"layers.1.weight": 0.6, "layers.3.weight": 0.6}
    bounded = lambda seed: mlp(seed, max_norm=0.6)  # noqa: E731
    for arms, seeds in ((1, 1), (3, 2)):
        # torch.renorm divides by the norm plus 1e-7
        assert compare(arms, seeds, bounded, sgd, dtype=torch.float64, max_norm=bounds) < 1e-5


def test_the_bound_holds_for_every_student_after_every_step():
    cohort = Cohort([[mlp(seed, max_norm=0.4) for seed in range(2)] for _ in range(2)])
    outputs = []

    class Watch(DistillationModule):
        def on_train_batch_end(self, *args):
            super().on_train_batch_end(*args)
            for _, _, member in self.cohort.members():
                norms = [
                    m.weight.norm(dim=1) for m in member.modules() if isinstance(m, BoundedLinear)
                ]
                outputs.append(torch.cat(norms).max().item())

    module = Watch(cohort, teacher_of(), [Objective(), Objective(temperature=1.0)], optimizer=sgd)
    trainer(max_epochs=1).fit(module, stacked(batches_of(2)))
    assert len(outputs) == 4 * STEPS
    assert max(outputs) <= 0.4 * (1 + 1e-6)
    assert max(outputs) > 0.39


# Dropout ------------------------------------------------------------------------------------------


def test_dropout_differs_between_members_and_is_right_in_the_mean():
    class Left(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.dropout = nn.Dropout(0.3)

        def forward(self, x):
            return self.dropout(x * self.weight)

    cohort = Cohort([[Left() for _ in range(3)] for _ in range(2)])
    x = torch.ones(3, 200, 50)
    masks = cohort(x) > 0
    flat = masks.flatten(0, 1).flatten(1)
    for i in range(6):
        share = flat[i].float().mean().item()
        assert share == pytest.approx(0.7, abs=5 * (0.21 / 10_000) ** 0.5)
        for j in range(i):
            both = (flat[i] & flat[j]).float().mean().item()
            assert both == pytest.approx(0.49, abs=5 * (0.25 / 10_000) ** 0.5), (
                "members share their dropout"
            )
    logits = cohort(x)
    saved = logits[logits > 0]
    torch.testing.assert_close(saved, torch.full_like(saved, 1 / 0.7))
    cohort.eval()
    assert torch.equal(cohort(x), x.expand(2, 3, -1, -1))
    cohort.train()
    assert (cohort(x) == 0).any()


def test_dropout_goes_on_after_a_validation():
    differ = []

    class Watch(DistillationModule):
        def training_step(self, batch, batch_idx):
            differ.append(not torch.equal(self.cohort(batch.x), self.cohort(batch.x)))
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            assert torch.equal(self.cohort(batch.x), self.cohort(batch.x))
            super().validation_step(batch, batch_idx)

    hard = Objective(hard_weight=1.0, soft_weight=0.0)
    batches = stacked(batches_of(2, steps=1))
    for arms in (1, 2):
        cohort = Cohort(grid_of(lambda seed: mlp(seed, dropout=0.5), arms, 2))
        trainer(max_epochs=3).fit(Watch(cohort, None, [hard] * arms), batches, batches)
    assert differ == [True] * 6


def test_a_part_in_eval_mode_stays_in_it():
    def make(seed):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(9, CLASSES))
        model[1].eval()
        return model

    cohort = Cohort(grid_of(make, 2, 1)).eval().train()
    x = torch.randn(1, 4, 1, 3, 3)
    assert torch.equal(cohort(x), cohort(x))


def test_dropout_repeats_with_the_seeds_alone():
    trained = []
    for noise in (1, 2):
        cohort = Cohort(grid_of(lambda seed: mlp(seed, dropout=0.5, input_dropout=0.2), 2, 2))
        torch.manual_seed(noise)
        fit(cohort, batches_of(2, steps=6), SETTINGS[:2], adam, teacher=teacher_of())
        trained.append(cohort)
    for (_, _, a), (_, _, b) in zip(trained[0].members(), trained[1].members(), strict=True):
        assert same(a, b)
