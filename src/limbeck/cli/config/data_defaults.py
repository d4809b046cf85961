"""Settings of a recipe that yield to the data, unless the user has given them."""

from collections.abc import Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any

from limbeck._base.errors import ConfigError
from limbeck.cli.config.overrides import key_of
from limbeck.cli.terminal import note
from limbeck.data import Dataset
from limbeck.losses import HARD_LOSSES, SOFT_LOSSES, Objective
from limbeck.losses.base import HardLoss, SoftLoss
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


def fit_losses(settings: Mapping[str, Any], task: Task, overrides: Sequence[str]) -> None:
    """Put the losses of a kind of target in place of the default ones, which are for classes.

    Args:
        settings: Settings of a study, whose objectives change.
        task: Kind of target of the dataset.
        overrides: Settings that the user has given.

    Raises:
        ConfigError: If the user or an arm has chosen a loss for another kind of target.
    """
    values = {key_of(override): override.partition("=")[2] for override in overrides}
    is_set = {key for key, value in values.items() if "," not in value}  # the others are swept
    arms = settings.get("arms") or {}
    for setting, losses in (("hard", HARD_LOSSES), ("soft", SOFT_LOSSES)):
        fit = partial(_fit_loss, setting=setting, losses=losses, task=task)
        # objective=NAME chooses a soft loss, and brings the default hard loss with it
        keys = {f"objective.{setting}"} | ({"objective"} if setting == "soft" else set())
        fit(settings["objective"], where="objective", is_chosen=bool(keys & is_set))
        is_chosen = setting == "soft" or "objective" not in values
        for name, arm in arms.items():
            objective = (arm or {}).get("objective")
            if objective:
                fit(objective, where=f"arms.{name}.objective", is_chosen=is_chosen)


def _fit_loss(
    objective: MutableMapping[str, Any],
    *,
    where: str,
    setting: str,
    losses: Mapping[str, HardLoss | SoftLoss],
    task: Task,
    is_chosen: bool,
) -> None:
    """Replace a default loss by that of a task, or refuse one that was chosen."""
    name = objective.get(setting)
    if not isinstance(name, str) or name not in losses or losses[name].outputs == task.outputs:
        return
    if is_chosen:
        names = [loss.name for loss in losses.values() if loss.outputs == task.outputs]
        raise ConfigError(
            f"{where}.{setting}={name} is not for {task.description}. Choose one of "
            f"{', '.join(names)}."
        )
    if name == getattr(Objective, setting):
        objective[setting] = getattr(task, setting)
