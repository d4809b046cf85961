"""Small data sets of a regression, and studies on them."""

import functools

import torch

from limbeck import Arm, Objective, StoreSettings, Teacher
from limbeck.data import Dataset
from limbeck.models import MLP
from support.studies import make_study

ARMS = {
    "hard": Arm(objective=Objective(hard_weight=1.0, soft_weight=0.0)),
    "soft": Arm(objective=Objective(hard_weight=0.2, soft_weight=0.8)),
}


def values(count, targets=1, seed=0):
    """Inputs ``[N, 4]``, and targets of different units that depend on them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator)
    weights = torch.randn(4, targets, generator=torch.Generator().manual_seed(9))
    units = torch.tensor([100.0, 0.01, 7.0])[:targets]
    noise = 0.3 * torch.randn(count, targets, generator=generator)
    return x, (torch.tanh(x @ weights) + noise) * units + 1000 * units


def dataset(targets=1, train=120, test=60, **settings):
    x, y = values(train, targets)
    x_test, y_test = values(test, targets, seed=1)
    return Dataset.from_arrays(
        x, y, x_test, y_test, name="values", task="regression", val=40, **settings
    )


def study(data, out, arms=ARMS, **settings):
    """A study of a small teacher and smaller students."""
    options = {
        "student": functools.partial(MLP, hidden=[4]),
        "teacher": Teacher(model=functools.partial(MLP, hidden=[16]), epochs=8, batch_size=40),
        "seeds": 2,
        "epochs": 4,
        "batch_size": 40,
        "store": StoreSettings(folder=out.parent / "store"),
    }
    return make_study(data, arms, out, **{**options, **settings})
