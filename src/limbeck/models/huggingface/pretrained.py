"""Networks of transformers: built from settings, and filled with the weights of a folder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.models.files.sizes import Sizes, check_depth, check_memory
from limbeck.models.huggingface.hub import (
    CONFIG,
    one_line,
    pickled_weights,
    quiet,
    read_pickled_weights,
    read_shapes,
)

CAUSAL_LM = "AutoModelForCausalLM"
ENCODER = "AutoModel"
IMAGE_CLASSIFICATION = "AutoModelForImageClassification"
TEXT_CLASSIFICATION = "AutoModelForSequenceClassification"
"""Classes of transformers that build a network for a task."""


def create(config: Any, where: str, kind: str = CAUSAL_LM) -> nn.Module:
    """Build a network with random weights.

    Args:
        config: Configuration of transformers.
        where: Origin of the configuration, for messages.
        kind: Class of transformers for the task.

    Raises:
        ConfigError: If transformers cannot build it.
    """
    import transformers

    try:
        with quiet():
            return getattr(transformers, kind).from_config(config, trust_remote_code=False)
    except Exception as error:  # models of transformers may raise anything
        raise ConfigError(
            f"{where}: transformers cannot build the model ({one_line(error)})."
        ) from None


def pretrained(
    config: Any, folder: Path, kind: str = CAUSAL_LM, *, new_head: bool = False
) -> nn.Module:
    """Load the network in a folder.

    Args:
        config: Configuration of transformers, made from the settings in the folder.
        folder: Folder of safetensors, or of files of ``torch.save``, which are read as data.
        kind: Class of transformers for the task.
        new_head: Whether layers after the base model may be missing in the folder, or have other
            shapes. They get random weights.

    Raises:
        ConfigError: If the weights do not match the settings.
        UntrustedFileError: If they cannot be read.
    """
    import transformers

    pickled = pickled_weights(folder)
    if pickled is None:
        loader: Any = getattr(transformers, kind)
        _check_sizes(config, folder, read_shapes(folder), kind, new_head=new_head)
        options: dict[str, Any] = {
            "use_safetensors": True,
            "local_files_only": True,
            "trust_remote_code": False,
        }
        source: Path | None = folder
    else:
        weights = read_pickled_weights(pickled)
        shapes = {name: tensor.shape for name, tensor in weights.items()}
        loader = type(_check_sizes(config, folder, shapes, kind, new_head=new_head))
        options = {"state_dict": weights}
        source = None
    try:
        with quiet():
            net, report = loader.from_pretrained(
                source,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **options,
            )
    except Exception as error:  # transformers and safetensors may raise anything on a damaged file
        raise UntrustedFileError(
            f"{folder}: its weights are damaged or cannot be read ({one_line(error)})."
        ) from None
    is_in_head = _is_pooler if kind == ENCODER else head_of(net)
    if (
        kind == TEXT_CLASSIFICATION
        and not new_head
        and any(map(is_in_head, report["missing_keys"]))
    ):
        raise ConfigError(
            f"{folder} holds an encoder with no classification head. Train it on the data: "
            f"teacher=huggingface_classifier teacher.model.path={folder}."
        )
    has_unused_head = new_head or kind == ENCODER
    problems = list(mismatches(report, is_new=is_in_head if has_unused_head else _nothing))
    if problems:
        raise ConfigError(f"{folder}: the weights do not fit {CONFIG}: {'; '.join(problems[:3])}.")
    return net


def _check_sizes(
    config: Any,
    folder: Path,
    shapes: Mapping[str, Sequence[int]],
    kind: str,
    *,
    new_head: bool,
) -> nn.Module:
    """Compare the settings of a model with its weights, before memory is taken for them.

    A new head has no weights in the folder.

    Returns:
        The model without memory.

    Raises:
        ConfigError: If the settings ask for more than the weights have.
    """
    try:
        sizes = Sizes.of(shapes)
        check_depth(config.to_dict(), sizes)
        with torch.device("meta"):
            model = create(config, str(folder / CONFIG), kind)
        if new_head or kind == ENCODER:
            is_in_head = _is_pooler if kind == ENCODER else head_of(model)
            head = [w.numel() for name, w in model.named_parameters() if is_in_head(name)]
            sizes = replace(sizes, values=sizes.values + sum(head))
        check_memory(model, sizes)
        return model
    except ValueError as error:
        raise ConfigError(f"{folder}: the weights do not fit {CONFIG}: {error}.") from None


def head_of(net: Any) -> Callable[[str], bool]:
    """Return a function that says whether a weight belongs to the head of a network.

    The pooling layer counts as a part of it: networks of other tasks have none.
    """
    base = f"{net.base_model_prefix}."

    def is_in_head(name: str) -> bool:
        return not name.startswith(base) or name.startswith(f"{base}pooler.")

    return is_in_head


def _is_pooler(name: str) -> bool:
    """Whether a weight belongs to the layer after an encoder, which pooling does not use."""
    return name.startswith("pooler.")


def _nothing(name: str) -> bool:
    return False


def mismatches(
    report: Mapping[str, Any], is_new: Callable[[str], bool] = _nothing
) -> Iterator[str]:
    """Yield the problems in transformers' report on loaded weights, one line each.

    Args:
        report: Report of ``from_pretrained``.
        is_new: Function that says whether a weight may be missing, or have another shape.
    """
    for name in sorted(report["missing_keys"]):
        if not is_new(name):
            yield f"{name} is missing"
    for name, actual, expected in sorted(report["mismatched_keys"]):
        if not is_new(name):
            yield f"{name} has the shape {list(actual)}, not {list(expected)}"
    yield from map(str, report["error_msgs"])
