"""A word on a teacher that has learned nothing, before students are trained with it."""

import warnings

import torch
from scipy import stats

from limbeck._base.errors import LimbeckWarning
from limbeck.data import Dataset
from limbeck.study.arms import Teacher
from limbeck.teacher.examination import CHANCE_LEVEL, MIN_SAMPLES_OF_CHANCE
from limbeck.training.task import DistillationTask


def warn_if_untaught(task: DistillationTask, data: Dataset, plan: Teacher) -> None:
    """Warn if a trained classifier is no better on validation samples than the commonest class.

    Args:
        task: Training of the teacher, which has finished.
        data: Dataset of the study.
        plan: Settings of the teacher.
    """
    if data.positions is not None or not data.kind.has_classes or data.val.labels.ndim != 1:
        return
    scalars = task.val_scalars(lambda values: values)
    accuracies = [value for name, value in scalars.items() if name.endswith("val_acc")]
    counts = torch.bincount(data.val.labels, minlength=data.classes)
    samples = len(data.val.labels)
    share = float(counts.max()) / samples
    if not accuracies or samples < MIN_SAMPLES_OF_CHANCE:
        return
    correct = round(max(accuracies) * samples)
    if stats.binomtest(correct, samples, share, alternative="greater").pvalue < CHANCE_LEVEL:
        return
    warnings.warn(
        f"The teacher has not learned: it is right on {max(accuracies):.1%} of the validation "
        f"samples, and {data.class_names[int(counts.argmax())]} as the answer to all would be on "
        f"{share:.1%}. Change teacher.optimizer.lr (now {plan.optimizer.lr:g}; 2e-5 to 1e-4 are "
        "usual for a pretrained encoder), or train it longer (teacher.epochs).",
        LimbeckWarning,
        stacklevel=2,
    )
