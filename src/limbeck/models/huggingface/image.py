"""Folders of image classifiers of transformers: network, normalisation and size of the images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck._base.scope import refusal_of
from limbeck.models.huggingface.config import architecture_settings, class_names_of
from limbeck.models.huggingface.hub import CONFIG, one_line, quiet, read_json, require_transformers
from limbeck.models.huggingface.pretrained import IMAGE_CLASSIFICATION, pretrained
from limbeck.models.normalized import Normalized

PREPROCESSING = "preprocessor_config.json"
BYTE = 1 / 255
"""Factor from bytes to values from 0 to 1."""
_TASK = "ForImageClassification"


def is_image_classifier(folder: Path) -> bool:
    """Whether a folder was written by ``save_pretrained`` of an image classifier."""
    if not (folder / CONFIG).is_file() or (folder / "model.json").exists():
        return False
    architectures = read_json(folder / CONFIG).get("architectures")
    return isinstance(architectures, list) and any(_TASK in str(name) for name in architectures)


def other_task(folder: Path) -> str:
    """Return the sentence about a folder of a model for a task that is not served; empty if none.

    Args:
        folder: Folder that ``save_pretrained`` may have written.
    """
    if not (folder / CONFIG).is_file() or (folder / "model.json").exists():
        return ""
    architectures = read_json(folder / CONFIG).get("architectures")
    names = architectures if isinstance(architectures, list) else []
    return next(filter(None, map(refusal_of, names)), "")


def load_image_classifier(folder: Path) -> tuple[nn.Module, list[str] | None]:
    """Load an image classifier, which normalises and resizes images with values from 0 to 1.

    Args:
        folder: Folder of the network, and of ``preprocessor_config.json`` if it has one.

    Returns:
        The model in eval mode, and the names of its classes; None if they are only numbered.

    Raises:
        ConfigError: If transformers is missing, the architecture is unknown, or the weights do not
            fit it.
        UntrustedFileError: If a file is damaged.
    """
    require_transformers()
    settings = read_json(folder / CONFIG)
    config = _make_config(settings, str(folder / CONFIG))
    net = pretrained(config, folder, IMAGE_CLASSIFICATION)
    model: nn.Module = net
    if (folder / PREPROCESSING).is_file():
        model = _normalized(net, folder / PREPROCESSING)
    return model.eval(), class_names_of(settings)


def _make_config(settings: dict[str, Any], where: str) -> Any:
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    )

    name = settings.get("model_type")
    if not isinstance(name, str) or name not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES:
        raise ConfigError(
            f"{where}: transformers has no image classifier of model_type {name!r}. Load the model "
            "in Python, and pass it as the teacher."
        )
    if settings.get("quantization_config"):
        raise ConfigError(f"{where}: the weights are quantised. Choose a model that is not.")
    networks = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES[name]
    choices = [networks] if isinstance(networks, str) else list(networks)
    architecture = [network for network in settings["architectures"] if network in choices]
    try:
        with quiet():
            config = CONFIG_MAPPING[name].from_dict(
                {**architecture_settings(settings), "use_pretrained_backbone": False}
            )
    except Exception as error:  # each architecture checks its settings in its own way
        raise ConfigError(
            f"{where}: transformers cannot read these settings ({one_line(error)})."
        ) from None
    config.architectures = architecture or None
    return config


def _normalized(net: nn.Module, file: Path) -> Normalized:
    """Put the normalisation of an image processor around a network."""
    settings = read_json(file)
    try:
        mean, std = [0.0], [1.0]
        if settings.get("do_normalize", True) and "image_mean" in settings:
            mean = [float(value) for value in settings["image_mean"]]
            std = [float(value) for value in settings["image_std"]]
        scale = 1.0
        if settings.get("do_rescale", True):
            scale = float(settings.get("rescale_factor", BYTE)) / BYTE
        offset = 1.0 if settings.get("rescale_offset") else 0.0
        # of images from 0 to 1: (scale * x - offset - mean) / std
        mean = [(value + offset) / scale for value in mean]
        std = [value / scale for value in std]
        return Normalized(net, mean, std, size=_size(settings))
    except (ConfigError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise UntrustedFileError(
            f"{file} is damaged: it should have image_mean, image_std and size ({error})."
        ) from None


def _size(settings: Mapping[str, Any]) -> Any:
    """Return the size of images that a network takes; None for any."""
    size = settings.get("size")
    if settings.get("do_center_crop") and settings.get("crop_size"):
        size = settings["crop_size"]
    elif not settings.get("do_resize", True):
        return None
    if not isinstance(size, Mapping):
        return size
    if "shortest_edge" in size:
        return size["shortest_edge"]
    return [size["height"], size["width"]]
