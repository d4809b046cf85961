"""Keys that the settings of a study have, checked before any object is created."""

from typing import Any

from limbeck._base.checks import field_names
from limbeck._base.errors import ConfigError
from limbeck.cli.config.arms import check_arms, check_flags, check_sections
from limbeck.cli.config.teacher import teacher_keys
from limbeck.data import TransferSet
from limbeck.losses import Objective
from limbeck.training.optimizer import Optimizer

EXAMPLES = {
    "data": "data=digits",
    "student": "student=mlp",
    "teacher": "teacher=mlp",
    "objective": "objective.temperature=4",
    "views": "views=shift",
    "transfer": "transfer.samples=100",
    "optimizer": "optimizer.lr=0.01",
    "trainer": "trainer.precision=32-true",
    "launcher": "launcher=ray",
    "logger": "logger=csv",
}
"""Example of an override for each section."""
STUDY_KEYS = (
    "recipe",
    "data",
    "views",
    "teacher",
    "student",
    "objective",
    "arms",
    "sweep",
    "choose",
    "transfer",
    "seeds",
    "splits",
    "epochs",
    "batch_size",
    "optimizer",
    "trainer",
    "launcher",
    "store",
    "bias",
    "margin",
    "examples",
    "logger",
    "out",
    "overwrite",
    "quick",
)


def check_settings(settings: dict[str, Any]) -> None:
    """Check the keys of a study.

    Args:
        settings: Plain settings of the study.

    Raises:
        ConfigError: If a key is unknown or missing, or a section is no group of settings.
    """
    for name, value in settings.items():
        if name in EXAMPLES and not isinstance(value, dict):
            raise ConfigError(
                f"{name}={value!r} should be a group of settings, as in {EXAMPLES[name]}."
            )
    sections = {
        "": STUDY_KEYS,
        "objective": field_names(Objective),
        "transfer": field_names(TransferSet),
        "optimizer": field_names(Optimizer),
    }
    sections["teacher"] = teacher_keys(settings.get("teacher", {}))
    check_sections(settings, sections)
    if not isinstance(settings["recipe"], str) or not settings["recipe"]:
        raise ConfigError(
            f"recipe={settings['recipe']!r} should be a name. If a recipe includes another one, "
            "both should begin with `# @package _global_`."
        )
    check_flags(settings)
    check_arms(settings["arms"], settings)
