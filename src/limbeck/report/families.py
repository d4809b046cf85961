"""Families of arms that are equal except for some settings, and the arms to highlight.

The settings of an arm have names such as ``student``, ``views.degrees`` or ``objective.soft``.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

from limbeck.evaluation.measure import measure_of
from limbeck.losses.soft import SHARED_SETTINGS, own_settings
from limbeck.report.objectives import features
from limbeck.run.summary import ArmResult, Summary

MAX_COLOURED = 12
"""Maximum number of arms with colours of their own; larger studies highlight a few arms."""
MAX_HIGHLIGHTED = 6

Family: TypeAlias = list[ArmResult]


# Settings -----------------------------------------------------------------------------------------


def settings(arm: ArmResult) -> dict[str, Any]:
    """The training settings of an arm; those of the soft loss only if it has one."""
    values: dict[str, Any] = {
        "student": arm.student,
        "params": arm.params,
        "transfer": arm.transfer,
        "views": arm.views,
        "epochs": arm.epochs,
    }
    values |= {f"objective.{key}": value for key, value in arm.objective.items()}
    values |= {f"optimizer.{key}": value for key, value in arm.optimizer.items()}
    if arm.objective.get("features"):
        values["objective.features"] = features(arm.objective["features"])
    values |= _flat("views", arm.views_settings)
    if is_control(arm):
        for name in (*SHARED_SETTINGS, *own_settings()):
            values.pop(f"objective.{name}", None)
    return values


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Nested settings by their paths, such as ``views.views.0.degrees`` in a chain."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return {name: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(f"{name}.{key}", inner)
    return flat


def is_control(arm: ArmResult) -> bool:
    """Whether an arm learns from labels alone."""
    if arm.control:
        return True
    return arm.objective.get("soft_weight") == 0 and not arm.objective.get("features")


def control_of(arm: ArmResult, summary: Summary) -> ArmResult | None:
    """The control of an arm; None without a comparison."""
    arms = {other.name: other for other in summary.arms}
    for comparison in summary.comparisons:
        if comparison.arm == arm.name:
            return arms.get(comparison.control)
    return None


# Families -----------------------------------------------------------------------------------------


def families(arms: Sequence[ArmResult], free: Sequence[str]) -> list[Family]:
    """Group arms that are equal except for the ``free`` settings.

    A summary does not record every setting (for example, a student's dropout). Arms that seem
    equal in all settings go into different families, in their order.
    """
    groups: dict[str, list[Family]] = {}
    for arm in arms:
        values = settings(arm)
        free_values = _free_values(arm, free)
        common = sorted((key, value) for key, value in values.items() if key not in free)
        candidates = groups.setdefault(repr(common), [])
        for family in candidates:
            if free_values not in [_free_values(other, free) for other in family]:
                family.append(arm)
                break
        else:
            candidates.append([arm])
    return [family for candidates in groups.values() for family in candidates]


def _free_values(arm: ArmResult, free: Sequence[str]) -> tuple[Any, ...]:
    values = settings(arm)
    return tuple(values.get(key) for key in free)


def labels(groups: Sequence[Family], free: Sequence[str], without: str = "") -> list[str]:
    """Name each family by the common part of its arms' names, or by its distinctive settings.

    Args:
        groups: Families to name.
        free: Settings in which the arms of a family differ.
        without: Name whose parts are left out, such as the control's.
    """
    common = [_common_name([arm.name for arm in family]) for family in groups]
    if not _are_distinct(common):
        return _labels_by_settings(groups, free)
    short = [_without_parts(name, without.split(",")) for name in common]
    return short if _are_distinct(short) else common


def _labels_by_settings(groups: Sequence[Family], free: Sequence[str]) -> list[str]:
    values = [settings(family[0]) for family in groups]
    differing = _differing_keys(values, free)
    names = []
    for family, entry in zip(groups, values, strict=True):
        parts = []
        for key in differing:
            if entry.get(key) is not None:
                parts.append(f"{key.partition('.')[2] or key} {_plain(entry[key])}")
        name = ", ".join(parts)
        if is_control(family[0]) and (not name or len(groups) == 2):
            name = "control"
        names.append(name or "distilled")
    if _are_distinct(names):
        return names
    return [f"{name} ({number})" for number, name in enumerate(names, 1)]


def _differing_keys(values: Sequence[Mapping[str, Any]], free: Sequence[str]) -> list[str]:
    """The settings that distinguish families, without those implied by others."""
    keys = dict.fromkeys(key for entry in values for key in entry if key not in free)
    differing = [key for key in keys if len({repr(entry.get(key)) for entry in values}) > 1]
    if "student" in differing:
        differing = [key for key in differing if key != "params"]
    if "views" in differing:
        differing = [key for key in differing if not key.startswith("views.")]
    return differing


def _common_name(names: Sequence[str]) -> str:
    """``soft,hidden=50`` for ``soft,temperature=1,hidden=50`` and ``soft,temperature=4,hidden=50``.

    It is empty if the names do not begin with the same part.
    """
    first, *others = (name.split(",") for name in names)
    common = [part for part in first if all(part in other for other in others)]
    if not common or common[0] != first[0]:
        return ""
    return ",".join(common)


def _without_parts(name: str, parts: Collection[str]) -> str:
    return ",".join(part for part in name.split(",") if part not in parts)


def _are_distinct(names: Collection[str]) -> bool:
    return all(names) and len(set(names)) == len(names)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


# Highlights ---------------------------------------------------------------------------------------


def highlighted_arms(summary: Summary, limit: int = MAX_HIGHLIGHTED) -> list[str] | None:
    """The names of the arms to highlight, in their order; None if there are few arms.

    They are the headline arm, its control, and the best arms on the validation split.
    """
    if len(summary.arms) <= MAX_COLOURED:
        return None
    names = []
    if summary.main_comparison is not None:
        names = [summary.main_comparison.arm, summary.main_comparison.control]
    ranked = sorted(summary.arms, key=measure_of(summary).validation_mean)
    names += [arm.name for arm in ranked]
    highlighted = list(dict.fromkeys(names))[:limit]
    return [arm.name for arm in summary.arms if arm.name in highlighted]
