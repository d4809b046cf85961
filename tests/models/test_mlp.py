import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.models import MLP, count_parameters
from limbeck.models.mlp import BoundedLinear


def linears(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear)]


def test_the_student_of_hinton_has_its_published_size():
    assert count_parameters(MLP((1, 28, 28), 10)) == 1_276_810
    assert count_parameters(MLP((1, 28, 28), 10, hidden=(1200, 1200))) == 2_395_210


@settings(max_examples=20, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    classes=st.integers(1, 5),
    hidden=st.lists(st.integers(1, 9), max_size=4),
    max_norm=st.none() | st.floats(0.1, 10),
)
def test_mlp_equals_numpy(shape, classes, hidden, max_norm):
    model = MLP(shape, classes, hidden=hidden, max_norm=max_norm)
    widths = [int(np.prod(shape)), *hidden, classes]
    assert count_parameters(model) == sum(a * b + b for a, b in itertools.pairwise(widths))
    assert model.name == "-".join(map(str, widths))
    x = torch.randn(3, *shape)
    h = x.flatten(1).double().numpy()
    layers = linears(model)
    for number, layer in enumerate(layers):
        h = h @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
        h = np.maximum(h, 0) if number < len(layers) - 1 else h
    np.testing.assert_allclose(model(x).detach().numpy(), h, atol=1e-5)
    assert torch.equal(model(x), model(x.flatten(1)))


def test_the_layers_of_an_mlp_are_in_order():
    kinds = [
        type(m).__name__
        for m in MLP((1, 2, 2), 3, hidden=[5, 6], dropout=0.5, input_dropout=0.2).layers
    ]
    hidden = ["Linear", "ReLU", "Dropout"]
    assert kinds == ["Flatten", "Dropout", *hidden, *hidden, "Linear"]
    plain = [type(m).__name__ for m in MLP((4,), 3, hidden=[5]).layers]
    assert plain == ["Flatten", "Linear", "ReLU", "Linear"]
    only_inputs = [type(m).__name__ for m in MLP((4,), 3, hidden=[5], input_dropout=0.2).layers]
    assert only_inputs == ["Flatten", "Dropout", "Linear", "ReLU", "Linear"]


def test_dropout_zeroes_its_share_of_units():
    model = MLP((4,), 3, hidden=[5, 6], dropout=0.5, input_dropout=0.2)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.2, 0.5, 0.5]
    x = torch.randn(4, 4)
    assert torch.equal(model.eval()(x), model(x))


def test_max_norm_bounds_the_hidden_layers_alone():
    layers = linears(MLP((4,), 3, hidden=[5, 6], max_norm=2.5))
    assert [isinstance(layer, BoundedLinear) for layer in layers] == [True, True, False]
    assert [layer.max_norm for layer in layers[:2]] == [2.5, 2.5]
    assert not any(isinstance(layer, BoundedLinear) for layer in linears(MLP((4,), 3, hidden=[5])))


@pytest.mark.parametrize(
    "bad",
    [
        {"hidden": [0]},
        {"hidden": [-3]},
        {"hidden": [2.5]},
        {"hidden": [True]},
        {"hidden": "800"},
        {"hidden": 0.5},
        {"hidden": {"a": 1}},
        {"dropout": 1},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"dropout": float("nan")},
        {"dropout": True},
        {"dropout": "0.5"},
        {"input_dropout": 1.5},
        {"input_dropout": None},
        {"max_norm": 0},
        {"max_norm": "1"},
        {"max_norm": True},
        {"max_norm": -1.0},
        {"max_norm": float("nan")},
        {"max_norm": float("inf")},
    ],
    ids=str,
)
def test_a_bad_argument_of_an_mlp_is_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        MLP((4,), 3, **bad)
