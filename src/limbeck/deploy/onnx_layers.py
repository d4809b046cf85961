"""ONNX graphs of plain networks, written layer by layer, without PyTorch's exporter.

The exporter takes seconds for any model, and writes dozens of operators for a pooling whose
windows overlap.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.models.convnet import ConvNet
from limbeck.models.graded import Graded
from limbeck.models.mlp import MLP, BoundedLinear
from limbeck.models.normalized import Normalized
from limbeck.models.regressor import Regressor

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

INPUT, OUTPUT = "inputs", "logits"
OPSET, IR_VERSION = 20, 10
"""Versions of the operators and of the file format, as PyTorch's exporter writes them."""


class UnknownLayerError(Exception):
    """A layer that this module does not write."""


def layers_to_onnx(model: nn.Module, example: Tensor) -> "ModelProto | None":
    """Write the ONNX graph of a network of dense layers or convolutions, for any batch size.

    Known are :class:`~limbeck.models.MLP` and :class:`~limbeck.models.ConvNet`, sequences of linear
    layers, convolutions, BatchNorm, ReLU, dropout and average pooling, and what limbeck puts around
    them. Subclasses are not known, because they may compute something else.

    Args:
        model: Model on floats, in eval mode, in float32 and on the CPU.
        example: Inputs as in the dataset, uint8 or float32 ``[N, ...]``.

    Returns:
        The ONNX model with input ``inputs`` and output ``logits``; None if it has other layers.
    """
    if example.dtype not in (torch.uint8, torch.float32):
        return None
    writer = _Writer(tuple(example.shape[1:]))
    try:
        if example.dtype == torch.uint8:
            writer.add_bytes()
        writer.add(model, "model")
        return writer.model(is_bytes=example.dtype == torch.uint8)
    except UnknownLayerError:
        return None


class _Writer:
    """Collects the operators of a network."""

    def __init__(self, shape: tuple[int, ...]):
        self._input_shape = self._shape = shape
        self._value = INPUT
        self._nodes: list[NodeProto] = []
        self._tensors: list[TensorProto] = []

    def model(self, *, is_bytes: bool) -> "ModelProto":
        """Return the model."""
        from onnx import TensorProto, helper

        if len(self._shape) != 1 or not self._nodes:
            raise UnknownLayerError
        self._nodes[-1].output[0] = OUTPUT
        kind = TensorProto.UINT8 if is_bytes else TensorProto.FLOAT
        inputs = helper.make_tensor_value_info(INPUT, kind, ["N", *self._input_shape])
        outputs = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", *self._shape])
        graph = helper.make_graph(self._nodes, "main_graph", [inputs], [outputs], self._tensors)
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)

    def add_bytes(self) -> None:
        """Convert bytes to floats from 0 to 1, as :func:`limbeck.data.dataset.as_float` does."""
        from onnx import TensorProto

        self._operator("Cast", to=TensorProto.FLOAT)
        self._operator("Div", self._constant("inputs.255", 255.0))

    def add(self, module: nn.Module, name: str) -> None:
        """Add the layers of a module.

        Args:
            module: Module.
            name: Name of the module, with which the names of its weights begin.

        Raises:
            UnknownLayerError: If it has layers that are not known.
        """
        kind = type(module)
        if kind in (nn.Dropout, nn.Identity):
            return
        if kind in (nn.Linear, BoundedLinear):
            self._linear(module, name)
        elif kind is nn.ReLU:
            self._operator("Relu")
        elif kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
            self._reshape(name, (math.prod(self._shape),))
        elif kind is nn.Conv2d:
            self._convolution(module, name)
        elif kind is nn.BatchNorm2d:
            self._batch_norm(module, name)
        elif kind is nn.AdaptiveAvgPool2d:
            self._average_pool(module, name)
        elif kind is nn.Sequential:
            self._children(module, name)
        else:
            self._network(module, name)

    def _network(self, module: nn.Module, name: str) -> None:
        """Add one of limbeck's own networks."""
        match module:
            case MLP() if type(module) is MLP:
                self.add(module.layers, f"{name}.layers")
            case ConvNet() if type(module) is ConvNet:
                self._reshape(name, tuple(module.arguments["shape"]))
                self.add(module.features, f"{name}.features")
                self.add(module.head, f"{name}.head")
            case Normalized() if type(module) is Normalized and module.size is None:
                self._normalize(module, name)
                self.add(module.net, f"{name}.net")
            case Regressor() if type(module) is Regressor:
                self.add(module.net, f"{name}.net")
                self._operator("Mul", self._tensor(f"{name}.std", module.std))
                self._operator("Add", self._tensor(f"{name}.mean", module.mean))
            case Graded() if type(module) is Graded:
                self._grades(module, name)
            case _:
                raise UnknownLayerError

    def _children(self, module: Any, name: str) -> None:
        """Add the layers of a sequence."""
        for number, child in enumerate(module):  # one module may be in several places
            self.add(child, f"{name}.{number}")

    def _linear(self, module: Any, name: str) -> None:
        if len(self._shape) != 1:
            raise UnknownLayerError
        parameters = self._parameters(module, name)
        self._operator("Gemm", *parameters, transB=1)
        self._shape = (module.out_features,)

    def _convolution(self, module: Any, name: str) -> None:
        is_plain = module.padding_mode == "zeros" and not isinstance(module.padding, str)
        if not is_plain or len(self._shape) != 3:
            raise UnknownLayerError
        sizes = (
            self._shape[1:],
            module.kernel_size,
            module.stride,
            module.padding,
            module.dilation,
        )
        height, width = (
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, padding, dilation in zip(*sizes, strict=True)
        )
        self._operator(
            "Conv",
            *self._parameters(module, name),
            kernel_shape=module.kernel_size,
            strides=module.stride,
            pads=[*module.padding, *module.padding],
            dilations=module.dilation,
            group=module.groups,
        )
        self._shape = (module.out_channels, height, width)

    def _batch_norm(self, module: Any, name: str) -> None:
        """Multiply the convolution before by the scale, and add the offset to its bias."""
        from onnx import numpy_helper

        before = self._nodes[-1] if self._nodes else None
        if before is None or before.op_type != "Conv" or module.running_mean is None:
            raise UnknownLayerError
        scale = 1 / np.sqrt(_float64(module.running_var) + module.eps)
        offset = -_float64(module.running_mean) * scale
        if module.affine:
            scale = scale * _float64(module.weight)
            offset = offset * _float64(module.weight) + _float64(module.bias)
        tensors = {tensor.name: tensor for tensor in self._tensors}
        weight = tensors[before.input[1]]
        values = numpy_helper.to_array(weight).astype(np.float64) * scale.reshape(-1, 1, 1, 1)
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float32), weight.name))
        if len(before.input) == 3:
            bias = tensors[before.input[2]]
            offset = offset + scale * numpy_helper.to_array(bias)
            bias.CopyFrom(numpy_helper.from_array(offset.astype(np.float32), bias.name))
        else:
            bias_name = weight.name.removesuffix(".weight") + ".bias"
            before.input.append(self._constant(bias_name, offset))

    def _average_pool(self, module: Any, name: str) -> None:
        """Average over windows, which overlap if the sizes are no multiples."""
        size = module.output_size
        height, width = (size, size) if isinstance(size, int) else size
        if len(self._shape) != 3 or None in (height, width):
            raise UnknownLayerError
        channels, rows, columns = self._shape
        windows = [_windows(rows, height), _windows(columns, width)]
        regular = [_regular_windows(axis) for axis in windows]
        if all(regular):
            kernel, strides = zip(*regular, strict=True)
            self._operator("AveragePool", kernel_shape=kernel, strides=strides)
        else:
            # one axis after the other, as the matrix of both would be larger than many students
            of_rows, of_columns = (_pooling_matrix(axis) for axis in windows)
            self._operator("MatMul", self._constant(f"{name}.columns", of_columns.T))
            self._operator("MatMul", self._constant(f"{name}.rows", of_rows), is_left=True)
        self._shape = (channels, height, width)

    def _normalize(self, module: Normalized, name: str) -> None:
        channels = module.mean.numel()
        shape: tuple[int, ...] = ()
        if channels > 1:
            if len(self._shape) == 1 or self._shape[0] != channels:
                raise UnknownLayerError
            shape = (channels, *[1] * (len(self._shape) - 1))
        mean = self._tensor(f"{name}.mean", module.mean.reshape(shape))
        std = self._tensor(f"{name}.std", module.std.reshape(shape))
        self._operator("Sub", mean)
        self._operator("Div", std)

    def _grades(self, module: Graded, name: str) -> None:
        self.add(module.encoder, f"{name}.encoder")
        if self._shape != (1,):
            raise UnknownLayerError
        grades = self._constant(f"{name}.grades", np.arange(float(module.classes))[None])
        intercepts = self._tensor(f"{name}.intercepts", module.intercepts)
        self._operator("Mul", grades)
        self._operator("Add", intercepts)
        self._shape = (module.classes,)

    def _reshape(self, name: str, shape: tuple[int, ...]) -> None:
        if math.prod(shape) != math.prod(self._shape):
            raise UnknownLayerError
        if shape != self._shape:
            numbers = np.array([-1, *shape], np.int64)
            self._operator("Reshape", self._constant(f"{name}.shape", numbers))
            self._shape = shape

    def _parameters(self, module: nn.Module, name: str) -> list[str]:
        """Add the weights of a layer and its bias, if it has one; return their names."""
        parameters = list(module.named_parameters(recurse=False))
        if [key for key, _ in parameters] not in (["weight"], ["weight", "bias"]):
            raise UnknownLayerError  # such as weights that a hook computes
        return [self._tensor(f"{name}.{key}", value) for key, value in parameters]

    def _tensor(self, name: str, values: Tensor) -> str:
        if values.dtype != torch.float32:
            raise UnknownLayerError
        return self._constant(name, values.detach().cpu().contiguous().numpy())

    def _constant(self, name: str, values: np.ndarray | float) -> str:
        from onnx import numpy_helper

        array = np.asarray(values)
        if array.dtype != np.int64:
            array = array.astype(np.float32)
        self._tensors.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _operator(
        self, kind: str, *constants: str, is_left: bool = False, **attributes: Any
    ) -> None:
        """Apply an operator to the value so far.

        Args:
            kind: Name of the operator.
            constants: Names of its constant inputs.
            is_left: Whether the constants come before the value.
            attributes: Attributes of the operator.
        """
        from onnx import helper

        inputs = [*constants, self._value] if is_left else [self._value, *constants]
        self._value = name = f"{kind.lower()}{len(self._nodes)}"  # short, as files may be tiny
        self._nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))


def _float64(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.detach().cpu().numpy().astype(np.float64)
    return array


def _windows(size: int, count: int) -> list[tuple[int, int]]:
    """Return the first and the last index, plus 1, of each window of PyTorch's adaptive pooling."""
    return [(number * size // count, -(-(number + 1) * size // count)) for number in range(count)]


def _regular_windows(windows: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Return size and stride of windows of one size at equal distances; None for others."""
    size = windows[0][1]
    stride = windows[1][0] if len(windows) > 1 else 1
    expected = [(number * stride, number * stride + size) for number in range(len(windows))]
    return (size, stride) if stride and list(windows) == expected else None


def _pooling_matrix(windows: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the matrix ``[windows, size]`` that computes the mean of each window."""
    matrix = np.zeros((len(windows), windows[-1][1]))
    for row, (start, end) in zip(matrix, windows, strict=True):
        row[start:end] = 1 / (end - start)
    return matrix
