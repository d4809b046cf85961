"""``model.json``: how a model is rebuilt, by one of limbeck's own builders and its arguments. Data,
never code.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import LimbeckError, UntrustedFileError
from limbeck.models.classifier import Classifier
from limbeck.models.convnet import ConvNet
from limbeck.models.gpt import GPT
from limbeck.models.graded import Graded
from limbeck.models.huggingface.hub import require_transformers
from limbeck.models.huggingface.model import HuggingFace
from limbeck.models.mlp import MLP
from limbeck.models.normalized import Normalized, count_parameters, model_name
from limbeck.models.zoo import TimmModel, TorchvisionModel

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "convnet": ConvNet,
    "torchvision": TorchvisionModel,
    "timm": TimmModel,
    "classifier": Classifier,
    "graded": Graded,
    "gpt": GPT,
    "huggingface": HuggingFace,
}
LARGEST_SIDE = 4096
FROM_LIBRARIES = ("torchvision", "timm", "classifier")
"""Builders of other libraries' networks: they may keep tensors that no file holds, and some need
memory to be made.
"""
TOKEN_MODELS = ("gpt", "huggingface")
DEPTHS = (
    "layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "num_hidden_layers",
    "encoder_layers",
    "decoder_layers",
)
FEW = 1024
"""Heads, experts and the like that any model may have."""
LARGEST_BUFFERS = 1 << 28
"""Values in the tables that a model of transformers makes by itself, such as masks."""


def describe(model: nn.Module) -> dict[str, Any]:
    """How to rebuild a model: builder and arguments, or only the class name for a user's own class.

    Of a model of transformers also ``padded``, the entries of its vocabulary beyond the data's.
    """
    net = model.net if isinstance(model, Normalized) else model
    arguments = getattr(
        net, "arguments", None
    )  # none for a classifier on a module of the user's own
    builder = next(
        (name for name, kind in BUILDERS.items() if type(net) is kind and arguments is not None),
        None,
    )
    normalize = (
        {"mean": model.mean.tolist(), "std": model.std.tolist()}
        if isinstance(model, Normalized)
        else None
    )
    found = {
        "format": 1,
        "name": model_name(model),
        "builder": builder,
        "class": f"{type(net).__module__}.{type(net).__qualname__}",
        "arguments": dict(arguments) if builder and arguments else None,
        "normalize": normalize,
        "params": count_parameters(model),
    }
    return found | {"padded": net.padded} if isinstance(net, HuggingFace) else found


def read_description(file: Path) -> dict[str, Any]:
    """The content of a ``model.json``.

    Raises:
        UntrustedFileError: it is damaged, or no description of a model.
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
    """The model of a description, without memory for its weights where that is possible, so that
    sizes can be checked before they are believed.

    Raises:
        UntrustedFileError: it describes none, or sizes that the weights do not have.
    """
    name = description["builder"]
    builder = BUILDERS.get(name) if isinstance(name, str) else None
    if builder is None:
        raise UntrustedFileError(f"{file}: builder {name!r} is none of {', '.join(BUILDERS)}.")
    if builder is HuggingFace:
        require_transformers()
    try:
        inner = description["arguments"]["encoder"] if builder is Graded else description
        if inner is not description and inner["builder"] in ("graded", *TOKEN_MODELS):
            raise ValueError(f"grades of {inner['builder']}")  # what is inside would not be checked
        outside = inner["builder"] in FROM_LIBRARIES
        if outside:
            _check_sizes(inner["arguments"], weights)
        elif inner["builder"] in TOKEN_MODELS:
            _check_depth(description, weights)
        with torch.random.fork_rng(devices=[]), nullcontext() if outside else torch.device("meta"):
            model = builder(**description["arguments"])
            if isinstance(model, HuggingFace):
                _check_room(model, weights)
            normalize = description.get("normalize")
            return (
                model
                if normalize is None
                else Normalized(model, normalize["mean"], normalize["std"])
            )
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


def _check_sizes(arguments: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Refuse sizes that the weights do not have, as memory is taken for them."""
    channels, *sides = arguments["shape"]
    sizes = {size for tensor in weights.values() for size in tensor.shape}
    for size in (arguments["classes"], channels):
        if type(size) is not int or size not in sizes:
            raise ValueError(f"no weight has the size {size!r}")
    if any(type(side) is not int or not 1 <= side <= LARGEST_SIDE for side in sides):
        raise ValueError(f"images of {sides} pixels")
    if arguments.get("pretrained"):
        raise ValueError("its weights are its own, not pretrained ones")


def _check_depth(description: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Refuse numbers of layers, heads or experts that so many weights cannot have, as time is taken
    for them.
    """
    if description.get("normalize") is not None:
        raise ValueError("token ids have no normalisation")
    if description["arguments"].get("path") is not None:
        raise ValueError("its weights are its own, not those of another folder")
    most = max([FEW, *(size for tensor in weights.values() for size in tensor.shape)])
    for name, value in _numbers(description["arguments"]):
        if (name in DEPTHS and value > len(weights)) or (
            name.startswith(("num_", "n_")) and value > most
        ):
            raise ValueError(f"{name} {value} in a file of {len(weights)} weights")


def _numbers(settings: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """Whole numbers in settings, at any depth, with the name of each."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from _numbers(value, str(key))
    elif isinstance(settings, list):
        for value in settings:
            yield from _numbers(value, name)
    elif type(settings) is int:
        yield name, settings


def _check_room(model: HuggingFace, weights: dict[str, Tensor]) -> None:
    """Refuse a model, yet without memory, that needs more of it than the weights themselves."""
    held = sum(tensor.numel() for tensor in weights.values())
    if count_parameters(model) > held:
        raise ValueError(f"{count_parameters(model)} parameters in a file of {held}")
    if sum(buffer.numel() for buffer in model.buffers()) > max(LARGEST_BUFFERS, held):
        raise ValueError("tables that are larger than the weights")
