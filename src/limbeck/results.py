"""From trained models to results: score everything, keep the test logits, build the summary."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.data import Dataset, Split
from limbeck.data.batches import EvaluationBatches
from limbeck.evaluation.metrics import all_metrics, predict
from limbeck.evaluation.summary import comparison, mark_main, mean_and_sd, warnings_of
from limbeck.models import count_parameters, model_name
from limbeck.plan import ArmPlan, control_of
from limbeck.progress import Advance
from limbeck.run_folder import SCHEMA, RunFolder, check_summary, write_atomically
from limbeck.teacher.signal import LiveTeacher

Student = tuple[str, int]
"""Name of the arm and seed."""


@dataclass(frozen=True)
class Scored:
    """Every model of a study, scored.

    Attributes:
        labels: of the test split, ``[N]``.
        logits: test logits ``[N, C]`` of each student.
        seeds: ``{"seed", "val", "test"}`` of each student, as in ``summary.json``.
        sizes: name and number of parameters of each arm's student.
        teacher: the teacher's entry in ``summary.json``.
        teacher_logits: its test logits.
    """

    labels: Tensor
    logits: dict[Student, Tensor]
    seeds: dict[Student, dict[str, Any]]
    sizes: dict[str, tuple[str, int]]
    teacher: dict[str, Any] | None
    teacher_logits: Tensor | None


def score(
    data: Dataset, students: Mapping[Student, Callable[[], nn.Module]], teacher: LiveTeacher | None, advance: Advance
) -> Scored:
    """Score everything on validation and, for the first and only time, on the test split.

    Args:
        data: opened here.
        students: read one after the other.
        teacher: to agree with.
        advance: told how many models are done.
    """
    test, val = data.open_test(), data.val
    theirs = None if teacher is None else (_ask(teacher, val), _ask(teacher, test))
    advance(done := int(teacher is not None))
    logits: dict[Student, Tensor] = {}
    seeds: dict[Student, dict[str, Any]] = {}
    sizes: dict[str, tuple[str, int]] = {}
    for (arm, seed), read in students.items():
        model = read()
        sizes[arm] = model_name(model), count_parameters(model)
        val_logits, logits[arm, seed] = _answers_of(model, val), _answers_of(model, test)
        seeds[arm, seed] = {
            "seed": seed,
            "val": all_metrics(val_logits, val.labels, theirs and theirs[0]),
            "test": all_metrics(logits[arm, seed], test.labels, theirs and theirs[1]),
        }
        advance(done := done + 1)
    entry = None if teacher is None or theirs is None else _teacher_entry(teacher, theirs, val, test)
    return Scored(test.labels, logits, seeds, sizes, entry, theirs and theirs[1])


def write_predictions(run: RunFolder, scored: Scored) -> None:
    """Keep labels and test logits in ``predictions.npz``."""
    arrays: dict[str, Any] = {"labels": scored.labels.numpy()}
    if scored.teacher_logits is not None:
        arrays["teacher"] = scored.teacher_logits.numpy()
    arrays |= {f"students/{arm}/seed{seed}": found.numpy() for (arm, seed), found in scored.logits.items()}
    write_atomically(run.predictions, lambda path: np.savez_compressed(path, **arrays))


def summarise(
    scored: Scored, plans: Sequence[ArmPlan], data: Dataset, *, facts: Mapping[str, Any], seconds: Mapping[str, float],
    arm_seconds: Mapping[str, float], failed: Mapping[Student, str],
) -> dict[str, Any]:  # fmt: skip
    """The content of ``summary.json``.

    Args:
        scored: every student of every arm of which none failed.
        plans: the arms.
        data: for its name and sizes.
        facts: ``recipe``, ``epochs``, ``batch_size`` and ``quick``.
        seconds: of each stage and in all.
        arm_seconds: each arm's share of the training.
        failed: why each student failed that did. An arm with a failed student is in no table and no comparison: its
            pairs are incomplete.
    """
    lost = {arm for arm, _ in failed}
    kept = [plan for plan in plans if plan.name not in lost]
    arms = {plan.name: _arm_entry(plan, scored, data.class_names, arm_seconds[plan.name]) for plan in kept}
    pairs = [(plan.name, control_of(plan, plans)) for plan in kept]
    teacher = scored.teacher and scored.teacher["test"]
    comparisons = [
        comparison(arms[name], arms[control], scored.logits, scored.labels, teacher)
        for name, control in pairs
        if control in arms
    ]
    for name, control in pairs:
        if control in lost:
            arms[name]["failed_control"] = control
    mark_main(comparisons, list(arms.values()))
    sizes = {"train": len(data.train), "val": len(data.val), "test": len(scored.labels)}
    summary: dict[str, Any] = {
        "schema": SCHEMA, **facts, "data": {"name": data.name, "classes": data.classes, **sizes},
        "classes": data.class_names, "teacher": scored.teacher, "arms": list(arms.values()),
        "comparisons": comparisons, "seconds": dict(seconds),
        "failed": [{"arm": arm, "seed": seed, "reason": reason} for (arm, seed), reason in failed.items()],
    }  # fmt: skip
    summary["warnings"] = warnings_of(summary)
    check_summary(summary)
    return summary


def _arm_entry(plan: ArmPlan, scored: Scored, class_names: Sequence[str], seconds: float) -> dict[str, Any]:
    seeds = [entry for (arm, _), entry in scored.seeds.items() if arm == plan.name]
    mean, sd = mean_and_sd([entry["test"] for entry in seeds])
    name, params = scored.sizes[plan.name]
    return {
        "name": plan.name, "student": name, "params": params, "control": plan.is_control,
        "objective": plan.objective.as_dict(), "transfer": plan.transfer.name,
        "absent": plan.transfer.absent(class_names), "views": plan.views.name,
        "views_settings": plan.views.settings(), "optimizer": asdict(plan.optimizer),
        "seconds": round(seconds, 3), "seeds": seeds, "mean": mean, "sd": sd,
    }  # fmt: skip


def _teacher_entry(teacher: LiveTeacher, logits: tuple[Tensor, Tensor], val: Split, test: Split) -> dict[str, Any]:
    names = [model_name(model) for model in teacher.models]
    return {
        "name": names[0] if len(names) == 1 else f"{len(names)} x {names[0]} ({teacher.combine})",
        "params": sum(count_parameters(model) for model in teacher.models),
        "val": all_metrics(logits[0], val.labels, logits[0]),
        "test": all_metrics(logits[1], test.labels, logits[1]),
    }


def _ask(teacher: LiveTeacher, split: Split) -> Tensor:
    return torch.cat([teacher(batch.x[0]).cpu() for batch in EvaluationBatches(split)])


def _answers_of(model: nn.Module, split: Split) -> Tensor:
    return predict(model, (batch.x[0] for batch in EvaluationBatches(split)))
