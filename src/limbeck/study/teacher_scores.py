"""The teacher's logits and results, from its models or from a file of answers."""

from pathlib import PurePath

import torch
from torch import Tensor

from limbeck.data import Split
from limbeck.data.batches import EvaluationBatches
from limbeck.models import count_parameters
from limbeck.run.metrics import AnyMetrics
from limbeck.run.summary import TeacherResult
from limbeck.teacher.file_teacher import DatasetAnswers
from limbeck.teacher.signal import LiveTeacher


def teacher_logits(
    teacher: LiveTeacher | DatasetAnswers | None, val: Split, test: Split
) -> tuple[Tensor | None, Tensor | None]:
    """Return the teacher's logits for both splits; None where a file of answers has none."""
    if teacher is None:
        return None, None
    if isinstance(teacher, DatasetAnswers):
        return teacher.val_logits(), teacher.test_logits()
    return answer_split(teacher, val), answer_split(teacher, test)


def answer_split(teacher: LiveTeacher, split: Split) -> Tensor:
    """Return a teacher's logits ``[N, C]`` for a split."""
    return torch.cat([teacher(batch.x[0]).cpu() for batch in EvaluationBatches(split)])


def describe_teacher(
    teacher: LiveTeacher | DatasetAnswers, val: AnyMetrics | None, test: AnyMetrics
) -> TeacherResult:
    """Return the name, size and metrics of a teacher; a file of answers has no parameters."""
    if isinstance(teacher, DatasetAnswers):
        name = f"answers of {PurePath(teacher.answers.where).name}"
        return TeacherResult(name=name, params=0, val=val, test=test)
    name = teacher.name
    if len(teacher.models) > 1:
        name += f" ({teacher.combine})"
    params = sum(count_parameters(model) for model in teacher.models)
    return TeacherResult(name=name, params=params, val=val, test=test)
