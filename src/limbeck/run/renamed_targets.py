"""Names of objects that settings of version 0.1.0 give in ``_target_``."""

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
    return _rename(settings, MOVED)


def same_settings(first: Any, second: Any) -> bool:
    """Whether nested settings are equal but for former names and the order of keys.

    The order of the arms counts, because the results are listed in it.
    """
    names = {**MOVED, **REPLACED}
    return _rename(first, names) == _rename(second, names) and _arms(first) == _arms(second)


def _rename(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_rename(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    renamed = {key: _rename(item, names) for key, item in value.items()}
    target = renamed.get("_target_")
    if isinstance(target, str):
        renamed["_target_"] = names.get(target, target)
    return renamed


def _arms(settings: Any) -> list[str]:
    arms = settings.get("arms") if isinstance(settings, dict) else None
    return list(arms) if isinstance(arms, dict) else []
