"""ONNX models answer like their PyTorch models, and quantisation shrinks them."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from limbeck._base.errors import ConfigError, ResourceError
from limbeck.data.dataset import as_float
from limbeck.deploy import onnx_export
from limbeck.deploy.onnx_export import is_convolutional
from limbeck.models import MLP, ConvNet, Graded, Normalized, TorchvisionModel


def onnx_outputs(model, inputs):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"inputs": inputs})[0]


def torch_outputs(model, inputs):
    with torch.no_grad():
        return model.eval()(as_float(torch.from_numpy(inputs))).numpy()


def mlp():
    return MLP((3, 16, 16), 5, hidden=[20, 10], dropout=0.5, input_dropout=0.2, max_norm=2.0)


def normalized_convnet():
    convnet = ConvNet((3, 16, 16), 5, channels=[4, 6], strides=[1, 2])
    return Normalized(convnet, [0.4, 0.5, 0.6], [0.2, 0.3, 0.1])


def mobilenet():
    return TorchvisionModel((3, 16, 16), 5, name="mobilenet_v3_small")


def graded():
    return Graded(MLP((3, 16, 16), 1, hidden=[8]), 5)


@pytest.mark.parametrize(
    "build",
    [mlp, normalized_convnet, graded, pytest.param(mobilenet, marks=pytest.mark.slow)],
    ids=lambda build: build.__name__,
)
@pytest.mark.filterwarnings("ignore::limbeck._base.errors.LimbeckWarning")
def test_outputs_equal_those_of_pytorch_for_any_batch_size(build):
    torch.manual_seed(1)
    model = build()
    inputs = np.random.default_rng(0).integers(0, 256, (9, 3, 16, 16), dtype=np.uint8)
    exported = onnx_export.to_onnx(model, torch.from_numpy(inputs))
    for count in (1, 2, 9):
        outputs = onnx_outputs(exported, inputs[:count])
        assert outputs.shape == (count, 5)
        assert np.abs(outputs - torch_outputs(model, inputs[:count])).max() < 1e-4


def test_inputs_of_floats_are_not_rescaled():
    model = MLP((7,), 3, hidden=[5])
    inputs = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    exported = onnx_export.to_onnx(model, torch.from_numpy(inputs))
    assert np.abs(onnx_outputs(exported, inputs) - torch_outputs(model, inputs)).max() < 1e-5


def test_a_model_that_onnx_cannot_express_is_refused():
    class DataDependent(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] * (1 if x.sum() > 0 else 2)

    with pytest.raises(ConfigError, match="cannot be exported to ONNX: "):
        onnx_export.to_onnx(DataDependent(), torch.zeros(2, 1, 4, 4))


def test_quantisation_is_static_for_convolutions_and_dynamic_without(mlp_bundle, conv_bundle):
    mlp_operators, conv_operators = (
        {node.op_type for node in onnx.load(bundle / "model.int8.onnx").graph.node}
        for bundle in (mlp_bundle, conv_bundle)
    )
    assert "DynamicQuantizeLinear" in mlp_operators
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= conv_operators
    assert "DynamicQuantizeLinear" not in conv_operators


@pytest.mark.parametrize(
    ("operators", "expected"),
    [
        ("Conv Relu Conv Gemm", True),
        ("Conv MatMul Softmax MatMul Gemm", False),  # a vision transformer
        ("Gemm Relu Gemm", False),
        ("Conv GlobalAveragePool", True),
        ("Conv Conv Gemm Gemm Gemm", True),  # LeNet
    ],
)
def test_a_transformer_with_a_convolution_is_not_convolutional(operators, expected):
    nodes = [onnx.helper.make_node(operator, ["x"], ["x"]) for operator in operators.split()]
    graph = onnx.helper.make_graph(nodes, "graph", [], [])
    assert is_convolutional(onnx.helper.make_model(graph)) == expected


def test_quantisation_shrinks_a_large_model(tmp_path):
    model = MLP((1, 28, 28), 10, hidden=[200])
    inputs = np.random.default_rng(0).integers(0, 256, (32, 1, 28, 28), dtype=np.uint8)
    exported = onnx_export.to_onnx(model, torch.from_numpy(inputs))
    small = onnx_export.quantize(exported, inputs, tmp_path)
    assert small.ByteSize() < 0.3 * exported.ByteSize()


def test_a_failing_quantiser_suggests_to_leave_8_bits_out(tmp_path, monkeypatch):
    def fail(*args, **settings):
        raise ValueError("no such operator")

    exported = onnx_export.to_onnx(MLP((3,), 2, hidden=[]), torch.zeros(2, 3))
    monkeypatch.setattr(onnx_export, "_quantize", fail)
    with pytest.raises(
        ConfigError, match=r"cannot be quantised to 8 bits: ValueError: no such.*int8=false"
    ):
        onnx_export.quantize(exported, np.zeros((2, 3), np.float32), tmp_path)


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError()])
def test_errors_of_the_system_are_no_fault_of_the_model(monkeypatch, tmp_path, error):
    def fail(*arguments, **settings):
        raise error

    monkeypatch.setattr("limbeck.deploy.onnx_export._quantize", fail)
    with pytest.raises(type(error)):
        onnx_export.quantize(onnx.ModelProto(), np.zeros((1, 1)), tmp_path)


def test_a_model_beyond_the_limit_of_a_file_is_refused_before_it_is_written(monkeypatch):
    monkeypatch.setattr(onnx_export, "MAX_MODEL_SIZE", 1000)
    monkeypatch.setattr(onnx_export, "layers_to_onnx", None)  # would fail if it was called
    with pytest.raises(ResourceError, match="an ONNX file can hold at most 2 GB"):
        onnx_export.to_onnx(mlp(), torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
