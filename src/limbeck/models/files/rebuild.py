"""``model.json``: the description from which a model is rebuilt, as data and never as code.

It names one of limbeck's builders and its arguments.
"""

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import LimbeckError, UntrustedFileError
from limbeck._base.reading import read_json
from limbeck.models.builders import BUILDERS, Builder, class_path, describe_network
from limbeck.models.files.sizes import (
    Sizes,
    check_depth,
    check_images,
    check_lengths,
    check_library_model,
    check_memory,
)
from limbeck.models.huggingface.hub import require_transformers
from limbeck.models.normalized import (
    InputWrapper,
    Normalized,
    count_parameters,
    model_name,
    without_normalization,
)
from limbeck.models.output_map import OutputMap
from limbeck.models.protocols import CustomFiles
from limbeck.models.table import table_model


def describe(model: nn.Module) -> dict[str, Any]:
    """Describe how to rebuild a model: its builder and arguments.

    Both are None for a user's own class. An :class:`OutputMap` is described by the model inside,
    and ``outputs``. Models of transformers also have ``padded``, the number of vocabulary entries
    beyond those of the data.
    """
    outputs = None
    if isinstance(model, OutputMap):
        outputs, model = model.settings(), model.net
    net = without_normalization(model)
    network = describe_network(net) or {"builder": None, "arguments": None}
    normalize = model.settings() if isinstance(model, InputWrapper) else None
    description = {
        "format": 1,
        "name": model_name(model),
        "builder": network["builder"],
        "class": class_path(net),
        "arguments": network["arguments"],
        "normalize": normalize,
        "params": count_parameters(model),
    }
    if outputs is not None:
        description["outputs"] = outputs
    if isinstance(net, CustomFiles):
        description |= net.extra_facts()
    return description


def read_description(file: Path) -> dict[str, Any]:
    """Read a ``model.json``.

    Raises:
        UntrustedFileError: If it is damaged, or is not the description of a model.
    """
    try:
        description = read_json(file)
    except ValueError as error:
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
    if builder.path.startswith("limbeck.models.huggingface."):
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
        reason = re.sub(r"\w+\.__init__\(\)", "the model is", str(error))
        if isinstance(error, (TypeError, AttributeError)) and reason == str(error):
            reason = "a value has the wrong type"
        raise UntrustedFileError(f"{file}: the model cannot be built from it ({reason}).") from None


def _build(builder: Builder, description: dict[str, Any], weights: dict[str, Tensor]) -> nn.Module:
    network, arguments = builder, description["arguments"]
    if builder.inner is not None:
        inner = arguments[builder.inner]
        network, arguments = BUILDERS[inner["builder"]], inner["arguments"]
        if network.inner is not None or network.has_own_files:  # its sizes would not be checked
            raise ValueError(f"{builder.name} of {network.name}")
    file_sizes = Sizes.of({name: tensor.shape for name, tensor in weights.items()})
    check_lengths(arguments, file_sizes)
    if network.from_library:
        check_images(arguments, file_sizes)
        arguments = check_library_model(network, arguments, file_sizes)
    elif network.reads_tokens:
        _check_tokens_model(description.get("normalize"), arguments)
        check_depth(arguments, file_sizes)
    if builder.inner is not None:
        inner = {**description["arguments"][builder.inner], "arguments": arguments}
        arguments = {**description["arguments"], builder.inner: inner}
    device = nullcontext() if network.from_library else torch.device("meta")
    with torch.random.fork_rng(devices=[]), device:
        model = builder(**arguments)
        if isinstance(model, CustomFiles):
            check_memory(model, file_sizes)
        normalize = description.get("normalize")
        if normalize is None:
            return model
        if "sizes" in normalize:
            return table_model(model, normalize, file_sizes.sides)
        return Normalized(model, normalize["mean"], normalize["std"], size=normalize.get("size"))


def _check_tokens_model(normalize: object, arguments: dict[str, Any]) -> None:
    if normalize is not None:
        raise ValueError("token ids have no normalisation")
    if arguments.get("path") is not None:
        raise ValueError("a saved model has its own weights, not those of another folder")
