"""From scored models to results: the test answers, some examples, the summary."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from limbeck._base.files import write_atomically
from limbeck.data import Dataset
from limbeck.data.dataset import as_float
from limbeck.evaluation.adjusted import Student, adjusted_comparisons, adjusted_entries
from limbeck.evaluation.examples import differing
from limbeck.evaluation.summary import mark_main, mean_and_sd, warnings_of
from limbeck.models import save_model
from limbeck.models.fold import add_to_logits
from limbeck.run.folder import RunFolder
from limbeck.run.summary import SCHEMA, parse_summary
from limbeck.study.arms import ArmPlan, controls_of
from limbeck.study.scoring import Scored, ScoredClassifiers, ScoredLanguageModels

TRIED = 16
"""Inputs on which a model with constants is compared with that without."""


def save_adjusted(
    scored: ScoredClassifiers,
    students: Mapping[Student, Callable[[], nn.Module]],
    data: Dataset,
    run: RunFolder,
    how: str,
) -> list[str]:
    """Keep every student with its constants in the bias of its last layer, in a folder ``how`` of
    its own.

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
        f"The students of arm '{arm}' have no bias in their last layer, so they could not be saved "
        "with the "
        f"constants of bias={how}: add those of summary.json to their logits."
        for arm in dict.fromkeys(failed)
    ]


def write_predictions(run: RunFolder, scored: Scored) -> None:
    """Keep what models answered on the test split in ``predictions.npz``: logits, of text the nats
    of each token.
    """
    write_atomically(run.predictions, lambda path: np.savez_compressed(path, **scored.arrays()))


def write_examples(run: RunFolder, scored: Scored, summary: Mapping[str, Any], most: int) -> None:
    """Keep some test images on which the main arm and its control differ in ``examples.npz``, for
    the report.

    Args:
        run: where to.
        scored: every student; test inputs should be uint8 images ``[N, C, H, W]``, or nothing is
            kept.
        summary: of the run; its main comparison counts.
        most: how many images; 0 for none.
    """
    main = next((found for found in summary["comparisons"] if found.get("main")), None)
    if not isinstance(scored, ScoredClassifiers):
        return
    images, labels = scored.test_inputs, scored.test.labels
    if (
        main is None
        or not most
        or images.dtype != torch.uint8
        or images.ndim != 4
        or images.shape[1] not in (1, 3)
    ):
        return
    arm, control = (
        next(a for a in summary["arms"] if a["name"] == main[role]) for role in ("arm", "control")
    )
    seeds = [entry["seed"] for entry in arm["seeds"]]
    answers = {
        role: np.stack([scored.test.logits[entry["name"], seed].numpy() for seed in seeds])
        for role, entry in (("arm", arm), ("control", control))
    }
    found = differing(answers["arm"], answers["control"], labels.numpy(), most)
    if not found.rows:
        return
    arrays: dict[str, Any] = {
        role: logits[found.seeds, found.rows] for role, logits in answers.items()
    }
    if scored.test.teacher is not None:
        arrays["teacher"] = scored.test.teacher[found.rows].numpy()
    arrays |= {
        "images": images[found.rows].numpy(),
        "labels": labels[found.rows].numpy(),
        "rows": found.rows,
        "names": [arm["name"], control["name"]],
        "classes": summary["classes"],
        "temperature": arm["objective"].get("temperature", 1.0),
        "alone": [found.arm_alone, found.control_alone],
    }
    write_atomically(run.examples, lambda path: np.savez_compressed(path, **arrays))


def summarise(
    scored: Scored,
    plans: Sequence[ArmPlan],
    data: Dataset,
    *,
    facts: Mapping[str, Any],
    seconds: Mapping[str, float],
    arm_seconds: Mapping[str, float],
    failed: Mapping[Student, str],
    bias: str | None = None,
) -> dict[str, Any]:
    """The content of ``summary.json``.

    Args:
        scored: every student of every arm of which none failed.
        plans: the arms.
        data: for its name and sizes.
        facts: ``recipe``, ``epochs``, ``batch_size`` and ``quick``.
        seconds: of each stage and in all.
        arm_seconds: each arm's share of the training.
        failed: why each student failed that did. An arm with a failed student is in no table and no
            comparison: its pairs are incomplete.
        bias: as for :func:`score`.
    """
    lost = {arm for arm, _ in failed}
    kept = [plan for plan in plans if plan.name not in lost]
    arms = {
        plan.name: _arm_entry(plan, scored, data.class_names, arm_seconds[plan.name])
        for plan in kept
    }
    pairs = [(plan.name, control) for plan in kept for control in controls_of(plan, plans)]
    comparisons = [
        scored.compare(arms[name], arms[control]) for name, control in pairs if control in arms
    ]
    for name, control in pairs:
        if control in lost:
            arms[name]["failed_control"] = control
    measure = "errors" if data.tokenizer is None else "bits_per_byte"
    mark_main(comparisons, list(arms.values()), measure)
    summary: dict[str, Any] = {
        "schema": SCHEMA,
        **facts,
        "data": _described(data, scored),
        "measure": measure,
        "classes": data.class_names if data.tokenizer is None else [],
        "teacher": scored.teacher,
        "arms": list(arms.values()),
        "comparisons": comparisons,
        "seconds": dict(seconds),
        "failed": [
            {"arm": arm, "seed": seed, "reason": reason} for (arm, seed), reason in failed.items()
        ],
    }
    if bias is not None and isinstance(scored, ScoredClassifiers):
        for plan in kept:
            arms[plan.name]["adjusted"] = adjusted_entries(
                plan.name,
                bias,
                scored.biases,
                scored.val,
                scored.test,
                arms[plan.name]["absent"],
                ordinal=data.ordinal,
            )
        compared = [(name, control) for name, control in pairs if control in arms]
        summary["adjusted_comparisons"] = adjusted_comparisons(
            compared,
            bias,
            scored.biases,
            arms,
            scored.test,
            scored.teacher and scored.teacher["test"],
        )
    summary["warnings"] = warnings_of(summary)
    parse_summary(summary)
    return summary


def _arm_entry(
    plan: ArmPlan, scored: Scored, class_names: Sequence[str], seconds: float
) -> dict[str, Any]:
    seeds = [entry for (arm, _), entry in scored.seeds.items() if arm == plan.name]
    mean, sd = mean_and_sd([entry["test"] for entry in seeds])
    name, params = scored.sizes[plan.name]
    return {
        "name": plan.name,
        "student": name,
        "params": params,
        "control": plan.is_control,
        "objective": plan.objective.as_dict(),
        "transfer": plan.transfer.name,
        "transfer_settings": plan.transfer.settings(),
        "absent": plan.transfer.absent(class_names),
        "views": plan.views.name,
        "views_settings": plan.views.settings(),
        "optimizer": asdict(plan.optimizer),
        "epochs": plan.epochs,
        "seconds": round(seconds, 3),
        "seeds": seeds,
        "mean": mean,
        "sd": sd,
    }


def _described(data: Dataset, scored: Scored) -> dict[str, Any]:
    """The data in ``summary.json``: samples of each split; of text, whose samples are blocks,
    tokens and bytes too.
    """
    splits = {"train": len(data.train), "val": len(data.val), "test": data.test_size}
    found: dict[str, Any] = {"name": data.name, "classes": data.classes, **splits}
    if data.tokenizer is None or not isinstance(scored, ScoredLanguageModels):
        return found
    tokens = {part: size * data.shape[0] for part, size in splits.items()}
    text = {
        "tokenizer": data.tokenizer.name,
        "block": data.shape[0],
        "tokens": tokens,
        "bytes": {"test": scored.size},
    }
    return {**found, **text}
