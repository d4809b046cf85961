"""From logits to the tables of ``summary.json``: metrics by seed, mean and spread by arm,
comparisons, warnings.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from limbeck.evaluation.comparison import LEVEL, compare
from limbeck.run.folder import METRICS

FEW_COMPARISONS = 4
MOST_LISTED = 4
"""Of arms in a warning."""


def mean_and_sd(values: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Mean and sample standard deviation of each metric over seeds; None where a metric is missing
    or one seed.
    """
    mean: dict[str, Any] = {}
    sd: dict[str, Any] = {}
    for name in METRICS + tuple(key for key in values[0] if key not in METRICS):
        column = [v[name] for v in values]
        known = not any(v is None for v in column)
        mean[name] = statistics.fmean(column) if known else None
        sd[name] = statistics.stdev(column) if known and len(column) > 1 else None
    return mean, sd


def comparison(
    arm: Mapping[str, Any],
    control: Mapping[str, Any],
    logits: Mapping[tuple[str, int], Tensor],
    labels: Tensor,
    teacher: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Compare two arms of a summary by their test logits.

    Args:
        arm: as in ``summary.json``.
        control: likewise, with the same seeds.
        logits: test logits ``[N, C]`` by arm name and seed.
        labels: ``[N]``.
        teacher: test metrics of the teacher.
    """

    def wrong(entry: Mapping[str, Any]) -> np.ndarray:
        answers = [
            logits[entry["name"], seed["seed"]].argmax(-1) != labels for seed in entry["seeds"]
        ]
        return np.stack([a.numpy() for a in answers])

    found = compare(
        wrong(arm),
        wrong(control),
        arm_nll=[s["test"]["nll"] for s in arm["seeds"]],
        control_nll=[s["test"]["nll"] for s in control["seeds"]],
        teacher_errors=None if teacher is None else teacher["errors"],
        teacher_nll=None if teacher is None else teacher["nll"],
    )
    return {"arm": arm["name"], "control": control["name"], **found}


def mark_main(
    comparisons: list[dict[str, Any]], arms: Sequence[Mapping[str, Any]], measure: str = "errors"
) -> None:
    """Mark the headline: the comparison whose arm does best on the validation split in the mean
    (never on the test).

    Args:
        comparisons: of the study.
        arms: as in ``summary.json``.
        measure: by which, the less the better; a key of the metrics.
    """
    values = {a["name"]: statistics.fmean(s["val"][measure] for s in a["seeds"]) for a in arms}
    other = {
        a["name"] for a in arms if a.get("control") or a.get("objective", {}).get("shuffled")
    }  # controls of some kind
    among = [entry for entry in comparisons if entry["arm"] not in other] or comparisons
    best = min(among, key=lambda entry: values[entry["arm"]], default=None)
    for entry in comparisons:
        entry["main"] = entry is best


def warnings_of(summary: Mapping[str, Any]) -> list[str]:
    """What a reader should know before believing a verdict."""
    found = []
    if summary.get("quick"):
        found.append(
            "A quick run only shows that everything works: its numbers and verdict mean nothing."
        )
    teacher, arms = summary["teacher"], {a["name"]: a for a in summary["arms"]}
    found += _weak_teacher(summary, arms) if teacher else []
    found += (
        _uneven(summary["comparisons"], arms) + _lost(summary) + _many(len(summary["comparisons"]))
    )
    seeds = min((len(a["seeds"]) for a in summary["arms"]), default=0)
    if summary["comparisons"] and seeds < 2:
        found.append("One seed gives no interval, so no verdict: use seeds=5 or more.")
    elif summary["comparisons"] and seeds < 5:
        found.append(
            f"{seeds} seeds give a wide interval; use seeds=5 or more for a firmer verdict."
        )
    compared = {c["arm"] for c in summary["comparisons"]}
    alone = [
        a["name"]
        for a in summary["arms"]
        if not (a["control"] or a["name"] in compared or _lost_control(a))
    ]
    if alone:
        verb = "has" if len(alone) == 1 else "have"
        found.append(
            f"{_arms(alone)} {verb} no control to compare with: add one with soft_weight=0."
        )
    return list(dict.fromkeys(found))


def _weak_teacher(summary: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Of a teacher that some control does as well as."""
    measure, teacher = summary.get("measure", "errors"), summary["teacher"]["test"]
    shows, of_teacher = ".1f", f"{teacher['errors']} test errors"
    if measure == "bits_per_byte":
        shows, of_teacher = ".3f", f"{teacher[measure]:.3f} bits per byte of the test text"
    controls = {c["control"]: arms[c["control"]]["mean"][measure] for c in summary["comparisons"]}
    better = {name: value for name, value in controls.items() if teacher[measure] >= value}
    if not better:
        return []
    shown = [f"'{name}' ({value:{shows}})" for name, value in list(better.items())[:MOST_LISTED]]
    listed = " and ".join(
        shown + [f"{len(better) - MOST_LISTED} more"] * (len(better) > MOST_LISTED)
    )
    return [
        f"The teacher, with {of_teacher}, is no better than the control {listed}: it has little to "
        "teach. A better "
        "teacher is where the work is."
    ]


def _uneven(
    comparisons: Sequence[Mapping[str, Any]], arms: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Of comparisons between arms that differ in more than the objective."""
    alike: dict[tuple[str, str], list[str]] = {}
    for entry in comparisons:
        arm, control = arms[entry["arm"]], arms[entry["control"]]
        parts = {
            "views": ("views", "views_settings"),
            "transfer": ("transfer", "transfer_settings"),
            "student": ("student",),
            "optimizer": ("optimizer",),
            "epochs": ("epochs",),
        }
        differing = " and ".join(
            part
            for part, keys in parts.items()
            if any(arm.get(key) != control.get(key) for key in keys)
        )
        if differing:
            alike.setdefault((differing, entry["control"]), []).append(entry["arm"])
    return [
        f"{_arms(names)} and {'its' if len(names) == 1 else 'their'} control '{control}' differ in "
        f"{differing} too: "
        "the comparison shows the effect of both, not of distilling alone."
        for (differing, control), names in alike.items()
    ]


def _lost(summary: Mapping[str, Any]) -> list[str]:
    """Of students that failed, and of arms whose control did."""
    failed: dict[str, list[int]] = {}
    for failure in summary.get("failed", []):
        failed.setdefault(failure["arm"], []).append(failure["seed"])
    found = []
    if failed:
        found.append(
            f"{_arms(list(failed))} failed for at least one seed: left out of all tables and "
            "comparisons."
        )
    orphans: dict[str, list[str]] = {}
    for arm in summary["arms"]:
        if _lost_control(arm):
            orphans.setdefault(_lost_control(arm), []).append(arm["name"])
    for control, names in orphans.items():
        verb, whose = ("is", "its") if len(names) == 1 else ("are", "their")
        found.append(
            f"{_arms(names)} {verb} compared with nothing: {whose} control '{control}' failed."
        )
    return found


def _lost_control(arm: Mapping[str, Any]) -> str:
    return arm.get("failed_control", "")


def _many(comparisons: int) -> list[str]:
    """Of more comparisons than one looks at without picking."""
    if comparisons <= FEW_COMPARISONS:
        return []
    return [
        f"{comparisons} comparisons: if distilling changed nothing, chance alone could still call "
        "up to 5 % of them, "
        f"here {comparisons * LEVEL:.1f}, 'helps' or 'hurts'. The headline was chosen on the "
        "validation split; confirm "
        "any other with new seeds."
    ]


def _arms(names: Sequence[str]) -> str:
    """``Arm 'a'``, ``Arms 'a' and 'b'``, ``Arms 'a', 'b' and 7 more``."""
    quoted = [f"'{name}'" for name in names]
    if len(quoted) > MOST_LISTED:
        quoted = [*quoted[: MOST_LISTED - 1], f"{len(quoted) - MOST_LISTED + 1} more"]
    listed = " and ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))
    return f"Arm{'s' * (len(names) > 1)} {listed}"
