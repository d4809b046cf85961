import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.models import MLP, ConvNet, Normalized, count_parameters, model_name
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
        {"dropout": 1},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"dropout": float("nan")},
        {"dropout": True},
        {"dropout": "0.5"},
        {"input_dropout": 1.5},
        {"input_dropout": None},
        {"max_norm": 0},
        {"max_norm": -1.0},
        {"max_norm": float("nan")},
        {"max_norm": float("inf")},
    ],
    ids=str,
)
def test_a_bad_argument_of_an_mlp_is_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        MLP((4,), 3, **bad)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)),
    channels=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    classes=st.integers(1, 5),
    data=st.data(),
)
def test_a_convnet_gives_one_logit_per_class(shape, channels, classes, data):
    strides = data.draw(st.lists(st.integers(1, 2), min_size=len(channels), max_size=len(channels)))
    model = ConvNet(shape, classes, channels=channels, strides=strides).eval()
    wide = [shape[0], *channels]
    convolutions = sum(9 * a * b + 2 * b for a, b in zip(wide, channels, strict=False))
    assert count_parameters(model) == convolutions + (9 * channels[-1] + 1) * classes
    assert model.name == "convnet " + "-".join(map(str, channels))
    x = torch.randn(2, *shape)
    assert model(x).shape == (2, classes)
    assert torch.equal(model(x), model(x.flatten(1)))
    assert [m.stride for m in model.modules() if isinstance(m, nn.Conv2d)] == [
        (s, s) for s in strides
    ]


def test_convnet_equals_plain_functions():
    model = ConvNet((3, 9, 7), 4, channels=(5, 6), strides=(1, 2))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.running_mean, module.weight, module.bias):
                    tensor.normal_()
                module.running_var.uniform_(0.5, 2)
    model.eval()
    x = torch.randn(4, 3, 9, 7)
    state = model.state_dict()
    h = x
    for layer, stride in ((0, 1), (3, 2)):
        h = nn.functional.conv2d(
            h, state[f"features.{layer}.weight"].contiguous(), stride=stride, padding=1
        )
        mean, var, weight, bias = (
            state[f"features.{layer + 1}.{k}"].view(-1, 1, 1)
            for k in ("running_mean", "running_var", "weight", "bias")
        )
        h = ((h - mean) / (var + 1e-5).sqrt() * weight + bias).relu()
    h = nn.functional.adaptive_avg_pool2d(h, 3).flatten(1)
    expected = h @ state["head.3.weight"].T + state["head.3.bias"]
    torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=1e-5)


def test_convnet_refuses_images_of_other_channels():
    """Three grey images and one of three channels hold as many numbers; they are not the same."""
    model = ConvNet((1, 8, 8), 10, channels=[4], strides=[1]).eval()
    for x in (torch.zeros(2, 3, 8, 8), torch.zeros(4, 1, 4, 4)):
        with pytest.raises(RuntimeError):
            model(x)


@pytest.mark.parametrize(
    "bad",
    [
        {"channels": [], "strides": []},
        {"channels": [4, 4], "strides": [1]},
        {"channels": [0], "strides": [1]},
        {"channels": [4], "strides": [0]},
        {"channels": [4], "strides": [-1]},
        {"dropout": 1.0},
    ],
    ids=str,
)
def test_a_bad_argument_of_a_convnet_is_refused(bad):
    with pytest.raises(ConfigError):
        ConvNet((1, 8, 8), 10, **bad)


@pytest.mark.parametrize("shape", [(64,), (8, 8), (1, 1, 8, 8)])
def test_convnet_needs_images(shape):
    with pytest.raises(ConfigError, match=r"ConvNet needs images \[C, H, W\]"):
        ConvNet(shape, 10)


@pytest.mark.parametrize("build", [MLP, ConvNet])
def test_arguments_rebuild_the_same_structure(build):
    model = build(torch.Size([1, 8, 8]), 10)
    again = build(**json.loads(json.dumps(model.arguments)))
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert {name: tensor.shape for name, tensor in again.state_dict().items()} == shapes
    assert again.arguments == model.arguments


class Echo(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 2)])
def test_images_are_normalised_by_channel(shape):
    mean, std = [0.1, 0.2, 0.3], [1.0, 2.0, 4.0]
    x = np.random.default_rng(0).random((6, *shape), dtype=np.float32)
    by_channel = (1, 3, *[1] * (len(shape) - 1))
    expected = (x - np.reshape(mean, by_channel)) / np.reshape(std, by_channel)
    model = Normalized(Echo(), mean, std)
    np.testing.assert_allclose(model(torch.from_numpy(x)).numpy(), expected, rtol=1e-5)
    flat = model(torch.from_numpy(x.reshape(6, -1)))
    assert flat.shape == (6, int(np.prod(shape)))
    np.testing.assert_allclose(flat.numpy(), expected.reshape(6, -1), rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 5), (20,), (4, 5)])
@pytest.mark.parametrize("scalar", [False, True])
def test_inputs_are_normalised_by_one_number(shape, scalar):
    model = Normalized(Echo(), 0.25 if scalar else [0.25], 0.5 if scalar else [0.5])
    x = torch.rand(6, *shape)
    assert torch.equal(model(x), (x - 0.25) / 0.5)


def test_features_are_normalised():
    x = torch.rand(5, 3)
    expected = (x - torch.tensor([1.0, 2.0, 3.0])) / torch.tensor([1.0, 2.0, 4.0])
    assert torch.equal(Normalized(Echo(), [1, 2, 3], [1, 2, 4])(x), expected)


def test_normalized_refuses_other_channels():
    model = Normalized(Echo(), [0.1, 0.2, 0.3], [1.0, 1.0, 1.0])
    for x in (torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4, 4), torch.zeros(2, 16)):
        with pytest.raises(RuntimeError):
            model(x)


def test_normalized_keeps_channels_last():
    x = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    result = Normalized(Echo(), [0.1, 0.2, 0.3], [1.0, 2.0, 3.0])(x)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_a_model_has_its_own_name_or_that_of_its_class():
    assert model_name(MLP((4,), 3, hidden=[5])) == "4-5-3"
    assert Normalized(MLP((4,), 3, hidden=[5]), [0.0], [1.0]).name == "4-5-3"
    assert model_name(nn.Linear(2, 2)) == "Linear"
    selected = nn.Linear(2, 2)
    selected.name = 7
    assert model_name(selected) == "Linear"


def test_shared_parameters_count_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert count_parameters(model) == 16 + 4 + 4
