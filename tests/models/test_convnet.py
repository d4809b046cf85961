import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.models import ConvNet, count_parameters


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
        {"channels": 4, "strides": [1]},
        {"channels": [4], "strides": [None]},
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
