"""The teachers' logits and results, from their models or from a file of answers."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from limbeck.data import Split
from limbeck.data.batches import EvaluationBatches
from limbeck.data.resampling import ResampledSplits
from limbeck.evaluation.metrics import mean_and_sd
from limbeck.models import count_parameters
from limbeck.run.metrics import AnyMetrics
from limbeck.run.summary import TeacherResult
from limbeck.teacher.file_teacher import DatasetAnswers
from limbeck.teacher.signal import COMBINE, LiveTeacher

Teachers: TypeAlias = Sequence[LiveTeacher | DatasetAnswers]
"""Teacher of each training and validation split: one for all, or one for each; empty without."""
T = TypeVar("T")


def val_logits(teachers: Teachers, splits: ResampledSplits) -> list[Tensor | None]:
    """Return the logits for each validation split; None where a file of answers has none."""
    logits: list[Tensor | None] = []
    for number in range(splits.count):
        teacher = teachers[number] if teachers else None
        if teacher is None:
            logits.append(None)
        elif isinstance(teacher, DatasetAnswers):
            logits.append(teacher.val_logits(number))
        else:
            logits.append(answer_split(teacher, splits.val(number)))
    return logits


def test_logits(teachers: Teachers, test: Split) -> list[Tensor]:
    """Return the test logits of each teacher; empty if a file of answers has none."""
    logits = []
    for teacher in dict.fromkeys(teachers):
        if not isinstance(teacher, DatasetAnswers):
            logits.append(answer_split(teacher, test))
        elif (answers := teacher.test_logits()) is not None:
            logits.append(answers)
    return logits


def one_per_split(items: Sequence[T], count: int) -> list[T]:
    """Repeat a single item for all splits."""
    return list(items) * count if len(items) == 1 else list(items)


def answer_split(teacher: LiveTeacher, split: Split) -> Tensor:
    """Return a teacher's logits ``[N, C]`` for a split."""
    batches = EvaluationBatches(split, models=teacher.models)
    return torch.cat([teacher(batch.x[0]).cpu() for batch in batches])


def describe_teachers(
    teachers: Teachers, val: Sequence[AnyMetrics], test: Sequence[AnyMetrics]
) -> TeacherResult:
    """Return the name, size and metrics of the teacher; means if each split has its own.

    Args:
        teachers: Teacher of each split.
        val: Metrics on each validation split; empty where a file of answers has none.
        test: Test metrics of each teacher.
    """
    name, params = _describe(teachers[0])
    mean_val = None
    if val:
        mean_val = val[0] if len(val) == 1 else mean_and_sd(val)[0]
    if len(test) == 1:
        return TeacherResult(name=name, params=params, val=mean_val, test=test[0])
    mean, sd = mean_and_sd(test)
    return TeacherResult(name=name, params=params, val=mean_val, test=mean, sd=sd)


def _describe(teacher: LiveTeacher | DatasetAnswers) -> tuple[str, int]:
    """Name and number of parameters; a file of answers has none."""
    if isinstance(teacher, DatasetAnswers):
        return f"answers of {PurePath(teacher.answers.where).name}", 0
    name = teacher.name
    if len(teacher.models) > 1 and teacher.combine in COMBINE:
        name += f" ({teacher.combine})"
    return name, sum(count_parameters(model) for model in teacher.models)
