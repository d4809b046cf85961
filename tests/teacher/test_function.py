from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from limbeck._base.errors import TeacherError
from limbeck.models import MLP
from limbeck.teacher.function import FunctionTeacher
from limbeck.teacher.signal import LiveTeacher

X = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))


def linear(x):
    return x.flatten(1) @ WEIGHT


@pytest.mark.parametrize(
    "function",
    [
        linear,
        lambda x: linear(x).numpy().astype(np.float64),
        lambda x: linear(x).tolist(),
        lambda x: SimpleNamespace(logits=linear(x)),
        lambda x: {"logits": linear(x)},
        lambda x: np.asarray(x).reshape(len(x), -1) @ WEIGHT.numpy(),
        lambda x: linear(x).double(),
    ],
)
def test_logits_in_any_form(function):
    result = LiveTeacher(FunctionTeacher(function))(X)
    torch.testing.assert_close(result.float(), linear(X))


def test_one_logit_is_that_of_the_second_class():
    for function in (lambda x: linear(x)[:, 0], lambda x: linear(x)[:, :1]):
        logits = LiveTeacher(FunctionTeacher(function))(X)
        torch.testing.assert_close(logits[:, 1] - logits[:, 0], linear(X)[:, 0])


def test_half_precision_arrives_in_float32():
    kinds = []
    FunctionTeacher(lambda x: kinds.append(x.dtype) or linear(x.float()))(X.bfloat16())
    FunctionTeacher(lambda x: kinds.append(x.dtype) or linear(x.float()))(X.long())
    assert kinds == [torch.float32, torch.int64]


def test_several_inputs_arrive_as_they_are():
    function = FunctionTeacher(lambda x, *, mask: linear(x) * mask)
    torch.testing.assert_close(function(X, mask=torch.tensor(2.0)), 2 * linear(X))


def test_there_is_no_gradient():
    model = MLP((1, 2, 2), 3, hidden=[4])
    assert not LiveTeacher(FunctionTeacher(model.forward))(X).requires_grad


def test_an_error_of_the_function_is_one_message_with_its_cause():
    def broken(x):
        raise KeyError("no such thing")

    with pytest.raises(
        TeacherError, match=r"broken failed for inputs of shape \[5, 1, 2, 2\].*KeyError: 'no such"
    ) as caught:
        LiveTeacher(FunctionTeacher(broken))(X)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: None, "The teacher returned None"),
        (lambda x: linear(x)[:2], r"shape \[2, 3\] for 5 inputs"),
        (lambda x: (linear(x).sum(), 1), "The teacher returned a tuple"),
    ],
)
def test_answers_that_are_no_logits(function, message):
    with pytest.raises(TeacherError, match=message):
        LiveTeacher(FunctionTeacher(function))(X)


def test_names():
    assert FunctionTeacher(linear).name == "linear"
    assert FunctionTeacher(lambda x: x).name == "test_names.lambda"
    assert FunctionTeacher(partial(linear)).name == "partial"
    assert FunctionTeacher(linear).description().endswith("test_function.linear")
