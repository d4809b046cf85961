"""From trained models to results: score everything, keep the test logits, build the summary."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.data import Dataset, Split
from limbeck.data.batches import EvaluationBatches
from limbeck.data.dataset import as_float
from limbeck.evaluation.adjusted import Answered, Student, adjusted_comparisons, adjusted_entries
from limbeck.evaluation.bias import class_prior, prior_bias, recall
from limbeck.evaluation.examples import differing
from limbeck.evaluation.kappa import fit_offsets
from limbeck.evaluation.metrics import all_metrics, predict
from limbeck.evaluation.summary import comparison, mark_main, mean_and_sd, warnings_of
from limbeck.models import count_parameters, model_name, save_model
from limbeck.models.fold import add_to_logits
from limbeck.plan import ArmPlan, control_of
from limbeck.progress import Advance
from limbeck.run_folder import SCHEMA, RunFolder, check_summary, write_atomically
from limbeck.teacher.signal import LiveTeacher

TRIED = 16
"""Inputs on which a model with constants is compared with that without."""


@dataclass(frozen=True)
class Scored:
    """Every model of a study, scored.

    Attributes:
        val: validation logits of each student, and what they are scored against.
        test: likewise, on the test split.
        test_inputs: of the test split.
        biases: constants for the logits of each student, if the study sets any.
        seeds: ``{"seed", "val", "test"}`` of each student, as in ``summary.json``.
        sizes: name and number of parameters of each arm's student.
        teacher: the teacher's entry in ``summary.json``.
    """

    val: Answered
    test: Answered
    test_inputs: Tensor
    biases: dict[Student, Tensor]
    seeds: dict[Student, dict[str, Any]]
    sizes: dict[str, tuple[str, int]]
    teacher: dict[str, Any] | None


def score(
    data: Dataset, students: Mapping[Student, Callable[[], nn.Module]], teacher: LiveTeacher | None, advance: Advance,
    *, bias: str | None = None, absent: Mapping[str, Sequence[int]] | None = None,
) -> Scored:  # fmt: skip
    """Score everything on validation and, for the first and only time, on the test split.

    Args:
        data: opened here.
        students: read one after the other.
        teacher: to agree with.
        advance: told how many models are done.
        bias: how constants for the students' logits are set, see :data:`limbeck.evaluation.bias.BIASES`; None for none.
        absent: the classes that the students of an arm never saw, by its name.
    """
    splits, measure = (data.val, data.open_test()), partial(all_metrics, ordinal=data.ordinal)
    asked = [None if teacher is None else _ask(teacher, split) for split in splits]
    val, test = (Answered({}, split.labels, theirs) for split, theirs in zip(splits, asked, strict=True))
    prior = class_prior(data.train.labels, data.classes)
    advance(done := int(teacher is not None))
    biases: dict[Student, Tensor] = {}
    seeds: dict[Student, dict[str, Any]] = {}
    sizes: dict[str, tuple[str, int]] = {}
    for student, read in students.items():
        model = read()
        sizes[student[0]] = model_name(model), count_parameters(model)
        for split, answered in zip(splits, (val, test), strict=True):
            answered.logits[student] = _answers_of(model, split)
        seeds[student] = {
            "seed": student[1],
            "val": measure(val.logits[student], val.labels, val.teacher),
            "test": measure(test.logits[student], test.labels, test.teacher),
        }
        if bias is not None:
            seeds[student]["recall"] = recall(test.logits[student], test.labels)
            never_seen = (absent or {}).get(student[0], ())
            if bias == "prior":  # of the very inputs whose mean softmax is set to it, so that no chance lies between
                biases[student] = prior_bias(_answers_of(model, data.train), prior, never_seen)
            else:
                biases[student] = fit_offsets(val.logits[student], val.labels)
        advance(done := done + 1)
    entry = None if teacher is None else _teacher_entry(teacher, val, test, ordinal=data.ordinal)
    return Scored(val, test, splits[1].inputs, biases, seeds, sizes, entry)


def save_adjusted(
    scored: Scored, students: Mapping[Student, Callable[[], nn.Module]], data: Dataset, run: RunFolder, how: str
) -> list[str]:
    """Keep every student with its constants in the bias of its last layer, in a folder ``how`` of its own.

    Returns:
        A warning for each arm whose students have no such bias.
    """
    failed = []
    for (arm, seed), bias in scored.biases.items():
        model = students[arm, seed]().eval()
        if add_to_logits(model, bias, as_float(data.val.inputs[:TRIED])):
            save_model(model, run.student(arm, seed) / how, class_names=data.class_names)
        else:
            failed.append(arm)
    return [
        f"The students of arm '{arm}' have no bias in their last layer, so they could not be saved with the "
        f"constants of bias={how}: add those of summary.json to their logits."
        for arm in dict.fromkeys(failed)
    ]


def write_predictions(run: RunFolder, scored: Scored) -> None:
    """Keep labels and test logits in ``predictions.npz``."""
    arrays: dict[str, Any] = {"labels": scored.test.labels.numpy()}
    if scored.test.teacher is not None:
        arrays["teacher"] = scored.test.teacher.numpy()
    arrays |= {f"students/{arm}/seed{seed}": found.numpy() for (arm, seed), found in scored.test.logits.items()}
    write_atomically(run.predictions, lambda path: np.savez_compressed(path, **arrays))


def write_examples(run: RunFolder, scored: Scored, summary: Mapping[str, Any], most: int) -> None:
    """Keep some test images on which the main arm and its control differ in ``examples.npz``, for the report.

    Args:
        run: where to.
        scored: every student; test inputs should be uint8 images ``[N, C, H, W]``, or nothing is kept.
        summary: of the run; its main comparison counts.
        most: how many images; 0 for none.
    """
    main = next((found for found in summary["comparisons"] if found.get("main")), None)
    images, labels = scored.test_inputs, scored.test.labels
    if main is None or not most or images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        return
    arm, control = (next(a for a in summary["arms"] if a["name"] == main[role]) for role in ("arm", "control"))
    seeds = [entry["seed"] for entry in arm["seeds"]]
    answers = {
        role: np.stack([scored.test.logits[entry["name"], seed].numpy() for seed in seeds])
        for role, entry in (("arm", arm), ("control", control))
    }
    found = differing(answers["arm"], answers["control"], labels.numpy(), most)
    if not found.rows:
        return
    arrays: dict[str, Any] = {role: logits[found.seeds, found.rows] for role, logits in answers.items()}
    if scored.test.teacher is not None:
        arrays["teacher"] = scored.test.teacher[found.rows].numpy()
    arrays |= {
        "images": images[found.rows].numpy(), "labels": labels[found.rows].numpy(), "rows": found.rows,
        "names": [arm["name"], control["name"]], "classes": summary["classes"],
        "temperature": arm["objective"].get("temperature", 1.0), "alone": [found.arm_alone, found.control_alone],
    }  # fmt: skip
    write_atomically(run.examples, lambda path: np.savez_compressed(path, **arrays))


def summarise(
    scored: Scored, plans: Sequence[ArmPlan], data: Dataset, *, facts: Mapping[str, Any], seconds: Mapping[str, float],
    arm_seconds: Mapping[str, float], failed: Mapping[Student, str], bias: str | None = None,
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
        bias: as for :func:`score`.
    """
    lost = {arm for arm, _ in failed}
    kept = [plan for plan in plans if plan.name not in lost]
    arms = {plan.name: _arm_entry(plan, scored, data.class_names, arm_seconds[plan.name]) for plan in kept}
    pairs = [(plan.name, control_of(plan, plans)) for plan in kept]
    teacher = scored.teacher and scored.teacher["test"]
    comparisons = [
        comparison(arms[name], arms[control], scored.test.logits, scored.test.labels, teacher)
        for name, control in pairs
        if control in arms
    ]
    for name, control in pairs:
        if control in lost:
            arms[name]["failed_control"] = control
    mark_main(comparisons, list(arms.values()))
    sizes = {"train": len(data.train), "val": len(data.val), "test": len(scored.test.labels)}
    summary: dict[str, Any] = {
        "schema": SCHEMA, **facts, "data": {"name": data.name, "classes": data.classes, **sizes},
        "classes": data.class_names, "teacher": scored.teacher, "arms": list(arms.values()),
        "comparisons": comparisons, "seconds": dict(seconds),
        "failed": [{"arm": arm, "seed": seed, "reason": reason} for (arm, seed), reason in failed.items()],
    }  # fmt: skip
    if bias is not None:
        for plan in kept:
            arms[plan.name]["adjusted"] = adjusted_entries(
                plan.name, bias, scored.biases, scored.val, scored.test, arms[plan.name]["absent"], ordinal=data.ordinal
            )
        compared = [(name, control) for name, control in pairs if control in arms]
        summary["adjusted_comparisons"] = adjusted_comparisons(
            compared, bias, scored.biases, arms, scored.test, teacher
        )
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
        "transfer_settings": plan.transfer.settings(), "absent": plan.transfer.absent(class_names),
        "views": plan.views.name, "views_settings": plan.views.settings(), "optimizer": asdict(plan.optimizer),
        "seconds": round(seconds, 3), "seeds": seeds, "mean": mean, "sd": sd,
    }  # fmt: skip


def _teacher_entry(teacher: LiveTeacher, val: Answered, test: Answered, *, ordinal: bool) -> dict[str, Any]:
    names = [model_name(model) for model in teacher.models]
    val_logits, test_logits = val.teacher, test.teacher
    assert val_logits is not None
    assert test_logits is not None
    return {
        "name": names[0] if len(names) == 1 else f"{len(names)} x {names[0]} ({teacher.combine})",
        "params": sum(count_parameters(model) for model in teacher.models),
        "val": all_metrics(val_logits, val.labels, val_logits, ordinal=ordinal),
        "test": all_metrics(test_logits, test.labels, test_logits, ordinal=ordinal),
    }


def _ask(teacher: LiveTeacher, split: Split) -> Tensor:
    return torch.cat([teacher(batch.x[0]).cpu() for batch in EvaluationBatches(split)])


def _answers_of(model: nn.Module, split: Split) -> Tensor:
    return predict(model, (batch.x[0] for batch in EvaluationBatches(split)))
