"""Arms as plain settings: each lists its differences from the study."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from limbeck._base.checks import check_arm_names, check_keys, key_path
from limbeck._base.errors import ConfigError

Settings = Mapping[str, Any]

ARM_KEYS = (
    "objective",
    "student",
    "views",
    "transfer",
    "optimizer",
    "epochs",
    "control",
    "choice",
)
EXAMPLES = {
    "objective": "{temperature: 4}",
    "transfer": "{samples: 100}",
    "optimizer": "{lr: 0.01}",
    "views": "{_target_: limbeck.data.Shift, pixels: 2}",
    "student": "{dropout: 0.1}, or {_target_: limbeck.models.TorchvisionModel, _partial_: true, "
    "name: resnet18}",
}
"""Sections that an arm overrides setting by setting, with an example of each."""


def merge_differences(base: Settings, differences: Settings | None) -> dict[str, Any]:
    """Return ``base`` updated with differences, which replace it if they set ``_target_``."""
    if not differences:
        return dict(base)
    if "_target_" in differences:
        return dict(differences)
    return {**base, **differences}


def merge_objective(base: Settings, differences: Settings | None) -> dict[str, Any]:
    """Return the objective of an arm. A control does not inherit the features of the study."""
    objective = merge_differences(base, differences)
    if differences and is_control(differences):
        objective["features"] = []
    return objective


def is_control(differences: Settings) -> bool:
    """Whether an arm's differences in the objective make it a control.

    A control sets ``soft_weight`` to 0 and sets no features.
    """
    return differences.get("soft_weight") == 0 and not differences.get("features")


def check_arms(arms: Any, settings: Settings) -> None:
    """Check that the differences of every arm use known keys.

    Args:
        arms: Differences of each arm, by name.
        settings: Settings of the study.

    Raises:
        ConfigError: If a key is unknown, or a value is not a group of settings.
    """
    if not isinstance(arms, Mapping):
        raise ConfigError(f"arms={arms!r} should list arms by name.")
    check_arm_names([str(name) for name in arms])
    for name, arm in arms.items():
        if arm is None:
            continue
        if not isinstance(arm, Mapping):
            raise ConfigError(
                f"arms.{name}={arm!r} should list the arm's differences, as in "
                "objective.temperature."
            )
        check_keys(arm, ARM_KEYS, f"arms.{name}")
        _check_control(arm.get("control"), f"arms.{name}.control")
        for section in EXAMPLES:
            _check_section(arm.get(section), settings[section], section, f"arms.{name}.{section}")


def _check_control(control: Any, where: str) -> None:
    """Check that the control of an arm is named, or several of them."""
    names = control if isinstance(control, list) else [control]
    if control is not None and not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{where}={control!r} should be the name of an arm, or a list of names.")


def _check_section(differences: Any, base: Any, section: str, where: str) -> None:
    """Check the differences of an arm in one section."""
    if differences is None:
        return
    if section == "views" and isinstance(differences, str):  # name of a config file
        return
    if not isinstance(differences, Mapping):
        raise ConfigError(
            f"{where}={differences!r} should be a group of settings, as in {EXAMPLES[section]}."
        )
    if "_target_" not in differences and isinstance(base, Mapping):
        check_keys(differences, base, where)


def check_sections(settings: Settings, sections: Mapping[str, Collection[str]]) -> None:
    """Check that a study and its sections have exactly the expected keys.

    Args:
        settings: Settings of a study.
        sections: Expected keys of each section, by name; ``""`` stands for the study itself.

    Raises:
        ConfigError: If a key is unknown or missing. The message suggests a similar key.
    """
    for name, keys in sections.items():
        section = settings if name == "" else settings[name]
        check_keys(section, keys, name)
        for key in keys:
            if key not in section:
                raise ConfigError(
                    f"The setting `{key_path(name, key)}` is missing. `limbeck run --cfg job` "
                    "lists every key."
                )


def check_groups(settings: Settings, names: Iterable[str]) -> None:
    """Check that sections of a study exist and are groups of settings.

    Raises:
        ConfigError: If one is missing, or is something else.
    """
    for name in names:
        if name not in settings:
            raise ConfigError(
                f"The setting `{name}` is missing. A recipe may override a group, but not remove "
                f"it: set {name}, or leave out its override."
            )
        if not isinstance(settings[name], Mapping):
            example = f", as in {EXAMPLES[name]}" if name in EXAMPLES else ""
            raise ConfigError(f"{name}={settings[name]!r} should be a group of settings{example}.")


def check_flags(settings: Settings) -> None:
    """Check the boolean settings of a study.

    Raises:
        ConfigError: If a value is not a boolean.
    """
    for name in ("overwrite", "quick"):
        if not isinstance(settings[name], bool):
            raise ConfigError(f"{name}={settings[name]!r} should be true or false.")
