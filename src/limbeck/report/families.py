"""Which arms of a study belong together: equal but for some settings, and which to show where there
are many.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.losses.soft import SHARED_SETTINGS, own_settings
from limbeck.report.judged_by import Arm, measure_of
from limbeck.report.wording import features

MANY = 12
"""More arms than this are not all drawn in a colour of their own."""


def settings(arm: Arm) -> dict[str, Any]:
    """What an arm was trained with: ``student``, ``transfer``, ``views``, ``views.degrees``,
    ``objective.soft`` ...

    A control has nothing of the soft loss.
    """
    found = {key: arm.get(key) for key in ("student", "params", "transfer", "views", "epochs")}
    for part in ("objective", "optimizer"):
        found |= {f"{part}.{key}": value for key, value in (arm.get(part) or {}).items()}
    guides = found.get("objective.features")
    if guides:
        found["objective.features"] = features(guides)
    found |= _flat("views", arm.get("views_settings") or {})
    if is_control(arm):
        found = {
            key: value
            for key, value in found.items()
            if key not in {f"objective.{name}" for name in (*SHARED_SETTINGS, *own_settings())}
        }
    return found


def _flat(name: str, value: Any) -> dict[str, Any]:
    """``views.degrees``, and ``views.views.0.degrees`` in a chain."""
    if not isinstance(value, (Mapping, list)):
        return {name: value}
    inside = value.items() if isinstance(value, Mapping) else enumerate(value)
    return {
        path: plain for key, part in inside for path, plain in _flat(f"{name}.{key}", part).items()
    }


def is_control(arm: Arm) -> bool:
    """Whether an arm learns from labels alone."""
    objective = arm["objective"]
    return bool(arm.get("control")) or (
        objective.get("soft_weight") == 0 and not objective.get("features")
    )


def families(arms: Sequence[Arm], free: Sequence[str]) -> list[list[Arm]]:
    """Arms that are equal but for the ``free`` settings.

    Arms may differ in what a summary does not tell (a student's dropout): those with equal free
    settings go into families of their own, in their order.
    """
    groups: dict[Any, list[list[Arm]]] = {}
    for arm in arms:
        known = settings(arm)
        place = tuple(known.get(key) for key in free)
        kept = repr(sorted((key, value) for key, value in known.items() if key not in free))
        lists = groups.setdefault(kept, [])
        for family in lists:
            if all(tuple(settings(other).get(key) for key in free) != place for other in family):
                family.append(arm)
                break
        else:
            lists.append([arm])
    return [family for lists in groups.values() for family in lists]


def labels(groups: Sequence[Sequence[Arm]], free: Sequence[str], without: str = "") -> list[str]:
    """A name for each family: what the names of its arms share; or else the settings that set it
    apart.

    Args:
        groups: the families.
        free: the settings in which arms of a family differ.
        without: a name whose parts are left out, such as that of the control.
    """
    common = [_shared([str(arm["name"]) for arm in family]) for family in groups]
    if all(common) and len(set(common)) == len(common):
        short = [
            ",".join(part for part in name.split(",") if part not in without.split(","))
            for name in common
        ]
        return short if all(short) and len(set(short)) == len(short) else common
    known = [settings(family[0]) for family in groups]
    told = dict.fromkeys(key for entry in known for key in entry if key not in free)
    differing = [key for key in told if len({repr(entry.get(key)) for entry in known}) > 1]
    differing = [key for key in differing if key != "params" or "student" not in differing]
    differing = [
        key for key in differing if not key.startswith("views.") or "views" not in differing
    ]
    found = []
    for family, entry in zip(groups, known, strict=True):
        kind = "control" if is_control(family[0]) else "distilled"
        parts = [
            f"{key.partition('.')[2] or key} {_plain(entry[key])}"
            for key in differing
            if entry.get(key) is not None
        ]
        found.append(
            ", ".join(parts) if parts and not (kind == "control" and len(groups) == 2) else kind
        )
    return (
        found
        if len(set(found)) == len(found)
        else [f"{name} ({i})" for i, name in enumerate(found, 1)]
    )


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shared(names: Sequence[str]) -> str:
    """``soft,hidden=50`` for ``soft,temperature=1,hidden=50`` and ``soft,temperature=4,hidden=50``."""
    first, *others = (name.split(",") for name in names)
    kept = [part for part in first if all(part in other for other in others)]
    return ",".join(kept) if kept and kept[0] == first[0] else ""


def control_of(arm: Arm, summary: Mapping[str, Any]) -> Arm | None:
    """The control that an arm is compared with."""
    name = next((c["control"] for c in summary["comparisons"] if c["arm"] == arm["name"]), None)
    return next((other for other in summary["arms"] if other["name"] == name), None)


def shown(summary: Mapping[str, Any], most: int = 6) -> list[str] | None:
    """The arms to draw in colour, in their order; None for all, where they are few.

    They are the headline, its control, and those that are best on the validation split.
    """
    arms = summary["arms"]
    if len(arms) <= MANY:
        return None
    main = next((c for c in summary["comparisons"] if c.get("main")), None)
    first = [] if main is None else [main["arm"], main["control"]]
    ranked = sorted(arms, key=measure_of(summary).on_validation)
    picked = list(dict.fromkeys([*first, *(arm["name"] for arm in ranked)]))[:most]
    return [arm["name"] for arm in arms if arm["name"] in picked]
