"""From logits to the tables of ``summary.json``: metrics by seed, mean and spread by arm, comparisons, warnings."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from limbeck.evaluation.compare import compare
from limbeck.run_folder import METRICS


def mean_and_sd(values: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Mean and sample standard deviation of each metric over seeds; None where a metric is missing or one seed."""
    mean: dict[str, Any] = {}
    sd: dict[str, Any] = {}
    for name in METRICS:
        column = [v[name] for v in values]
        known = not any(v is None for v in column)
        mean[name] = statistics.fmean(column) if known else None
        sd[name] = statistics.stdev(column) if known and len(column) > 1 else None
    return mean, sd


def comparison(
    arm: Mapping[str, Any], control: Mapping[str, Any], logits: Mapping[tuple[str, int], Tensor], labels: Tensor,
    teacher: Mapping[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """Compare two arms of a summary by their test logits.

    Args:
        arm: as in ``summary.json``.
        control: likewise, with the same seeds.
        logits: test logits ``[N, C]`` by arm name and seed.
        labels: ``[N]``.
        teacher: test metrics of the teacher.
    """

    def wrong(entry: Mapping[str, Any]) -> np.ndarray:
        answers = [logits[entry["name"], seed["seed"]].argmax(-1) != labels for seed in entry["seeds"]]
        return np.stack([a.numpy() for a in answers])

    found = compare(
        wrong(arm), wrong(control),
        arm_nll=[s["test"]["nll"] for s in arm["seeds"]], control_nll=[s["test"]["nll"] for s in control["seeds"]],
        teacher_errors=None if teacher is None else teacher["errors"],
        teacher_nll=None if teacher is None else teacher["nll"],
    )  # fmt: skip
    return {"arm": arm["name"], "control": control["name"], **found}


def mark_main(comparisons: list[dict[str, Any]], arms: Sequence[Mapping[str, Any]]) -> None:
    """Mark the headline: the comparison whose arm has the fewest validation errors in the mean (never test errors)."""
    errors = {a["name"]: statistics.fmean(s["val"]["errors"] for s in a["seeds"]) for a in arms}
    best = min((c["arm"] for c in comparisons), key=lambda name: errors[name], default=None)
    for entry in comparisons:
        entry["main"] = entry["arm"] == best


def warnings_of(summary: Mapping[str, Any]) -> list[str]:
    """What a reader should know before believing a verdict."""
    found = []
    if summary.get("quick"):
        found.append("A quick run only shows that everything works: its numbers and verdict mean nothing.")
    teacher, arms = summary["teacher"], {a["name"]: a for a in summary["arms"]}
    controls = {c["control"]: arms[c["control"]]["mean"]["errors"] for c in summary["comparisons"]}
    better = {name: errors for name, errors in controls.items() if teacher and teacher["test"]["errors"] >= errors}
    if better:
        listed = " and ".join(f"'{name}' ({errors:.1f})" for name, errors in better.items())
        found.append(
            f"The teacher, with {teacher['test']['errors']} test errors, is no better than the control {listed}: it "
            "has little to teach. A better teacher is where the work is."
        )
    for entry in summary["comparisons"]:
        differing = [
            key for key in ("views", "transfer", "student") if arms[entry["arm"]][key] != arms[entry["control"]][key]
        ]
        if differing:
            found.append(
                f"Arm '{entry['arm']}' and its control '{entry['control']}' differ in {' and '.join(differing)} "
                "too: the comparison shows the effect of both, not of distilling alone."
            )
    seeds = min((len(a["seeds"]) for a in summary["arms"]), default=0)
    if summary["comparisons"] and seeds < 2:
        found.append("One seed gives no interval, so no verdict: use seeds=5 or more.")
    elif summary["comparisons"] and seeds < 5:
        found.append(f"{seeds} seeds give a wide interval; use seeds=5 or more for a firmer verdict.")
    compared = {c["arm"] for c in summary["comparisons"]}
    for arm in summary["arms"]:
        if not arm["control"] and arm["name"] not in compared:
            found.append(f"Arm '{arm['name']}' has no control to compare with: add one with soft_weight=0.")
    return list(dict.fromkeys(found))
