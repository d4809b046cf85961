import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from support.onnx_files import content
from torch import nn

from limbeck.models import MLP
from limbeck.teacher.adapt import as_models
from limbeck.teacher.adapter_remedies import remedies_of
from limbeck.teacher.onnx_model import OnnxTeacher
from limbeck.teacher.remedies import ModuleRemedies, SettingRemedies
from limbeck.teacher.signal import LiveTeacher

X = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))


def function(x):
    return x @ WEIGHT


def estimator():
    return LogisticRegression().fit(X.numpy(), np.arange(6) % 3)


def program():
    net = nn.Linear(4, 3)
    return torch.export.export(net, (X,), dynamic_shapes=({0: torch.export.Dim("N")},))


def answers(teacher, x=X):
    return LiveTeacher(as_models(teacher))(x)


def mended(teacher, line):
    """The teacher after a line of Python, as a user would run it."""
    names = {"teacher": teacher, "torch": torch, "numpy": np}
    exec(line, names)
    return names["teacher"]


@pytest.mark.parametrize("make", [lambda: function, estimator, program])
def test_the_lines_mend_the_order_and_the_inputs(make):
    teacher = make()
    (model,) = as_models(teacher)
    remedies = remedies_of(model)
    expected = answers(teacher)[:, [2, 0, 1]]
    line = remedies.order(torch.tensor([2, 0, 1]), list("abc"), 3)
    torch.testing.assert_close(answers(mended(teacher, line)), expected, atol=1e-4, rtol=1e-4)
    line = remedies.normalization("symmetric", ([0.5], [0.25]))
    result = answers(mended(teacher, line), X * 0.25 + 0.5)
    torch.testing.assert_close(result, answers(teacher), atol=1e-4, rtol=1e-4)


def test_the_line_makes_logits_of_probabilities():
    def teacher(x):
        return function(x).softmax(-1).numpy()

    (model,) = as_models(teacher)
    result = answers(mended(teacher, remedies_of(model).probabilities()))
    torch.testing.assert_close(result.softmax(-1), function(X).softmax(-1))


def test_channels_are_normalised_one_by_one():
    (model,) = as_models(lambda x: x.mean((2, 3)))
    line = remedies_of(model).normalization("imagenet", ([0.1, 0.2, 0.3], [1.0, 2.0, 4.0]))
    images = torch.rand(2, 3, 4, 4)
    expected = (images.mean((2, 3)) - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor([1.0, 2, 4])
    torch.testing.assert_close(answers(mended(lambda x: x.mean((2, 3)), line), images), expected)


def test_modules_and_files_have_their_own_lines():
    assert isinstance(remedies_of(MLP((4,), 3, hidden=[2])), ModuleRemedies)
    assert isinstance(remedies_of(OnnxTeacher(content(), "m.onnx")), SettingRemedies)
