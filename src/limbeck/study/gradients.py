"""Sizes of the gradients of hard and soft loss, for an untrained student."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limbeck.data import Dataset, Split
from limbeck.data.dataset import as_float
from limbeck.losses import StackedObjective, is_labelled
from limbeck.models.output import logits_of
from limbeck.run.finding import NOTE, WARNING, Finding
from limbeck.study.arms import ArmPlan, build
from limbeck.teacher.signal import LiveTeacher

MAX_BATCH, MAX_BLOCKS = 256, 8
"""Maximum number of samples in the batch, and of blocks of text."""
MAX_RATIO = 30.0
"""Ratio of the two gradients above which the smaller one hardly matters."""


@dataclass(frozen=True)
class Gradients:
    """Norms of the gradients of the weighted losses of an arm.

    Attributes:
        hard: Norm of the gradient of ``hard_weight`` times the hard loss.
        soft: Norm of the gradient of ``soft_weight`` times the soft loss.
    """

    hard: float
    soft: float


def examine_losses(
    plan: ArmPlan, teacher: LiveTeacher, data: Dataset, pool: Split, batch_size: int
) -> list[Finding]:
    """Compare the gradients of the two losses of an arm at its weights and temperature.

    Args:
        plan: Arm with all defaults filled in.
        teacher: Trained teacher.
        data: Dataset of the study.
        pool: Samples that the transfer set selects from.
        batch_size: Batch size of the training.

    Returns:
        One finding; none for an arm without hard or soft loss.
    """
    objective = plan.objective
    rows, labels = plan.transfer.select(pool, data.class_names)
    count = min(batch_size, MAX_BATCH if data.positions is None else MAX_BLOCKS)
    if data.positions is not None:  # a text may be large
        rows, labels = rows[:count], labels[:count]
    mask = is_labelled(labels)
    if objective.hard_weight == 0 or objective.soft_weight == 0 or not bool(mask.any()):
        return []
    if data.positions is None:  # labelled samples first, so that the batch has some
        order = (~mask).int().argsort(stable=True)
        rows, labels = rows[order], labels[order]
    x = as_float(pool.inputs[rows[:count]])
    student = build(plan.student, data, 0).train()
    loss = StackedObjective([objective.for_labels(labels, data.classes)], scale=data.target_scale)
    return [_finding(plan, gradients(student, teacher.answer(x), loss, x, labels[:count]))]


def gradients(
    student: nn.Module, answers: Tensor, stacked: StackedObjective, x: Tensor, labels: Tensor
) -> Gradients:
    """Compute the norms of the gradients of the weighted losses.

    Args:
        student: Student.
        answers: Logits of the teacher, ``[B, C]``, or ``[B, T, C]`` for text.
        stacked: Objective of the student.
        x: Inputs, ``[B, ...]``.
        labels: Labels, ``[B]``, ``[B, T]`` for text or ``[B, D]`` for regression.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        logits = logits_of(student(x.clone()), len(x), "student")
    classes = logits.shape[-1]
    if not labels.is_floating_point():
        labels = labels.flatten().long()
    (objective,) = stacked.objectives
    terms = stacked(logits.reshape(1, -1, classes), answers.to(logits).reshape(-1, classes), labels)
    weights = [weight for weight in student.parameters() if weight.requires_grad]
    norms = []
    for weight, term in (
        (objective.hard_weight, terms.hard),
        (objective.soft_weight, terms.soft),
    ):
        parts = torch.autograd.grad(weight * term[0], weights, retain_graph=True, allow_unused=True)
        squares = [float(part.double().square().sum()) for part in parts if part is not None]
        norms.append(math.sqrt(sum(squares)))
    return Gradients(*norms)


def _finding(plan: ArmPlan, norms: Gradients) -> Finding:
    objective, (hard, soft) = plan.objective, (norms.hard, norms.soft)
    evidence = (
        f"Norms at hard_weight={objective.hard_weight:g}, soft_weight={objective.soft_weight:g}, "
        f"temperature={objective.temperature:g}, for one batch of the untrained student: "
        f"{hard:.2g} (hard), {soft:.2g} (soft)."
    )
    names = {"hard": (hard, soft), "soft": (soft, hard)}
    for name, (own, other) in names.items():
        if own * MAX_RATIO < other:
            larger = "soft" if name == "hard" else "hard"
            text = (
                f"arms.{plan.name}: the gradient of the {larger} loss is much larger than that of "
                f"the {name} loss."
            )
            remedy = _remedy(plan, name, other / own if own > 0 else math.inf)
            return Finding(
                level=WARNING, subject="loss", text=text, evidence=evidence, remedy=remedy
            )
    text = f"arms.{plan.name}: both losses contribute to the gradient."
    return Finding(level=NOTE, subject="loss", text=text, evidence=evidence)


def _remedy(plan: ArmPlan, name: str, ratio: float) -> str:
    """Return the setting that makes the two gradients about equally large."""
    objective = plan.objective
    if name == "soft" and not objective.scale_by_t2 and objective.temperature > 1:
        return "objective.scale_by_t2=true"
    if not math.isfinite(ratio):
        return ""
    weight = getattr(objective, f"{name}_weight") * ratio
    return f"objective.{name}_weight={float(f'{weight:.1g}'):g}"
