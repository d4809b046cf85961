"""Expansion of a sweep into arms, one for each combination of values that makes a difference."""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck._base.errors import ConfigError
from limbeck.cli.config.arms import Settings, is_control, merge_differences, merge_objective
from limbeck.losses.soft import SHARED_SETTINGS, SOFT_LOSSES, own_settings

SWEEPABLE = ("objective", "student", "views", "transfer", "optimizer")
"""Sections in which the arms of one study may differ."""
HARD_SETTINGS = ("hard", "class_weights", "label_smoothing")
"""Settings of an objective that affect only its hard loss."""
MAX_POINTS = 10_000
MAX_NAME_LENGTH = 100
_INVALID_CHARACTERS = re.compile(r"[^A-Za-z0-9_.+-]+")

Values = dict[str, Any]
"""One value for each swept key."""


@dataclass(frozen=True)
class Point:
    """A point of a sweep.

    Attributes:
        values: Value of each swept key.
        settings: Composed settings of the study at this point.
    """

    values: Values
    settings: Settings


@dataclass(frozen=True)
class _Variant:
    """An arm of the study at one point.

    Attributes:
        arm: Differences of the arm from the study without the sweep.
        training_key: Hashable value that is equal for arms that train the same students.
    """

    arm: dict[str, Any]
    training_key: Any


def points(sweeps: Mapping[str, Sequence[Any]]) -> list[Values]:
    """Return every combination of the values of the swept keys, the last key varying fastest.

    Raises:
        ConfigError: If there are more than 10,000 combinations.
    """
    count = 1
    for values in sweeps.values():
        count *= len(values)
    if count > MAX_POINTS:
        raise ConfigError(
            f"The sweep has over {MAX_POINTS:,} points, more than one study can hold. Sweep fewer "
            "values."
        )
    combinations = itertools.product(*sweeps.values())
    return [dict(zip(sweeps, values, strict=True)) for values in combinations]


def distinct(values: Sequence[Any]) -> list[Any]:
    """Remove duplicates from values; 4 and 4.0 count as equal."""
    unique: dict[Any, Any] = {}
    for value in values:
        unique.setdefault(_freeze(value), value)
    return list(unique.values())


def expand(
    base: Settings,
    sweep: Sequence[Point],
    views: Callable[[str], Any] = str,
    choose: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the arms of a sweep: every arm of the study at every point, without duplicates.

    An arm that sets a swept key itself keeps its own value. Arms that differ only in settings
    without effect, such as the temperature of a control, are duplicates. The name of an arm lists
    the swept keys that affect it.

    Args:
        base: Settings of the study without the sweep.
        sweep: Points of the sweep.
        views: Function that returns the settings of views by their name.
        choose: Swept keys whose value validation chooses for each arm.

    Returns:
        Differences of each arm from ``base``, by name.

    Raises:
        ConfigError: If no arm depends on a swept key.
    """
    return _Expansion(base, sweep, views, choose).arms()


def keys_to_choose(choose: Any, sweeps: Mapping[str, Any]) -> list[str]:
    """Return the swept keys whose value validation chooses.

    Args:
        choose: Value of the setting: null, a key, or a list of keys.
        sweeps: Values of each swept key.

    Raises:
        ConfigError: If it is something else, or a key is not swept.
    """
    keys = [choose] if isinstance(choose, str) else choose or []
    for key in keys if isinstance(keys, (list, tuple)) else [choose]:
        if key not in sweeps:
            example = next(iter(sweeps), "optimizer.lr")
            raise ConfigError(
                f"choose={choose!r} should name swept keys, but {key!r} is not swept. List its "
                f"values, as in: limbeck run -m optimizer.lr=0.001,0.003 choose=[{example}]."
            )
    return list(keys)


class _Expansion:
    """State of :func:`expand`."""

    def __init__(
        self,
        base: Settings,
        sweep: Sequence[Point],
        views: Callable[[str], Any],
        choose: Sequence[str],
    ):
        self.choose = choose
        self.base, self.sweep, self.views = base, sweep, views
        self.keys = list(sweep[0].values)
        self.variants = {name: self._variants(name) for name in base["arms"]}
        self.names: dict[tuple[str, int], str] = {}  # by arm of the study and index of the point
        self.effective_keys: set[str] = set()  # swept keys that affect an arm

    def arms(self) -> dict[str, Any]:
        arms: dict[str, dict[str, Any]] = {}
        first_points: dict[str, int] = {}  # index of the first point of each arm
        arm_names: dict[Any, str] = {}  # by group key
        for name in self.variants:
            for group_key, indices in self._groups(name).items():
                keys = self._constant_keys(indices)
                self.effective_keys.update(keys)
                if group_key not in arm_names:
                    first = self.sweep[indices[0]]
                    values = {key: first.values[key] for key in keys}
                    new_name = _unique_name(_arm_name(name, values, self.keys), arms)
                    arm_names[group_key] = new_name
                    own = first.settings["arms"].get(name)
                    arms[new_name] = _differences(own, values, first.settings)
                    others = {key: value for key, value in values.items() if key not in self.choose}
                    if len(others) < len(values):
                        arms[new_name]["choice"] = _arm_name(name, others, self.keys)
                    first_points[new_name] = indices[0]
                for index in indices:
                    self.names[name, index] = arm_names[group_key]
        self._check_effect()
        for name, arm in arms.items():
            if arm.get("control"):
                arm["control"] = self._expanded_control(arm, first_points[name])
        return arms

    def _variants(self, name: str) -> list[_Variant]:
        variants = []
        for point in self.sweep:
            own = point.settings["arms"].get(name)
            arm = _differences(own, point.values, point.settings)
            variants.append(_Variant(arm, _training_key(self.base, arm, self.views)))
        return variants

    def _groups(self, name: str) -> dict[Any, list[int]]:
        """Group the indices of points at which an arm and the controls it names are the same."""
        groups: dict[Any, list[int]] = {}
        for index, variant in enumerate(self.variants[name]):
            controls: list[Any] = []
            for control in _controls(variant.arm):
                if control in self.variants:
                    controls.append(self.variants[control][index].training_key)
                else:
                    controls.append(control)
            groups.setdefault((variant.training_key, tuple(controls)), []).append(index)
        return groups

    def _constant_keys(self, indices: Sequence[int]) -> list[str]:
        """Return the swept keys that have the same value at all of these points."""
        constant = []
        for key in self.keys:
            values = {_freeze(self.sweep[index].values[key]) for index in indices}
            if len(values) == 1:
                constant.append(key)
        return constant

    def _check_effect(self) -> None:
        for key in self.keys:
            if key not in self.effective_keys:
                raise ConfigError(
                    f"{key} is swept but no arm depends on it: every arm sets it itself, or it has "
                    "no effect (an arm with soft_weight=0 ignores the temperature). Sweep another "
                    "key, or change the arms."
                )

    def _expanded_control(self, arm: Settings, index: int) -> str | list[str]:
        """Return the names of an arm's controls after the expansion."""
        names = [self.names.get((control, index), control) for control in _controls(arm)]
        return names[0] if isinstance(arm["control"], str) else names


def _controls(arm: Settings) -> list[str]:
    """Return the names of the controls that an arm lists."""
    controls = arm.get("control") or []
    return [controls] if isinstance(controls, str) else list(controls)


def _differences(own: Settings | None, values: Values, settings: Settings) -> dict[str, Any]:
    """Return the differences of an arm, with the swept values that it does not set itself."""
    arm = dict(own or {})
    for section in SWEEPABLE:
        section_differences = arm.get(section)
        if isinstance(section_differences, str):  # name of a config file
            continue
        if section_differences and "_target_" in section_differences:
            continue
        if section in values:
            changes = dict(settings[section])
        else:
            names = [key.split(".")[1] for key in values if key.startswith(f"{section}.")]
            changes = {name: settings[section][name] for name in names}
            if not names:
                continue
        if section == "objective" and is_control(section_differences or {}):
            changes.pop("features", None)
        arm[section] = {**changes, **(section_differences or {})}
    return arm


def _training_key(base: Settings, arm: Settings, views: Callable[[str], Any]) -> Any:
    """Return a hashable value that is equal for arms that train the same students."""
    settings: dict[str, Any] = {}
    for section in SWEEPABLE:
        own = arm.get(section)
        if isinstance(own, str):
            own = views(own)
        if isinstance(own, str):
            settings[section] = own
        elif section == "objective":
            settings[section] = merge_objective(base[section], own)
        else:
            settings[section] = merge_differences(base[section], own)
    for name in _ineffective_settings(settings["objective"]):
        settings["objective"].pop(name, None)
    transfer = settings["transfer"]
    if transfer.get("samples") is None and transfer.get("labelled") is None:
        transfer.pop("seed", None)
    if settings["optimizer"].get("name") != "sgd":
        settings["optimizer"].pop("momentum", None)
    if settings["optimizer"].get("averaging") != "ema":
        settings["optimizer"].pop("ema_decay", None)
    return _freeze({**settings, "epochs": arm.get("epochs")})


def _ineffective_settings(objective: Settings) -> set[str]:
    """Return the names of the settings that have no effect in an objective."""
    ineffective = set(own_settings())
    if objective.get("soft_weight") == 0:
        ineffective |= set(SHARED_SETTINGS)
    else:
        loss = SOFT_LOSSES.get(str(objective.get("soft")))
        ineffective -= {setting.name for setting in loss.settings} if loss else set()
    if objective.get("hard_weight") == 0:
        ineffective |= set(HARD_SETTINGS)
    return ineffective


def _freeze(value: Any) -> Any:
    """Convert a value to a hashable one; ``True`` stays different from 1."""
    if isinstance(value, Mapping):
        return "mapping", frozenset((str(key), _freeze(entry)) for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return "list", tuple(map(_freeze, value))
    return ("bool", value) if isinstance(value, bool) else value


# Names --------------------------------------------------------------------------------------------


def _arm_name(arm: str, values: Values, keys: Sequence[str]) -> str:
    """Return the name of an arm, such as ``soft,temperature=4,hidden=200-200``."""
    parts = [arm]
    for key, value in values.items():
        parts.append(f"{_short_key(key, keys)}={_format_value(value)}")
    return ",".join(parts)[:MAX_NAME_LENGTH]


def _short_key(key: str, keys: Sequence[str]) -> str:
    """Return the shortest ending of a key that no other swept key has."""
    parts = _INVALID_CHARACTERS.sub("-", key).split(".")
    for count in range(1, len(parts)):
        short = ".".join(parts[-count:])
        if not any(other != key and f".{other}".endswith(f".{short}") for other in keys):
            return short
    return ".".join(parts)


def _format_value(value: Any) -> str:
    """Format a value as part of a name, with letters, digits and ``_ . + -`` only."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, Mapping):
        value = list(itertools.chain.from_iterable(value.items()))
    if isinstance(value, (list, tuple)):
        return "-".join(map(_format_value, value)) or "none"
    return _INVALID_CHARACTERS.sub("-", str(value)) or "empty"


def _unique_name(name: str, names: Mapping[str, Any]) -> str:
    """Return the name, with a number appended if it is already used."""
    if name not in names:
        return name
    for number in itertools.count(2):
        numbered = f"{name[: MAX_NAME_LENGTH - 6]}-{number}"
        if numbered not in names:
            return numbered
    raise AssertionError("unreachable")
