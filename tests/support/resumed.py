"""Tiny trainings of many kinds that are stopped after a step and resumed."""

import random

import pytest
import torch

from limbeck import Objective, Optimizer
from limbeck.data import Chain, Dataset, Elastic, Mixup, Shift, TransferSet, text_file
from limbeck.data.study_data import StudyData
from limbeck.models import GPT, MLP, ConvNet
from limbeck.teacher.signal import StoredTeacher
from limbeck.training.cohort.save_times import SaveTimes
from limbeck.training.cohort.stack import Cohort
from limbeck.training.csv_logger import CSVLogger
from limbeck.training.fit import fit
from limbeck.training.loggers import gather_scalars
from limbeck.training.options import TrainerOptions
from limbeck.training.task import DistillationTask

SHAPE = (1, 6, 6)
CYCLE = Optimizer(schedule="one_cycle", lr=0.01)
HINT = {"kind": "hint", "student": "features.0", "teacher": "features.0"}


class Stopped(BaseException):
    """A kill in the middle of a training."""


def images():
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (163, *SHAPE), generator=generator, dtype=torch.uint8)
    y = torch.randint(0, 3, (163,), generator=generator)
    return Dataset.from_arrays(x[:133], y[:133], x[133:], y[133:], class_names=list("abc"), val=30)


def mlp(seed):
    torch.manual_seed(seed)
    return MLP(SHAPE, 3, hidden=[8], dropout=0.2)


def convnet(seed, width=3, dropout=0.2):
    torch.manual_seed(seed)
    return ConvNet(SHAPE, 3, channels=[width], strides=[1], dropout=dropout)


def cohort(views=None, *, seeds=(0, 1), optimizer=CYCLE):
    """Two arms of some seeds, with dropout, on the answers of a store."""
    answers = torch.randn(103, 16, 3, generator=torch.Generator().manual_seed(2))
    transfer = TransferSet(labelled=50)
    task = DistillationTask(
        Cohort([[mlp(seed) for seed in seeds] for _ in range(2)]),
        StoredTeacher(answers),
        [Objective(temperature=2.0), Objective(temperature=3.0)],
        optimizer=optimizer,
        arm_names=["a", "b"],
        seeds=list(seeds),
    )
    views = views or Shift(1)
    return task, StudyData(images(), seeds=seeds, batch_size=20, views=views, transfer=transfer)


def mixed():
    """Two arms whose samples are mixed, on a live teacher."""
    task = DistillationTask(
        Cohort([[mlp(seed) for seed in (0, 1)]]),
        mlp(9),
        Objective(),
        optimizer=Optimizer(name="sgd", lr=0.1),
        arm_names=["a"],
        seeds=[0, 1],
    )
    views = Mixup(views=Chain([Shift(1), Elastic()]).limited(16))
    return task, StudyData(images(), seeds=[0, 1], batch_size=20, views=views)


def guided():
    """A student alone, with BatchNorm, dropout and a hint of a live teacher."""
    task = DistillationTask(
        convnet(3),
        convnet(4, width=5),
        Objective(features=[HINT]),
        optimizer=CYCLE,
        arm_names=["a"],
        seeds=[3],
    )
    return task, StudyData(images(), seeds=[3], batch_size=34)  # the last batch is left out


def language(file, students=2):
    """Language models with dropout on a live teacher."""
    data = text_file(file, block=8, cache=file.parent / "cache")

    def gpt(seed, dropout=0.1):
        torch.manual_seed(seed)
        return GPT(data.shape, data.classes, width=8, layers=1, heads=1, dropout=dropout)

    seeds = list(range(students))
    task = DistillationTask(
        Cohort([[gpt(seed) for seed in seeds]]),
        gpt(9, 0.0),
        Objective(temperature=1.0),
        optimizer=Optimizer(name="adamw", lr=0.01, schedule="one_cycle"),
        arm_names=["a"],
        seeds=seeds,
    )
    return task, StudyData(data, seeds=seeds, batch_size=16)


def train(make, checkpoints=None, logs=None, *, epochs=3, **options):
    """Train what a function makes, and return the task and the number of steps."""
    task, data = make()
    settings = TrainerOptions.of({"accelerator": "cpu", "max_epochs": epochs, **options})
    loggers = [] if logs is None else [CSVLogger(logs, "cohort0")]
    torch.manual_seed(8)
    return task, fit(task, data, options=settings, loggers=loggers, checkpoints=checkpoints)


def stop(patch, *, save, kill):
    """Save a checkpoint after one step of a training, and end it after another."""

    def is_due(self, now, step):
        if step == kill:
            raise Stopped
        return step == save

    patch.setattr(SaveTimes, "is_due", is_due)
    patch.setattr(SaveTimes, "is_due_after", lambda self, done, epochs: False)


def check_resumed(make, folder, patch, *, seed=0, **options):
    """Kill a training twice after random steps; students, metrics and steps stay the same."""
    whole, steps = train(make, logs=folder / "whole", **options)
    saves_and_kills = sorted(random.Random(seed).sample(range(1, steps), 4))
    for number in (0, 2):
        save, kill = saves_and_kills[number : number + 2]
        with patch.context() as context:
            stop(context, save=save, kill=kill)
            with pytest.raises(Stopped):
                train(make, folder, folder / "logs", **options)
        assert (folder / f"step{save}.ckpt").is_file()
    task, resumed_steps = train(make, folder, folder / "logs", **options)
    assert resumed_steps == steps
    assert_same(task, whole)
    assert gather_scalars(folder / "logs") == gather_scalars(folder / "whole")


def assert_same(task, other):
    one, two = task.state_dict(), other.state_dict()
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name
