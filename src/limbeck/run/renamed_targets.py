"""Names of objects that settings of version 0.1.0 give in ``_target_``."""

from collections.abc import Mapping
from typing import Any

MOVED = {
    "limbeck.data.text": "limbeck.data.text_file",
    "limbeck.training.scalars.wandb_logger": "limbeck.training.loggers.wandb_logger",
}
"""Former and present name of an object."""
REPLACED = {
    "lightning.pytorch.loggers.TensorBoardLogger": "limbeck.training.loggers.tensorboard_logger",
}
"""Default objects of 0.1.0 that still work, and those that have taken their place."""


def with_moved_targets(settings: Any) -> Any:
    """A copy of nested settings, in which objects that moved have their present names."""
    return with_renamed_targets(settings, MOVED)


def with_present_targets(settings: Any) -> Any:
    """A copy of nested settings of any version, with the objects that this version would name."""
    return with_renamed_targets(settings, {**MOVED, **REPLACED})


def with_renamed_targets(value: Any, names: Mapping[str, str]) -> Any:
    """A copy of nested settings, in which objects have other names.

    Args:
        value: Nested settings.
        names: New name of each object.
    """
    if isinstance(value, list):
        return [with_renamed_targets(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    renamed = {key: with_renamed_targets(item, names) for key, item in value.items()}
    target = renamed.get("_target_")
    if isinstance(target, str):
        renamed["_target_"] = names.get(target, target)
    return renamed
