"""``model.json``: the description from which a model is rebuilt, as data and never as code.

It names one of limbeck's builders and its arguments.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import LimbeckError, UntrustedFileError
from limbeck.models.builders import BUILDERS, Builder, class_path, describe_network
from limbeck.models.huggingface.hub import require_transformers
from limbeck.models.normalized import (
    Normalized,
    count_parameters,
    model_name,
    without_normalization,
)
from limbeck.models.protocols import CustomFiles

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
MAX_SMALL_COUNT = 1024
"""Number of heads, experts and so on that is accepted for every model."""
MAX_BUFFER_VALUES = 1 << 28
"""Maximum number of values in tables that transformers creates itself, such as masks."""


def describe(model: nn.Module) -> dict[str, Any]:
    """Describe how to rebuild a model: its builder and arguments.

    Both are None for a user's own class. Models of transformers also have ``padded``, the number of
    vocabulary entries beyond those of the data.
    """
    net = without_normalization(model)
    network = describe_network(net) or {"builder": None, "arguments": None}
    normalize = None
    if isinstance(model, Normalized):
        normalize = {"mean": model.mean.tolist(), "std": model.std.tolist()}
    description = {
        "format": 1,
        "name": model_name(model),
        "builder": network["builder"],
        "class": class_path(net),
        "arguments": network["arguments"],
        "normalize": normalize,
        "params": count_parameters(model),
    }
    if isinstance(net, CustomFiles):
        description |= net.extra_facts()
    return description


def read_description(file: Path) -> dict[str, Any]:
    """Read a ``model.json``.

    Raises:
        UntrustedFileError: If it is damaged, or is not the description of a model.
    """
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UntrustedFileError(f"{file} is damaged: {error}.") from None
    if not isinstance(description, dict) or description.get("format") != 1:
        raise UntrustedFileError(f"{file} is not a model description of format 1.")
    class_names = description.get("class_names", [])
    if not isinstance(class_names, list) or not all(isinstance(name, str) for name in class_names):
        raise UntrustedFileError(
            f"{file}: class_names should be a list of names, found {class_names!r}."
        )
    return description


def rebuild(description: dict[str, Any], file: Path, weights: dict[str, Tensor]) -> nn.Module:
    """Build a model from its description, if possible without memory for its weights.

    Sizes are checked against the weights before memory or time is spent on them.

    Args:
        description: Content of a ``model.json``.
        file: Path of the description, for messages.
        weights: Weights of the model, by name.

    Raises:
        UntrustedFileError: If the description is not valid, or does not match the weights.
    """
    name = description["builder"]
    builder = BUILDERS.get(name) if isinstance(name, str) else None
    if builder is None:
        raise UntrustedFileError(
            f"{file}: builder {name!r} is unknown, expected one of {', '.join(BUILDERS)}."
        )
    if builder.name == "huggingface":
        require_transformers()
    try:
        return _build(builder, description, weights)
    except (
        LimbeckError,
        TypeError,
        ValueError,
        LookupError,
        ArithmeticError,
        RuntimeError,
        AttributeError,
    ) as error:
        raise UntrustedFileError(f"{file}: the model cannot be built from it ({error}).") from None


def _build(builder: Builder, description: dict[str, Any], weights: dict[str, Tensor]) -> nn.Module:
    network, arguments = builder, description["arguments"]
    if builder.name == "graded":
        encoder = arguments["encoder"]
        network, arguments = BUILDERS[encoder["builder"]], encoder["arguments"]
        if network.name == "graded" or network.reads_tokens:
            raise ValueError(f"grades of {network.name}")  # its sizes would not be checked
    if network.from_library:
        _check_sizes(arguments, weights)
    elif network.reads_tokens:
        _check_depth(description, weights)
    device = nullcontext() if network.from_library else torch.device("meta")
    with torch.random.fork_rng(devices=[]), device:
        model = builder(**description["arguments"])
        if isinstance(model, CustomFiles):
            _check_memory(model, weights)
        normalize = description.get("normalize")
        if normalize is None:
            return model
        return Normalized(model, normalize["mean"], normalize["std"])


def _check_sizes(arguments: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Refuse sizes that the weights do not have, since memory is allocated for them."""
    channels, *sides = arguments["shape"]
    sizes = {size for tensor in weights.values() for size in tensor.shape}
    for size in (arguments["classes"], channels):
        if type(size) is not int or size not in sizes:
            raise ValueError(f"no weight has the size {size!r}")
    if any(type(side) is not int or not 1 <= side <= MAX_SIDE for side in sides):
        raise ValueError(f"images of {sides} pixels")
    if arguments.get("pretrained"):
        raise ValueError("a saved model has its own weights, not pretrained ones")


def _check_depth(description: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Refuse numbers of layers, heads or experts that do not match the number of weights.

    Building each of them takes time.
    """
    if description.get("normalize") is not None:
        raise ValueError("token ids have no normalisation")
    if description["arguments"].get("path") is not None:
        raise ValueError("a saved model has its own weights, not those of another folder")
    sizes = [size for tensor in weights.values() for size in tensor.shape]
    most = max([MAX_SMALL_COUNT, *sizes])
    for name, value in _numbers(description["arguments"]):
        too_deep = name in DEPTHS and value > len(weights)
        too_many = name.startswith(("num_", "n_")) and value > most
        if too_deep or too_many:
            raise ValueError(f"{name} {value} in a file of {len(weights)} weights")


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


def _check_memory(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Refuse a model on the meta device that would need more memory than its weights."""
    available = sum(tensor.numel() for tensor in weights.values())
    if count_parameters(model) > available:
        raise ValueError(f"{count_parameters(model)} parameters in a file of {available}")
    if sum(buffer.numel() for buffer in model.buffers()) > max(MAX_BUFFER_VALUES, available):
        raise ValueError("tables that are larger than the weights")
