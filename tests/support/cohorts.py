"""Cohorts of tiny students, trained beside students alone."""

import copy

import torch
from torch import nn

from limbeck import DistillationModule, Objective
from limbeck.data.batches import Batch
from limbeck.models import MLP, ConvNet
from limbeck.teacher.signal import TeacherSignal
from limbeck.training.cohort.stack import Cohort
from support.plain_loop import Loader, far, train_alone, trainer

CLASSES = 4
STEPS = 12
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


def batchnorm(seed):
    torch.manual_seed(seed)
    return ConvNet((1, 3, 3), CLASSES, channels=[4], strides=[1], dropout=0.0)


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
