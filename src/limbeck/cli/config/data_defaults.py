"""Settings of a recipe that yield to the data, unless the user has given them."""

from collections.abc import MutableMapping, Sequence
from typing import Any

from limbeck._base.errors import ConfigError
from limbeck.cli.config.overrides import key_of
from limbeck.cli.terminal import note
from limbeck.data import Dataset
from limbeck.losses import HARD_LOSSES, SOFT_LOSSES, Objective
from limbeck.losses.tasks import Task


def fit_splits(settings: MutableMapping[str, Any], data: Dataset, overrides: Sequence[str]) -> int:
    """Return the number of splits: 1, with a note, if the data has a validation split of its own.

    Args:
        settings: Settings of a study, whose ``splits`` changes with it.
        data: Dataset of the study.
        overrides: Settings that the user has given; they are kept.
    """
    splits: int = settings["splits"]
    is_set = any(key_of(override) == "splits" for override in overrides)
    if splits == 1 or is_set or not data.has_own_val:
        return splits
    note(
        f"The recipe {settings['recipe']} has splits={splits}, but the data has a validation split "
        "of its own, which is kept: splits=1."
    )
    settings["splits"] = 1
    return 1


def fit_losses(objective: MutableMapping[str, Any], task: Task, overrides: Sequence[str]) -> None:
    """Put the losses of a kind of target in place of the default ones, which are for classes.

    Args:
        objective: Settings of the objective, which change.
        task: Kind of target of the dataset.
        overrides: Settings that the user has given.

    Raises:
        ConfigError: If the user has given a loss for another kind of target.
    """
    settings: tuple[tuple[str, Any, str], ...] = (
        ("hard", HARD_LOSSES, task.hard),
        ("soft", SOFT_LOSSES, task.soft),
    )
    for setting, losses, default in settings:
        name = objective.get(setting)
        if name not in losses or losses[name].outputs == task.outputs:
            continue
        if any(key_of(override) == f"objective.{setting}" for override in overrides):
            names = [loss.name for loss in losses.values() if loss.outputs == task.outputs]
            raise ConfigError(
                f"objective.{setting}={name} is not for {task.description}. Choose one of "
                f"{', '.join(names)}."
            )
        if name == getattr(Objective, setting):
            objective[setting] = default
