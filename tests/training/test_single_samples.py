"""A batch of a single sample is left out where BatchNorm cannot be trained on it."""

import warnings

import pytest
import torch
from support.plain_loop import Loader, far, same, trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import limbeck
from limbeck import DistillationModule
from limbeck._base.errors import ConfigError, LimbeckWarning
from limbeck.data import digits
from limbeck.data.study_data import StudyData
from limbeck.training import single_samples
from limbeck.training.fit import fit
from limbeck.training.options import TrainerOptions
from limbeck.training.task import DistillationTask


class Net(nn.Module):
    """A user's own network with BatchNorm over features, without positions."""

    def __init__(self, inputs=6, classes=3):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Linear(inputs, 5), nn.BatchNorm1d(5)
        self.head = nn.Linear(5, classes)

    def forward(self, x):
        return self.head(self.norm(self.first(x.flatten(1))).relu())


def samples(count):
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))[:count]
    return x, x[:, :3].argmax(1)


@pytest.fixture(autouse=True)
def _warn_again():
    single_samples._warn.cache_clear()


@pytest.mark.parametrize("accumulate", [1, 3])
def test_training_equals_one_without_the_last_sample(accumulate):
    def trained(count):
        loader = DataLoader(TensorDataset(*samples(count)), 4)
        options = {"accumulate_grad_batches": accumulate}
        return limbeck.train(Net(), loader, epochs=2, progress=False, trainer=options)

    with pytest.warns(LimbeckWarning, match=r"a single sample is left out.*drop_last") as record:
        student = trained(17)
    assert len([w for w in record if w.category is LimbeckWarning]) == 1
    assert same(student, trained(16))
    assert far(student, Net()) > 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("error", LimbeckWarning)
        trained(17)  # warned once


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_it_is_left_out_under_any_precision(precision):
    loader = DataLoader(TensorDataset(*samples(9)), 4)
    with pytest.warns(LimbeckWarning, match="a single sample is left out"):
        limbeck.train(Net(), loader, epochs=1, progress=False, trainer={"precision": precision})


def test_a_study_leaves_it_out_in_every_epoch():
    data = digits()
    batch_size = len(data.train) // 2
    assert len(data.train) % batch_size == 1
    task = DistillationTask(Net(64, 10), seeds=[0])
    study_data = StudyData(data, seeds=[0], batch_size=batch_size)
    options = TrainerOptions(accelerator="cpu", max_epochs=2)
    with pytest.warns(LimbeckWarning, match="a single sample is left out"):
        assert fit(task, study_data, options=options) == 4


def test_batches_of_one_alone_are_refused():
    loader = DataLoader(TensorDataset(*samples(3)), 1)
    with (
        pytest.warns(LimbeckWarning),
        pytest.raises(ConfigError, match="Every batch has a single sample"),
    ):
        limbeck.train(Net(), loader, epochs=1, progress=False)


def test_a_student_that_can_be_trained_on_one_sample_gets_it():
    def trained(count):
        torch.manual_seed(0)
        conv = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Flatten(), nn.Linear(8, 3))
        student = nn.Sequential(nn.Unflatten(1, (1, 6)), conv)
        batches = DataLoader(TensorDataset(*samples(count)), 4)
        return limbeck.train(student, batches, epochs=1, progress=False)

    assert far(trained(9), trained(8)) > 1e-4


def test_lightning_leaves_it_out_too():
    (x, y), student, other = samples(9), Net(), Net()
    batches = [(x[:4], y[:4]), (x[4:8], y[4:8])]
    with pytest.warns(LimbeckWarning, match="a single sample is left out"):
        trainer(max_epochs=2).fit(DistillationModule(student), Loader([*batches, (x[8:], y[8:])]))
    trainer(max_epochs=2).fit(DistillationModule(other), Loader(batches))
    assert same(student, other)
