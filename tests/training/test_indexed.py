"""A student learns from a file or array of answers, looked up by the index of each sample."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import limbeck
from limbeck._base.errors import ConfigError, DataError, TeacherError
from limbeck.data import Indexed

X = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 3
OPTIONS = {"epochs": 2, "temperature": 2.0, "progress": False}


def model(seed):
    torch.manual_seed(seed)
    return nn.Linear(4, 3)


def loader(dataset):
    return DataLoader(dataset, 16, shuffle=True, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def expected():
    student = model(0)
    limbeck.distill(student, model(1), loader(TensorDataset(X, Y)), **OPTIONS)
    return student.state_dict()


@pytest.fixture
def logits():
    with torch.no_grad():
        return model(1)(X)


def weights(answers, batches):
    student = model(0)
    limbeck.distill(student, answers, batches, **OPTIONS)
    return student.state_dict()


def test_students_equal_those_of_the_model(expected, logits, tmp_path):
    indexed = Indexed(TensorDataset(X, Y))
    names = [f"{number}.png" for number in range(40)]
    np.savez(tmp_path / "a.npz", ids=names[::-1], logits=logits.numpy()[::-1])
    by_name = Indexed(TensorDataset(X, Y), names)
    np.save(tmp_path / "a.npy", logits.numpy())
    for answers, dataset in (
        (logits, indexed),
        (logits.numpy(), indexed),
        (str(tmp_path / "a.npy"), indexed),
        (limbeck.Answers(tmp_path / "a.npz"), by_name),
    ):
        result = weights(answers, loader(dataset))
        for name, tensor in expected.items():
            torch.testing.assert_close(result[name], tensor)


def test_batches_may_be_dictionaries(logits):
    batch = {"x": X, "label": Y, "index": torch.arange(40)}
    pairs = weights(logits, [(X, Y, torch.arange(40))])
    assert torch.equal(weights(logits, [batch])["weight"], pairs["weight"])


def test_what_does_not_fit_is_one_message(logits, tmp_path):
    student = model(0)

    def distill(answers, batches):
        limbeck.distill(copy.deepcopy(student), answers, batches, **OPTIONS)

    with pytest.raises(DataError, match=r"limbeck\.data\.Indexed"):
        distill(logits, [(X, Y)])
    with pytest.raises(DataError, match="40 inputs and 3 indices"):
        distill(logits, [(X, Y, torch.arange(3))])
    with pytest.raises(DataError, match="should be the indices of its samples"):
        distill(logits, [(X, Y, torch.zeros(40))])
    with pytest.raises(TeacherError, match=r"no answer for the samples with the index 30; 31"):
        distill(logits[:30], [(X, Y, torch.arange(40))])
    with pytest.raises(TeacherError, match="4 classes"):
        distill(torch.randn(40, 4), [(X, Y, torch.arange(40))])
    with pytest.raises(TeacherError, match="is missing"):
        distill(tmp_path / "gone.csv", [(X, Y, torch.arange(40))])
    with pytest.raises(ConfigError, match="The teacher is of type int"):
        distill(3, [(X, Y)])


def test_a_validation_loader_needs_no_index(logits):
    batches = [(X, Y, torch.arange(40))]
    student = model(0)
    limbeck.distill(student, logits, batches, val_loader=[(X, Y)], **OPTIONS)
    assert torch.equal(student.weight, weights(logits, batches)["weight"])
