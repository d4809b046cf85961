"""Shallow networks of transformers that start from layers of a deep one."""

import copy
from collections.abc import Sequence
from typing import Any

from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.models.blocks import block_list, chosen_blocks, weights_of_blocks
from limbeck.models.huggingface.base import TransformersModel
from limbeck.models.huggingface.pretrained import TEXT_CLASSIFICATION, create, head_of
from limbeck.models.normalized import model_name
from limbeck.models.output_map import OutputMap


def with_layers(
    net: Any,
    layers: int | Sequence[int] | None,
    classes: int | None = None,
    *,
    kind: str = TEXT_CLASSIFICATION,
) -> nn.Module:
    """Return a copy of a network of transformers with some of its layers.

    Args:
        net: Network, such as one with a classification head.
        layers: Number of layers, or their numbers; None for half of them.
        classes: Number of classes of a new head with random weights; None to copy the head.
        kind: Class of transformers that builds the network.

    Raises:
        ConfigError: If there are not as many layers, or they are not separate modules.
    """
    config = copy.deepcopy(net.config)
    total = getattr(config, "num_hidden_layers", None)
    if layers is None and isinstance(total, int):
        layers = max(1, total // 2)
    path = block_list(net, total) if isinstance(total, int) else None
    if path is None or layers is None or not isinstance(total, int):
        raise ConfigError(
            f"layers={layers!r}: the layers of {config.model_type} cannot be taken apart. Choose "
            "another model, or layers=null."
        )
    numbers = chosen_blocks(layers, total)
    for name, value in config.to_dict().items():
        if isinstance(value, list) and len(value) == total:  # one entry for each layer
            setattr(config, name, [value[number] for number in numbers])
    config.num_hidden_layers = len(numbers)
    if classes is not None:
        config.id2label = None
        config.num_labels = classes
    small: Any = create(config, f"layers={layers!r}", kind)
    weights = weights_of_blocks(net.state_dict(), path, numbers)
    if classes is not None:
        is_in_head = head_of(net)
        weights = {name: weight for name, weight in weights.items() if not is_in_head(name)}
    small.load_state_dict(weights, strict=classes is None)
    return small


def net_of_teacher(
    teacher: nn.Module | None, classes: int, layers: int | Sequence[int] | None
) -> nn.Module:
    """Return the network of a student that starts from layers of its teacher.

    The head is copied, too, unless its classes are others or in another order.

    Args:
        teacher: Teacher.
        classes: Number of classes.
        layers: Number of layers, or their numbers; None for half of them.

    Raises:
        ConfigError: If the teacher is not a classifier of texts of transformers.
    """
    if teacher is None:
        raise ConfigError("init=teacher needs a teacher, but there is none.")
    is_mapped = isinstance(teacher, OutputMap)
    inner = teacher.net if isinstance(teacher, OutputMap) else teacher
    if not isinstance(inner, TransformersModel) or not hasattr(inner, "padding"):
        raise ConfigError(
            f"init=teacher takes layers of a classifier of transformers, but the teacher is "
            f"{model_name(teacher)}. Use teacher=huggingface_classifier, or init=null."
        )
    return with_layers(inner.net, layers, classes if is_mapped else None)
