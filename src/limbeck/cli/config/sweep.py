"""Sweeps: which arms a study has for every value of some settings, each arm once, and what they are
called.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from limbeck._base.checks import is_control, merged, merged_objective
from limbeck._base.errors import ConfigError
from limbeck.losses.soft import SHARED_SETTINGS, SOFT_LOSSES, own_settings

SWEEPABLE = ("objective", "student", "views", "transfer", "optimizer")
"""The settings in which arms of one study may differ."""
MOST_POINTS = 10_000
LONGEST_NAME = 100
_UNFIT = re.compile(r"[^A-Za-z0-9_.+-]+")

Point = Mapping[str, Any]
"""One value for each swept key."""


def points(sweeps: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the values of the swept keys, the last key running fastest.

    Raises:
        ConfigError: there are over 10,000.
    """
    count = 1
    for values in sweeps.values():
        count *= len(values)
    if count > MOST_POINTS:
        raise ConfigError(
            f"The sweep has over {MOST_POINTS:,} points, more than one study can hold. Sweep fewer "
            "values."
        )
    return [
        dict(zip(sweeps, values, strict=True)) for values in itertools.product(*sweeps.values())
    ]


def distinct(values: Sequence[Any]) -> list[Any]:
    """The values without repetitions; 4 and 4.0 are one."""
    found: dict[Any, Any] = {}
    for value in values:
        found.setdefault(_frozen(value), value)
    return list(found.values())


def expand(
    base: Mapping[str, Any],
    at: Sequence[tuple[Point, Mapping[str, Any]]],
    views: Callable[[str], Any] = str,
) -> dict[str, Any]:
    """The arms of a sweep: every arm of the study at every point, those with equal settings once.

    An arm that sets a swept key itself keeps its value. Settings without effect do not count: a
    control has no temperature. The name of an arm lists the swept keys that matter to it.

    Args:
        base: the settings of the study without the sweep.
        at: every point, with the settings of the study there.
        views: the settings that a name of views stands for.

    Returns:
        The differences of each arm from ``base``, by name.

    Raises:
        ConfigError: no arm depends on a swept key.
    """
    keys = list(at[0][0])
    found = {
        name: [_differences(settings["arms"].get(name), point, settings) for point, settings in at]
        for name in base["arms"]
    }
    marks = {
        name: [_mark(base, arm, views) for arm in variants] for name, variants in found.items()
    }
    names: dict[tuple[str, int], str] = {}  # of the arm that one of the study becomes at a point
    known: dict[Any, str] = {}
    first: dict[str, tuple[int, dict[str, Any]]] = {}
    matter: set[str] = set()
    for name, variants in found.items():
        for mark, places in _alike(variants, marks, marks[name]).items():
            own = [key for key in keys if len({_frozen(at[i][0][key]) for i in places}) == 1]
            matter.update(own)
            if mark not in known:
                point, settings = at[places[0]]
                point = {key: point[key] for key in own}
                known[mark] = _free(_name(name, point, keys), first)
                first[known[mark]] = (
                    places[0],
                    _differences(settings["arms"].get(name), point, settings),
                )
            names |= {(name, i): known[mark] for i in places}
    _check_effect(keys, matter)
    for i, arm in first.values():
        if arm.get("control"):
            there = [names.get((control, i), control) for control in _controls(arm)]
            arm["control"] = there[0] if isinstance(arm["control"], str) else there
    return {name: arm for name, (_, arm) in first.items()}


def _alike(
    variants: Sequence[Mapping[str, Any]], marks: Mapping[Any, Sequence[Any]], own: Sequence[Any]
) -> dict[Any, list[int]]:
    """The points at which an arm is the same, and its control too if it names one."""
    alike: dict[Any, list[int]] = {}
    for i, arm in enumerate(variants):
        controls = tuple(
            marks[control][i] if control in marks else control for control in _controls(arm)
        )
        alike.setdefault((own[i], controls), []).append(i)
    return alike


def _controls(arm: Mapping[str, Any]) -> list[str]:
    """The controls that an arm names."""
    named = arm.get("control") or []
    return [named] if isinstance(named, str) else list(named)


def _check_effect(keys: Sequence[str], matter: set[str]) -> None:
    for key in keys:
        if key not in matter:
            raise ConfigError(
                f"{key} is swept and no arm depends on it: every arm sets it itself, or it has no "
                "effect there (an arm "
                "with soft_weight=0 has no temperature). Sweep another key, or change the arms."
            )


def _differences(
    own: Mapping[str, Any] | None, point: Point, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """An arm's own differences, and those of the point in what the arm does not set itself."""
    arm = dict(own or {})
    for section in SWEEPABLE:
        mine = arm.get(section)
        inside = [key.split(".")[1] for key in point if key.startswith(f"{section}.")]
        if (
            not (section in point or inside)
            or isinstance(mine, str)
            or (mine and "_target_" in mine)
        ):
            continue
        there = settings[section]
        changed = there if section in point else {key: there[key] for key in inside}
        if section == "objective" and is_control(mine or {}):
            changed = {key: value for key, value in changed.items() if key != "features"}
        arm[section] = {**changed, **(mine or {})}
    return arm


def _mark(base: Mapping[str, Any], arm: Mapping[str, Any], views: Callable[[str], Any]) -> Any:
    """What is equal for arms that train equal students."""
    whole: dict[str, Any] = {}
    for section in SWEEPABLE:
        own = arm.get(section)
        own = views(own) if isinstance(own, str) else own
        merge = merged_objective if section == "objective" else merged
        whole[section] = own if isinstance(own, str) else merge(base[section], own)
    objective, transfer, optimizer = whole["objective"], whole["transfer"], whole["optimizer"]
    whole["objective"] = {k: v for k, v in objective.items() if k not in _without_effect(objective)}
    if transfer.get("samples") is None and transfer.get("labelled") is None:
        whole["transfer"] = {k: v for k, v in transfer.items() if k != "seed"}
    if optimizer.get("name") != "sgd":
        whole["optimizer"] = {k: v for k, v in optimizer.items() if k != "momentum"}
    return _frozen({**whole, "epochs": arm.get("epochs")})


HARD_SETTINGS = ("hard", "class_weights", "label_smoothing")
"""Settings of an objective that concern its hard loss alone."""


def _without_effect(objective: Mapping[str, Any]) -> set[str]:
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
        return "mapping", frozenset((str(k), _frozen(v)) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return "list", tuple(map(_frozen, value))
    return ("bool", value) if isinstance(value, bool) else value


# Names --------------------------------------------------------------------------------------------


def _name(arm: str, own: Mapping[str, Any], keys: Sequence[str]) -> str:
    """``soft,temperature=4,hidden=200-200``."""
    name = ",".join([arm, *(f"{_short(key, keys)}={_text(value)}" for key, value in own.items())])
    return name[:LONGEST_NAME]


def _short(key: str, keys: Sequence[str]) -> str:
    """The last part of a key, or more of it where another swept key ends alike."""
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
        value = [part for pair in value.items() for part in pair]
    if isinstance(value, (list, tuple)):
        return "-".join(map(_text, value)) or "none"
    return _UNFIT.sub("-", str(value)) or "empty"


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """The name, with a number behind it where it is taken."""
    if name not in taken:
        return name
    numbered = (f"{name[: LONGEST_NAME - 6]}-{i}" for i in itertools.count(2))
    return next(found for found in numbered if found not in taken)
