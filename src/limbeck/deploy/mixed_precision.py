"""8-bit models in which the layers that lose the most stay in float32."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from limbeck._base.progress import Advance
from limbeck.data import Dataset
from limbeck.deploy.onnx_export import calibration_inputs, onnx_logits, quantize
from limbeck.deploy.parity import gate_of

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

SAMPLES = 256
"""Number of validation samples on which the sensitivity of a layer is measured."""
SECONDS = 300
"""Duration of the search in seconds after which no further model is quantised."""
_WEIGHT_INPUTS = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "Gather": 0}
"""Position of the weights among the inputs of the operators that have some."""


@dataclass(frozen=True)
class Layer:
    """A layer with weights, and the operators without weights that follow it.

    Attributes:
        name: Name of the layer in the PyTorch model, such as ``layers.3``; or of its operator, if
            the exporter has not kept it.
        nodes: Names of the operators.
    """

    name: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class MixedModel:
    """An 8-bit model some of whose layers are in float32.

    Attributes:
        content: Bytes of the ONNX file.
        float_layers: Names of the layers in float32, the most sensitive first.
        layers: Number of all layers with weights.
        tried: Number of models that were compared on the validation split so far.
    """

    content: bytes
    float_layers: tuple[str, ...]
    layers: int
    tried: int


def layers_of(model: "ModelProto") -> list[Layer]:
    """Return the layers of a model, in the order of its graph.

    Args:
        model: Model of :func:`limbeck.deploy.onnx_export.to_onnx`.
    """
    weights = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) > 1}
    groups: list[list[str]] = []
    names: list[str] = []
    first: list[str] = []
    for node in model.graph.node:
        position = _WEIGHT_INPUTS.get(node.op_type)
        if position is not None and node.input[position] in weights:
            names.append(_layer_name(model, node, position))
            groups.append(first)  # what comes before the first layer belongs to it
            first = []
        target = groups[-1] if groups else first
        # ONNX Runtime splits a Gemm into a MatMul of this name and an Add before it quantises
        target += [node.name, f"{node.name}_MatMul"] if node.op_type == "Gemm" else [node.name]
    return [Layer(name, tuple(nodes)) for name, nodes in zip(names, groups, strict=True)]


def _layer_name(model: "ModelProto", node: "NodeProto", position: int) -> str:
    """Return the name of a layer: that of its weights, or of the bias that is added next."""
    parameters = [node.input[position]]
    parameters += [
        name
        for other in model.graph.node
        if other.op_type == "Add" and node.output[0] in other.input
        for name in other.input
    ]
    for parameter in parameters:
        for ending in (".weight", ".bias"):
            if parameter.endswith(ending):
                return parameter.removeprefix("model.").removesuffix(ending)
    return node.name


class MixedPrecision:
    """Search for the layers that have to stay in float32, on the validation split.

    Each layer is quantised alone, and its sensitivity is the mean squared change of the outputs, in
    units of their variance. Then the most sensitive layers go back to float32 one after the other,
    as in the accuracy control of NNCF (Kozlov et al. 2020), until the gate of the export holds on
    the validation split.

    Args:
        model: Model in float32, of :func:`limbeck.deploy.onnx_export.to_onnx`.
        data: Dataset of the run.
        share: Allowed share of additional errors.
        folder: Folder for temporary files.
        advance: Callback for the progress, from 0 to 1.
    """

    def __init__(
        self, model: "ModelProto", data: Dataset, share: float, folder: Path, advance: Advance
    ):
        self._model, self._data, self._folder, self._advance = model, data, folder, advance
        self._calibration = calibration_inputs(data.train.inputs)
        self._gates = [gate_of(data, data.val, share=share), gate_of(data, data.val, share=0)]
        self.layers = layers_of(model)

    def candidates(self) -> Iterator[MixedModel]:
        """Yield at most two 8-bit models, which hold on the validation split.

        The first has the fewest layers in float32 with which the gate holds. The second has the
        fewest with which there are no additional errors at all, and is for the case that the gate
        refuses the first one on the test split. Nothing is yielded after :data:`SECONDS`.
        """
        total = len(self.layers)
        if total < 2:
            return
        end = time.monotonic() + SECONDS
        inputs = self._data.val.inputs
        reference = self._outputs(self._serialize(self._model), inputs)
        order = self._most_sensitive_first(end)
        gates = list(self._gates)
        for count in range(1, total):
            if time.monotonic() > end:
                return
            self._advance((total + count) / (2 * total), f"{count} of {total} layers in float32")
            content = self._quantized(order[:count])
            outputs = self._outputs(content, inputs)
            if gates[0].check_similar("onnx int8", outputs, reference).passed:
                names = tuple(layer.name for layer in order[:count])
                yield MixedModel(content, names, total, count)
                del gates[0]
            if not gates:
                return

    def _most_sensitive_first(self, end: float) -> list[Layer]:
        """Sort the layers by the loss of each in 8 bits; those not measured in time come last."""
        inputs = self._data.val.inputs[:SAMPLES]
        reference = self._outputs(self._serialize(self._model), inputs)
        scale = np.maximum(reference.var(0), np.finfo(np.float32).tiny)
        losses = dict.fromkeys(self.layers, -1.0)
        for number, layer in enumerate(self.layers, start=1):
            if time.monotonic() > end:
                break
            self._advance(number / (2 * len(self.layers)), f"{layer.name} in 8 bits")
            content = self._quantized([other for other in self.layers if other != layer])
            change = self._outputs(content, inputs).astype(np.float64) - reference
            loss = float(np.mean(change**2 / scale))
            losses[layer] = loss if np.isfinite(loss) else np.inf
        return sorted(self.layers, key=lambda layer: -losses[layer])

    def _quantized(self, float_layers: Sequence[Layer]) -> bytes:
        nodes = [name for layer in float_layers for name in layer.nodes]
        return self._serialize(quantize(self._model, self._calibration, self._folder, nodes))

    def _outputs(self, content: bytes, inputs: Tensor) -> np.ndarray:
        return onnx_logits(content, "int8", inputs, self._data.output_names, self._data.padding)

    @staticmethod
    def _serialize(model: "ModelProto") -> bytes:
        return model.SerializeToString(deterministic=True)
