"""Choice of one arm among several on the validation split, before the test split is opened."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, replace

from torch import nn

from limbeck.data.batches import EvaluationBatches
from limbeck.data.resampling import ResampledSplits
from limbeck.evaluation.evaluate import evaluate
from limbeck.study.arms import ArmPlan
from limbeck.study.scores import Students

VALUES = {"errors": "errors", "bits_per_byte": "nll"}
"""Metric of :func:`limbeck.evaluate` by which arms are chosen, where it is not the measure."""


def choose_on_validation(
    plans: Sequence[ArmPlan], students: Students, splits: ResampledSplits
) -> tuple[list[ArmPlan], Students]:
    """Choose the best arm of each choice; arms without one stay.

    The arm with the smallest mean over seeds is chosen: of the errors on the validation split, or
    of what else the study is judged by. Of equal arms it is the first one.

    Args:
        plans: All arms.
        students: Functions that load the students of all arms without a failure.
        splits: Training and validation splits.

    Returns:
        The arms that stay, with the number of candidates and the controls that stay, and their
        students.
    """
    groups: dict[str, list[ArmPlan]] = {}
    for plan in plans:
        groups.setdefault(plan.choice or plan.name, []).append(plan)
    best_arms: dict[str, ArmPlan] = {}
    new_names: dict[str, str] = {}
    for group in groups.values():
        best = min(group, key=lambda plan: _validation(plan, students, splits, len(group)))
        if best.choice:
            best_arms[best.name] = replace(best, candidates=len(group), edge=_edge(best, group))
        else:
            best_arms[best.name] = best
        new_names |= {plan.name: best.name for plan in group}
    remaining = []
    for plan in plans:
        if plan.name in best_arms:
            controls = dict.fromkeys(new_names[name] for name in plan.control)
            remaining.append(replace(best_arms[plan.name], control=tuple(controls)))
    loaders = {key: load for key, load in students.items() if key[0] in best_arms}
    return remaining, loaders


def _edge(best: ArmPlan, group: Sequence[ArmPlan]) -> str | None:
    """Describe the settings of which the best arm has the largest or smallest value of a group.

    Settings with two values are left out: one of them is always at the edge.
    """
    settings = {plan.name: _numbers(plan) for plan in group}
    edges = []
    for key, value in settings[best.name].items():
        values = {numbers[key] for numbers in settings.values() if key in numbers}
        if len(values) > 2 and value in (min(values), max(values)):
            edges.append(
                f"{key}={value:g}, the {'smallest' if value == min(values) else 'largest'}"
            )
    return " and ".join(edges) or None


def _numbers(plan: ArmPlan) -> dict[str, float]:
    """Return the settings of an arm that are numbers; of a control, those of its optimizer."""
    parts = {"optimizer": asdict(plan.optimizer)}
    if not plan.is_control:
        parts["objective"] = asdict(plan.objective)
    numbers = {
        f"{part}.{name}": float(value)
        for part, settings in parts.items()
        for name, value in settings.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    return {**numbers, "epochs": float(plan.epochs)}


def _validation(
    plan: ArmPlan, students: Students, splits: ResampledSplits, candidates: int
) -> float:
    """Return the mean over seeds on the validation split; infinite for an arm that failed."""
    keys = [key for key in students if key[0] == plan.name]
    if candidates == 1 or not keys:
        return math.inf
    return statistics.fmean(validation_value(students[key](), key[1], splits) for key in keys)


def validation_value(model: nn.Module, seed: int, splits: ResampledSplits) -> float:
    """Return the result of a student on its validation split; infinite if it is not finite.

    Args:
        model: Trained student.
        seed: Seed of the student.
        splits: Training and validation splits.
    """
    data, split = splits.data, splits.val(splits.split_of(seed))
    is_text = data.positions is not None
    batches = EvaluationBatches(split, classes=data.classes if is_text else 1, models=[model])
    task = "classes" if is_text or data.kind.has_classes else data.kind.name
    metrics = evaluate(model, [(batch.x[0], batch.y[0]) for batch in batches], task=task)
    value = float(metrics[VALUES.get(data.kind.measure, data.kind.measure)])
    return value if math.isfinite(value) else math.inf
