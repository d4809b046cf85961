"""Graphs that are written layer by layer answer like PyTorch, for the networks that are known."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from limbeck.data.dataset import as_float
from limbeck.deploy import onnx_export
from limbeck.deploy.onnx_layers import layers_to_onnx
from limbeck.models import MLP, ConvNet, Graded, Normalized, Regressor

COUNT = 9


def images(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (COUNT, *shape), dtype=torch.uint8, generator=generator)


def numbers(*shape):
    return torch.randn(COUNT, *shape, generator=torch.Generator().manual_seed(0))


def convnet(side, channels, strides):
    net = ConvNet((1, side, side), 4, channels=channels, strides=strides)
    return Normalized(net, [0.1], [0.3])


def coloured():
    net = ConvNet((3, 12, 10), 4, channels=[4], strides=[2])
    return Normalized(net, [0.4, 0.5, 0.6], [0.2, 0.3, 0.1])


def sequence():
    relu = nn.ReLU()  # in two places
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2),
        nn.BatchNorm2d(4),
        relu,
        nn.Conv2d(4, 4, (3, 1), bias=False),
        relu,
        nn.AdaptiveAvgPool2d((2, 1)),
        nn.Flatten(),
        nn.Linear(8, 4, bias=False),
    )


NETWORKS = {
    "mlp": (lambda: MLP((1, 6, 6), 4, hidden=[8, 8], dropout=0.5, max_norm=2.0), images(1, 6, 6)),
    "pooling": (lambda: convnet(14, [4, 6], [1, 2]), images(1, 14, 14)),
    "overlap": (lambda: convnet(16, [4, 6], [1, 2]), images(1, 16, 16)),
    "enlarged": (lambda: convnet(4, [4], [2]), images(1, 4, 4)),
    "coloured": (coloured, images(3, 12, 10)),
    "graded": (lambda: Graded(MLP((7,), 1, hidden=[8]), 4), numbers(7)),
    "regression": (
        lambda: Regressor(MLP((7,), 4, hidden=[8]), [1.0, 2, 3, 4], [5.0, 6, 7, 8]),
        numbers(7),
    ),
    "sequence": (sequence, numbers(2, 11, 9)),
}


def outputs_of(model, inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"inputs": inputs.numpy()})[0]


def expected_outputs(network, inputs):
    with torch.no_grad():
        return network(as_float(inputs)).numpy()


@pytest.fixture
def network(request):
    """A network in eval mode, whose BatchNorm has seen data, and inputs."""
    build, inputs = NETWORKS[request.param]
    torch.manual_seed(0)
    network = build()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return network.eval(), inputs


@pytest.mark.parametrize("network", NETWORKS, indirect=True)
def test_outputs_are_those_of_pytorch_up_to_rounding(network):
    net, inputs = network
    model = layers_to_onnx(net, inputs)
    onnx.checker.check_model(model, full_check=True)
    for count in (1, COUNT):
        expected = expected_outputs(net, inputs[:count])
        outputs = outputs_of(model, inputs[:count])
        assert outputs.shape == (count, 4)
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("network", ["overlap"], indirect=True)
def test_the_graph_answers_like_that_of_the_exporter_and_is_smaller(network):
    net, inputs = network
    model = layers_to_onnx(net, inputs)
    exported = onnx_export._export(net, inputs)
    onnx_export._remove_origin(exported)
    expected = outputs_of(exported, inputs)
    difference = np.abs(outputs_of(model, inputs) - expected).max()
    assert difference <= 1e-6 * np.abs(expected).max()
    assert model.ByteSize() < exported.ByteSize()
    assert len(model.graph.node) < len(exported.graph.node)


def test_windows_that_overlap_take_few_bytes():
    """14 rows become 3: two matrices of 42 numbers each, not one of 1,764."""
    net = convnet(28, [4, 6], [1, 2])
    model = layers_to_onnx(net, images(1, 28, 28))
    weights = 4 * sum(value.numel() for value in net.parameters())
    assert model.ByteSize() < weights + 2_000


@pytest.mark.parametrize("network", ["mlp", "pooling", "sequence"], indirect=True)
def test_the_exporter_of_pytorch_is_not_needed(network, monkeypatch):
    net, inputs = network

    def refuse(*arguments):
        raise AssertionError("PyTorch's exporter was called")

    monkeypatch.setattr(onnx_export, "_export", refuse)
    model = onnx_export.to_onnx(net, inputs)
    assert model.producer_name == "limbeck"
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_weights_have_the_names_of_pytorch():
    net = MLP((3,), 2, hidden=[4])
    names = {tensor.name for tensor in layers_to_onnx(net, numbers(3)).graph.initializer}
    assert names == {f"model.{name}" for name in net.state_dict()}


class Doubled(nn.Linear):
    """A linear layer that computes something else."""

    def forward(self, x):
        return 2 * super().forward(x)


class WiderMLP(MLP):
    """An MLP that computes something else."""

    def forward(self, x):
        return super().forward(2 * x)


@pytest.mark.parametrize(
    ("net", "inputs"),
    [
        (Doubled(3, 2), numbers(3)),
        (WiderMLP((3,), 2, hidden=[4]), numbers(3)),
        (nn.utils.spectral_norm(nn.Linear(3, 2)), numbers(3)),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), numbers(3)),
        (nn.Sequential(nn.Linear(3, 2), nn.GELU()), numbers(3)),
        (nn.Linear(3, 2), numbers(5, 3)),
        (nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 2)), numbers(2, 3, 3)),
        (nn.Sequential(nn.Conv2d(2, 2, 3, padding="same"), nn.Flatten()), numbers(2, 3, 3)),
        (
            nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), nn.Flatten()),
            numbers(2, 3, 3),
        ),
        (Normalized(nn.Flatten(), [0.5], [0.5], size=4), numbers(1, 3, 3)),
        (nn.Linear(3, 2).double(), numbers(3).double()),
        (nn.Embedding(3, 2), torch.zeros(2, 3, dtype=torch.int32)),
        (nn.Flatten(), numbers(3)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_networks_are_left_to_the_exporter(net, inputs):
    assert layers_to_onnx(net.eval(), inputs) is None


def test_a_network_with_a_hook_is_left_to_the_exporter(monkeypatch):
    net = MLP((3,), 2, hidden=[4])
    net.layers[1].register_forward_hook(lambda module, inputs, output: 2 * output)
    calls = []

    def export(model, example):
        calls.append(model)
        return layers_to_onnx(model, example)

    monkeypatch.setattr(onnx_export, "_export", export)
    onnx_export.to_onnx(net, numbers(3))
    assert calls == [net]
