"""Arms of a sweep: one for every value of some settings, each arm once, with a name."""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck._base.errors import ConfigError
from limbeck.cli.config.arms import Settings, is_control, merged, merged_objective
from limbeck.losses.soft import SHARED_SETTINGS, SOFT_LOSSES, own_settings

SWEEPABLE = ("objective", "student", "views", "transfer", "optimizer")
"""Sections in which the arms of one study may differ."""
HARD_SETTINGS = ("hard", "class_weights", "label_smoothing")
"""Settings of an objective that concern its hard loss alone."""
MOST_POINTS = 10_000
LONGEST_NAME = 100
_UNFIT = re.compile(r"[^A-Za-z0-9_.+-]+")

Values = dict[str, Any]
"""One value for each swept key."""


@dataclass(frozen=True)
class Point:
    """A point of a sweep.

    Attributes:
        values: Value of each swept key.
        settings: Settings of the study at this point.
    """

    values: Values
    settings: Settings


@dataclass(frozen=True)
class _Variant:
    """An arm of the study at one point.

    Attributes:
        arm: Differences of the arm from the study without the sweep.
        mark: Value that is equal for arms that train equal students.
    """

    arm: dict[str, Any]
    mark: Any


def points(sweeps: Mapping[str, Sequence[Any]]) -> list[Values]:
    """Return every combination of the values of the swept keys, the last key varying fastest.

    Raises:
        ConfigError: If there are more than 10,000.
    """
    count = 1
    for values in sweeps.values():
        count *= len(values)
    if count > MOST_POINTS:
        raise ConfigError(
            f"The sweep has over {MOST_POINTS:,} points, more than one study can hold. Sweep fewer "
            "values."
        )
    combinations = itertools.product(*sweeps.values())
    return [dict(zip(sweeps, values, strict=True)) for values in combinations]


def distinct(values: Sequence[Any]) -> list[Any]:
    """Return the values without repetitions; 4 and 4.0 are one value."""
    unique: dict[Any, Any] = {}
    for value in values:
        unique.setdefault(_frozen(value), value)
    return list(unique.values())


def expand(
    base: Settings, sweep: Sequence[Point], views: Callable[[str], Any] = str
) -> dict[str, Any]:
    """Return the arms of a sweep: every arm of the study at every point, equal ones once.

    An arm that sets a swept key itself keeps its value. Settings without effect do not count: a
    control has no temperature. The name of an arm lists the swept keys that matter to it.

    Args:
        base: Settings of the study without the sweep.
        sweep: Points of the sweep.
        views: Function from a name of views to its settings.

    Returns:
        Differences of each arm from ``base``, by its name.

    Raises:
        ConfigError: If no arm depends on a swept key.
    """
    return _Expansion(base, sweep, views).arms()


class _Expansion:
    """The state of :func:`expand`."""

    def __init__(self, base: Settings, sweep: Sequence[Point], views: Callable[[str], Any]):
        self.base, self.sweep, self.views = base, sweep, views
        self.keys = list(sweep[0].values)
        self.variants = {name: self._variants(name) for name in base["arms"]}
        self.names: dict[tuple[str, int], str] = {}  # of an arm of the study at a point
        self.effective: set[str] = set()  # swept keys that change an arm

    def arms(self) -> dict[str, Any]:
        arms: dict[str, dict[str, Any]] = {}
        places: dict[str, int] = {}  # the first point of each arm
        known: dict[Any, str] = {}
        for name in self.variants:
            for mark, indices in self._groups(name).items():
                keys = self._constant_keys(indices)
                self.effective.update(keys)
                if mark not in known:
                    first = self.sweep[indices[0]]
                    values = {key: first.values[key] for key in keys}
                    known[mark] = _free(_name(name, values, self.keys), arms)
                    own = first.settings["arms"].get(name)
                    arms[known[mark]] = _differences(own, values, first.settings)
                    places[known[mark]] = indices[0]
                for index in indices:
                    self.names[name, index] = known[mark]
        self._check_effect()
        for name, arm in arms.items():
            if arm.get("control"):
                arm["control"] = self._renamed_control(arm, places[name])
        return arms

    def _variants(self, name: str) -> list[_Variant]:
        variants = []
        for point in self.sweep:
            own = point.settings["arms"].get(name)
            arm = _differences(own, point.values, point.settings)
            variants.append(_Variant(arm, _mark(self.base, arm, self.views)))
        return variants

    def _groups(self, name: str) -> dict[Any, list[int]]:
        """Indices of the points at which an arm, and any control that it names, is the same."""
        groups: dict[Any, list[int]] = {}
        for index, variant in enumerate(self.variants[name]):
            controls = []
            for control in _controls(variant.arm):
                known = control in self.variants
                controls.append(self.variants[control][index].mark if known else control)
            groups.setdefault((variant.mark, tuple(controls)), []).append(index)
        return groups

    def _constant_keys(self, indices: Sequence[int]) -> list[str]:
        """Swept keys that have one value at these points."""
        constant = []
        for key in self.keys:
            values = {_frozen(self.sweep[index].values[key]) for index in indices}
            if len(values) == 1:
                constant.append(key)
        return constant

    def _check_effect(self) -> None:
        for key in self.keys:
            if key not in self.effective:
                raise ConfigError(
                    f"{key} is swept but no arm depends on it: every arm sets it itself, or it has "
                    "no effect there (an arm with soft_weight=0 has no temperature). Sweep another "
                    "key, or change the arms."
                )

    def _renamed_control(self, arm: Settings, index: int) -> str | list[str]:
        """Names of an arm's controls after the expansion."""
        names = [self.names.get((control, index), control) for control in _controls(arm)]
        return names[0] if isinstance(arm["control"], str) else names


def _controls(arm: Settings) -> list[str]:
    """Names of the controls that an arm lists."""
    controls = arm.get("control") or []
    return [controls] if isinstance(controls, str) else list(controls)


def _differences(own: Settings | None, values: Values, settings: Settings) -> dict[str, Any]:
    """An arm's own differences, and the swept values of settings that it does not set itself."""
    arm = dict(own or {})
    for section in SWEEPABLE:
        mine = arm.get(section)
        if isinstance(mine, str) or (mine and "_target_" in mine):
            continue
        if section in values:
            changes = dict(settings[section])
        else:
            names = [key.split(".")[1] for key in values if key.startswith(f"{section}.")]
            changes = {name: settings[section][name] for name in names}
            if not names:
                continue
        if section == "objective" and is_control(mine or {}):
            changes.pop("features", None)
        arm[section] = {**changes, **(mine or {})}
    return arm


def _mark(base: Settings, arm: Settings, views: Callable[[str], Any]) -> Any:
    """A value that is equal for arms that train equal students."""
    whole: dict[str, Any] = {}
    for section in SWEEPABLE:
        own = arm.get(section)
        if isinstance(own, str):
            own = views(own)
        if isinstance(own, str):
            whole[section] = own
        elif section == "objective":
            whole[section] = merged_objective(base[section], own)
        else:
            whole[section] = merged(base[section], own)
    for name in _without_effect(whole["objective"]):
        whole["objective"].pop(name, None)
    transfer = whole["transfer"]
    if transfer.get("samples") is None and transfer.get("labelled") is None:
        transfer.pop("seed", None)
    if whole["optimizer"].get("name") != "sgd":
        whole["optimizer"].pop("momentum", None)
    return _frozen({**whole, "epochs": arm.get("epochs")})


def _without_effect(objective: Settings) -> set[str]:
    """Names of the settings of an objective that change nothing beside its others."""
    idle = set(own_settings())
    if objective.get("soft_weight") == 0:
        idle |= set(SHARED_SETTINGS)
    else:
        loss = SOFT_LOSSES.get(str(objective.get("soft")))
        idle -= {setting.name for setting in loss.settings} if loss else set()
    if objective.get("hard_weight") == 0:
        idle |= set(HARD_SETTINGS)
    return idle


def _frozen(value: Any) -> Any:
    """A value that can be compared and hashed; true is not 1."""
    if isinstance(value, Mapping):
        return "mapping", frozenset((str(key), _frozen(entry)) for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return "list", tuple(map(_frozen, value))
    return ("bool", value) if isinstance(value, bool) else value


# Names --------------------------------------------------------------------------------------------


def _name(arm: str, values: Values, keys: Sequence[str]) -> str:
    """The name of an arm, as in ``soft,temperature=4,hidden=200-200``."""
    parts = [arm, *(f"{_short(key, keys)}={_text(value)}" for key, value in values.items())]
    return ",".join(parts)[:LONGEST_NAME]


def _short(key: str, keys: Sequence[str]) -> str:
    """The last part of a key, or more of it if another swept key has the same ending."""
    parts = _UNFIT.sub("-", key).split(".")
    for count in range(1, len(parts)):
        short = ".".join(parts[-count:])
        if not any(other != key and f".{other}".endswith(f".{short}") for other in keys):
            return short
    return ".".join(parts)


def _text(value: Any) -> str:
    """A value as a part of a name: letters, digits and ``_ . + -``."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, Mapping):
        value = list(itertools.chain.from_iterable(value.items()))
    if isinstance(value, (list, tuple)):
        return "-".join(map(_text, value)) or "none"
    return _UNFIT.sub("-", str(value)) or "empty"


def _free(name: str, names: Mapping[str, Any]) -> str:
    """The name, followed by a number if it is in use."""
    if name not in names:
        return name
    for number in itertools.count(2):
        numbered = f"{name[: LONGEST_NAME - 6]}-{number}"
        if numbered not in names:
            return numbered
    raise AssertionError("unreachable")
