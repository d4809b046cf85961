"""Studies of tiny images, their models and what they leave on disk."""

import csv
import json
from functools import partial

import torch
from safetensors.torch import load_file
from torch import nn

from limbeck import Arm, Objective, Optimizer
from limbeck.data import Dataset
from limbeck.models import MLP
from limbeck.study.engine import Engine
from support.studies import make_study

HARD = Objective(hard_weight=1.0, soft_weight=0.0)
ARMS = {"hard": Arm(objective=HARD), "soft": Arm(objective=Objective(temperature=2.0))}
small = partial(MLP, hidden=[6], dropout=0.2)


class Own(nn.Module):
    """A class of the user's own."""

    def __init__(self, width=5, classes=3):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(16, width), nn.ReLU(), nn.Linear(width, classes)
        )

    def forward(self, x):
        return self.net(x)


def own(width=5):
    return lambda: Own(width)


class WithBatchNorm(Own):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)
        )


def dataset():
    draw = torch.Generator().manual_seed(1)
    x = torch.randint(256, (150, 1, 4, 4), generator=draw).to(torch.uint8)
    y = (x.flatten(1).float() @ torch.randn(16, 3, generator=draw)).argmax(1)
    return Dataset.from_arrays(x[:110], y[:110], x[110:], y[110:], name="tiny", val=20)


def teacher_model(seed=7, classes=3):
    torch.manual_seed(seed)
    return Own(12, classes)


def study_of(data, out, arms=ARMS, **options):
    defaults = {
        "student": small,
        "teacher": teacher_model(),
        "seeds": 2,
        "epochs": 3,
        "batch_size": 32,
        "optimizer": Optimizer(lr=0.01, schedule="one_cycle"),
    }
    return make_study(data, arms, out, **{**defaults, **options})


def weights(out):
    """All tensors of all students, by folder and name."""
    tensors = {}
    for file in sorted(out.glob("students/*/*/model.safetensors")):
        folder = file.parent.relative_to(out)
        for name, tensor in load_file(file).items():
            tensors[f"{folder}/{name}"] = tensor
    return tensors


def same_students(one, other):
    """Whether all tensors of two runs' students are bitwise equal."""
    first, second = weights(one), weights(other)
    if list(first) != list(second):
        return False
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def scalars(out):
    """The rows of metrics.csv."""
    with (out / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def manifest(out):
    return json.loads((out / "manifest.json").read_text(encoding="utf-8"))


class Killed(BaseException):
    """An exception that no code catches."""


def interrupt(monkeypatch, *, stage=None, epoch=None):
    """Kill the next study after a stage, or at the beginning of an epoch of one."""
    from limbeck.training.task import DistillationTask

    fit, begin = Engine.fit, DistillationTask.begin_epoch
    running = []

    def fit_and_fail(self, job):
        running[:] = [job.stage]
        fit(self, job)
        if epoch is None and job.stage == stage:
            raise Killed

    def begin_and_fail(task, number, rank=0):
        if epoch is not None and running == [stage] and number == epoch:
            raise Killed
        begin(task, number, rank)

    monkeypatch.setattr(Engine, "fit", fit_and_fail)
    monkeypatch.setattr(DistillationTask, "begin_epoch", begin_and_fail)
