"""A student as a list of dense layers, with what happens to its inputs and outputs folded in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.models.graded import Graded
from limbeck.models.mlp import MLP
from limbeck.models.normalized import Normalized, model_name
from limbeck.models.regressor import Regressor
from limbeck.models.table import TableEncoder, TableModel

LEVELS = 127
"""Largest magnitude of a weight in 8 bits."""


@dataclass(frozen=True)
class DenseLayer:
    """A dense layer, ``max(0, weight @ x + bias)`` or without the maximum.

    Attributes:
        weight: Weights ``[O, I]``, float32; or int8, to be multiplied by ``scale``.
        bias: Constants ``[O]``, float32.
        relu: Whether negative outputs become 0.
        scale: Factor of the weights of each output, float32 ``[O]``; None for float weights.
    """

    weight: np.ndarray
    bias: np.ndarray
    relu: bool
    scale: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Compute the outputs ``[N, O]`` of inputs ``[N, I]`` in float32."""
        outputs = x @ self.weight.astype(np.float32).T
        if self.scale is not None:
            outputs = outputs * self.scale
        outputs = outputs + self.bias
        return outputs.clip(0) if self.relu else outputs

    def in_8_bits(self) -> "DenseLayer":
        """Return the layer with weights in 8 bits, one scale per output."""
        largest = np.abs(self.weight).max(1)
        scale = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(LEVELS)
        levels = np.rint(self.weight / scale[:, None]).astype(np.int8)
        return DenseLayer(levels, self.bias, self.relu, scale)


@dataclass(frozen=True)
class DenseNetwork:
    """A network of dense layers.

    Attributes:
        layers: Layers, in their order.
        encoder: Layer that encodes the rows of a table first, or None.
    """

    layers: Sequence[DenseLayer]
    encoder: TableEncoder | None = None

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Compute outputs ``[N, O]`` of inputs ``[N, ...]`` as they are in the dataset."""
        x = inputs.reshape(len(inputs), -1).astype(np.float32)
        if self.encoder is not None:
            x = self.encoder(torch.from_numpy(x)).numpy()
        for layer in self.layers:
            x = layer(x)
        return x

    def in_8_bits(self) -> "DenseNetwork":
        """Return the network with weights in 8 bits."""
        return DenseNetwork([layer.in_8_bits() for layer in self.layers], self.encoder)

    @property
    def weight_bytes(self) -> int:
        """Size of all weights, biases and scales in bytes."""
        arrays = [array for layer in self.layers for array in (layer.weight, layer.bias)]
        arrays += [layer.scale for layer in self.layers if layer.scale is not None]
        return sum(array.nbytes for array in arrays)


def dense_network(model: nn.Module, example: np.ndarray) -> DenseNetwork:
    """Return a student as dense layers.

    The normalisation of inputs and the scale of outputs become part of the layers, so that inputs
    are taken as they are in the dataset.

    Args:
        model: Student: an MLP, or another sequence of linear layers and ReLU.
        example: Inputs as in the dataset, ``[N, ...]``.

    Raises:
        ConfigError: If the student has other layers.
    """
    folding = _Folding(example[0].size)
    if example.dtype == np.uint8:
        folding.scale(1 / 255, 0.0)
    folding.add(model)
    return folding.network()


class _Folding:
    """Collects the layers of a model, in float64."""

    def __init__(self, inputs: int):
        self._encoder: TableEncoder | None = None
        self._weights: list[np.ndarray] = []
        self._biases: list[np.ndarray] = []
        self._relus: list[bool] = []
        # factor and offset of the values that the next layer takes
        self._factor, self._offset = np.ones(inputs), np.zeros(inputs)

    def scale(self, factor: np.ndarray | float, offset: np.ndarray | float) -> None:
        """Let values ``x`` become ``factor * x + offset``."""
        self._factor = self._factor * factor
        self._offset = self._offset * factor + offset

    def add(self, module: nn.Module) -> None:
        """Add the layers of a module.

        Raises:
            ConfigError: If it has others than dense ones.
        """
        match module:
            case Normalized() if module.size is None:
                self._normalize(module)
                self.add(module.net)
            case TableModel():
                self._encoder = module.encoder
                self._reset(module.encoder.width)
                self.add(module.net)
            case Regressor():
                self.add(module.net)
                self.scale(_array(module.std), _array(module.mean))
            case Graded():
                self.add(module.encoder)
                grades = np.arange(module.classes, dtype=np.float64)
                self._affine(grades[:, None], _array(module.intercepts))
            case MLP():
                self.add(module.layers)
            case nn.Sequential():
                for child in module:
                    self.add(child)
            case nn.Linear():
                bias = np.zeros(module.out_features) if module.bias is None else module.bias
                self._affine(_array(module.weight), _array(bias))
            case nn.ReLU():
                self._relu()
            case nn.Flatten() | nn.Dropout() | nn.Identity():
                pass
            case _:
                raise ConfigError(
                    f"format=c writes networks of dense layers with ReLU, such as student=mlp, but "
                    f"the student has {model_name(module)}. Export it without format=c, to ONNX."
                )

    def network(self) -> DenseNetwork:
        """Return all layers in float32."""
        if not self._weights:
            raise ConfigError("format=c needs a student with at least one linear layer.")
        if self._is_scaled():
            if self._relus[-1]:
                self._affine(np.eye(len(self._factor)), np.zeros(len(self._factor)))
            else:
                self._weights[-1] = self._factor[:, None] * self._weights[-1]
                self._biases[-1] = self._factor * self._biases[-1] + self._offset
        layers = [
            DenseLayer(weight.astype(np.float32), bias.astype(np.float32), relu)
            for weight, bias, relu in zip(self._weights, self._biases, self._relus, strict=True)
        ]
        return DenseNetwork(layers, self._encoder)

    def _affine(self, weight: np.ndarray, bias: np.ndarray) -> None:
        self._biases.append(bias + weight @ self._offset)
        self._weights.append(weight * self._factor)
        self._relus.append(False)
        self._reset(len(weight))

    def _relu(self) -> None:
        if self._is_scaled() or not self._weights or self._relus[-1]:
            size = len(self._factor)
            self._affine(np.eye(size), np.zeros(size))
        self._relus[-1] = True

    def _normalize(self, module: Normalized) -> None:
        mean, std = _array(module.mean), _array(module.std)
        repeats = len(self._factor) // len(mean)
        mean, std = np.repeat(mean, repeats), np.repeat(std, repeats)
        self.scale(1 / std, -mean / std)

    def _is_scaled(self) -> bool:
        return bool((self._factor != 1).any() or (self._offset != 0).any())

    def _reset(self, size: int) -> None:
        self._factor, self._offset = np.ones(size), np.zeros(size)


def _array(values: torch.Tensor | np.ndarray) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return values.astype(np.float64)
