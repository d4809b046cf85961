"""Sizes of a model that a file describes, compared with the weights next to it.

A description of a few bytes must not cost memory or time: whoever wrote it may ask for any number
of layers. So sizes are compared with the weights before memory or time is spent on them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from limbeck._base.errors import ConfigError
from limbeck.models.builders import Builder
from limbeck.models.normalized import count_parameters

MAX_SIDE = 4096
DEPTHS = (
    "layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "num_hidden_layers",
    "encoder_layers",
    "decoder_layers",
)
"""Names of settings for the number of layers."""
MAX_SHORT = 256
"""Length of a list or name in the arguments that is accepted for every model."""
MAX_SMALL_COUNT = 1024
"""Number of heads, experts and so on that is accepted for every model."""
SMALL_MODEL = 1 << 22
"""Number of parameters that a model may have whatever the size of its file."""
MAX_BUFFER_VALUES = 1 << 28
"""Maximum number of values in tables that libraries create themselves, such as masks."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the tensors in a file of weights.

    Attributes:
        tensors: Number of tensors.
        values: Number of values in all of them.
        sides: Every size of a dimension.
    """

    tensors: int
    values: int
    sides: frozenset[int]

    @classmethod
    def of(cls, shapes: Mapping[str, Sequence[int]]) -> "Sizes":
        """Return the sizes of tensors with these shapes, by name."""
        values = sum(torch.Size(shape).numel() for shape in shapes.values())
        sides = frozenset(side for shape in shapes.values() for side in shape)
        return cls(len(shapes), values, sides)


class _WeightsOnMeta(TorchFunctionMode):
    """Allocation of weights without memory, for models that compute their sizes with tensors."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        options = dict(kwargs or {})
        if function in (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn):
            options["device"] = "meta"
        return function(*args, **options)


def check_library_model(builder: Builder, arguments: dict[str, Any], file: Sizes) -> dict[str, Any]:
    """Refuse a network of another library that has more parameters than its file.

    Args:
        builder: Builder of the network.
        arguments: Arguments of the builder.
        file: Sizes in the file of weights.

    Returns:
        The arguments, with the number of features of a classifier's encoder, which takes time to
        find out for large images.

    Raises:
        ValueError: If it has.
    """
    for allocation in (torch.device("meta"), _WeightsOnMeta()):
        try:
            with torch.random.fork_rng(devices=[]), allocation:
                model = builder(**arguments)
        except (ConfigError, NotImplementedError, RuntimeError):
            continue  # the network itself reports what is wrong with its arguments
        check_memory(model, file)
        if builder.name == "classifier":
            head: Any = model.get_submodule("head")
            return {**arguments, "features": head.in_features}
        break
    return arguments


def check_images(arguments: Mapping[str, Any], file: Sizes) -> None:
    """Refuse sizes of a network for images that its file does not have.

    Raises:
        ValueError: If there is one, if the images are too large, or if the network would load other
            weights.
    """
    channels, *sides = arguments["shape"]
    for size in (arguments["classes"], channels):
        if type(size) is not int or size not in file.sides:
            raise ValueError(f"no weight has the size {size!r}")
    if any(type(side) is not int or not 1 <= side <= MAX_SIDE for side in sides):
        raise ValueError(f"images of {sides} pixels")
    if arguments.get("pretrained"):
        raise ValueError("a saved model has its own weights, not pretrained ones")


def check_lengths(arguments: Mapping[str, Any], file: Sizes) -> None:
    """Refuse lists, such as the widths of layers, that are longer than the number of weights.

    Raises:
        ValueError: If there is one.
    """
    for name, value in arguments.items():
        if isinstance(value, (list, dict, str)) and len(value) > max(MAX_SHORT, file.tensors):
            raise ValueError(f"{name} of length {len(value)} in a file of {file.tensors} weights")


def check_depth(settings: Any, file: Sizes) -> None:
    """Refuse numbers of layers, heads or experts that do not match the number of weights.

    Building each of them takes time.

    Raises:
        ValueError: If there is one.
    """
    most = max(MAX_SMALL_COUNT, *file.sides, 0)
    for name, value in _numbers(settings):
        too_deep = name in DEPTHS and value > file.tensors
        too_many = name.startswith(("num_", "n_")) and value > most
        if too_deep or too_many:
            raise ValueError(f"{name} {value} in a file of {file.tensors} weights")


def _numbers(settings: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """Yield the whole numbers in settings, at any depth, with their names."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from _numbers(value, str(key))
    elif isinstance(settings, list):
        for value in settings:
            yield from _numbers(value, name)
    elif type(settings) is int:
        yield name, settings


def check_memory(model: nn.Module, file: Sizes) -> None:
    """Refuse a model without memory that would need more memory than its weights.

    Raises:
        ValueError: If it does.
    """
    if count_parameters(model) > max(SMALL_MODEL, file.values):
        raise ValueError(f"{count_parameters(model):,} parameters in a file of {file.values:,}")
    if sum(buffer.numel() for buffer in model.buffers()) > max(MAX_BUFFER_VALUES, file.values):
        raise ValueError("tables that are larger than the weights")
