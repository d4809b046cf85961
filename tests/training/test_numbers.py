"""Loaders whose labels are numbers: regression and several labels, without a study."""

import pytest
import torch
from sklearn.metrics import average_precision_score, r2_score
from support.regressions import values
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import limbeck
from limbeck._base.errors import DataError


def loader(y, x=None):
    x = values(64)[0] if x is None else x
    return DataLoader(TensorDataset(x, y), batch_size=16)


def test_a_student_learns_values_from_labels_and_teacher():
    x, y = values(64)
    y = (y - y.mean()) / y.std()
    teacher, student = nn.Linear(4, 1), nn.Linear(4, 1)
    for labels in (y, y[:, 0].double()):
        limbeck.distill(
            student,
            teacher,
            loader(labels),
            task="regression",
            hard_weight=1.0,
            soft_weight=0.1,
            epochs=20,
            optimizer=limbeck.Optimizer(lr=0.02),
        )
    metrics = limbeck.evaluate(student, loader(y), task="regression", teacher=teacher)
    with torch.no_grad():
        assert metrics["r_squared"] == pytest.approx(r2_score(y, student(x)), rel=1e-5)
    assert metrics["r_squared"] > 0.2
    assert metrics["distance_to_teacher"] > 0
    assert "errors" not in metrics


def test_a_student_learns_several_labels():
    x = values(64)[0]
    y = torch.stack([x[:, 0] > 0, x[:, 1] + x[:, 2] > 0], 1)
    student = nn.Linear(4, 2)
    limbeck.distill(
        student,
        nn.Linear(4, 2),
        loader(y),
        task="multi_label",
        hard_weight=1.0,
        soft_weight=0.1,
        epochs=20,
        optimizer=limbeck.Optimizer(lr=0.05),
    )
    metrics = limbeck.evaluate(student, loader(y), task="multi_label")
    with torch.no_grad():
        expected = average_precision_score(y, student(x))
    assert metrics["mean_average_precision"] == pytest.approx(expected)
    assert expected > 0.9


def test_the_teachers_values_are_enough():
    student, x = nn.Linear(4, 1), values(64)[0]
    before = student.weight.clone()
    inputs = DataLoader(TensorDataset(x), batch_size=16)
    options = {"task": "regression", "hard_weight": 0, "soft_weight": 1}
    limbeck.distill(student, nn.Linear(4, 1), inputs, epochs=1, **options)
    assert not torch.equal(student.weight, before)


def test_float_labels_of_classes_are_refused_with_both_remedies():
    with pytest.raises(DataError, match=r"y\.long\(\), or set task='regression' for values"):
        limbeck.train(nn.Linear(4, 3), loader(torch.rand(64)), epochs=1)
    with pytest.raises(DataError, match="or task='multi_label' for several labels"):
        limbeck.train(nn.Linear(4, 3), loader(torch.rand(64, 3)), epochs=1)


def test_labels_that_do_not_fit_the_outputs_are_refused():
    with pytest.raises(DataError, match="expected one number for each output"):
        limbeck.evaluate(nn.Linear(4, 2), loader(torch.rand(64)), task="regression")
    with pytest.raises(DataError, match="neither 0 nor 1"):
        limbeck.evaluate(nn.Linear(4, 2), loader(torch.rand(64, 2)), task="multi_label")
