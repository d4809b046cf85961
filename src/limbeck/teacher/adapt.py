"""What users pass as a teacher, as modules from inputs to logits."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from limbeck._base.errors import ConfigError, TeacherError
from limbeck.teacher.checks import check_weights
from limbeck.teacher.estimator import (
    Estimator,
    EstimatorTeacher,
    LabelsTeacher,
    RegressionEstimator,
    RegressionTeacher,
)
from limbeck.teacher.files import find_members, load_member, load_other
from limbeck.teacher.function import FunctionTeacher
from limbeck.teacher.program import ProgramTeacher
from limbeck.teacher.signal import VALUES, LiveTeacher

Model: TypeAlias = nn.Module | Estimator | torch.export.ExportedProgram | Callable[..., Any]
TeacherModels: TypeAlias = Model | str | Path | Sequence[Model | str | Path]
"""A model of any kind, a file or folder of one, or several of them."""
FORMS = (
    "a torch.nn.Module, an estimator with predict_proba, a program of torch.export, a function "
    "from a batch to logits, the path of a model, or a list of these"
)


def as_models(
    teacher: object, class_names: Sequence[str] | None = None, *, outputs: str = "classes"
) -> list[nn.Module]:
    """Return the models of a teacher as modules from inputs to logits, or to values.

    Args:
        teacher: A model or several, see :data:`TeacherModels`.
        class_names: Names of the classes of the data; None if its classes are numbers from 0.
        outputs: Kind of its outputs, see :class:`limbeck.losses.Task`.

    Raises:
        ConfigError: If it is none of these.
        TeacherError: If it does not fit the classes.
    """
    if isinstance(teacher, (list, tuple)):
        return [
            model for part in teacher for model in as_models(part, class_names, outputs=outputs)
        ]
    if isinstance(teacher, nn.Module):
        return [teacher]
    if isinstance(teacher, (str, Path)):
        return _load(Path(teacher), None if class_names is None else len(class_names))
    if isinstance(teacher, torch.export.ExportedProgram):
        return [ProgramTeacher(teacher)]
    if isinstance(teacher, type):
        raise ConfigError(
            f"The teacher is the class {teacher.__name__}; expected {FORMS}. Pass an "
            "object of the class."
        )
    if outputs == "values" and isinstance(teacher, RegressionEstimator):
        return [RegressionTeacher(teacher)]
    if outputs == "labels" and isinstance(teacher, Estimator):
        return [LabelsTeacher(teacher)]
    if isinstance(teacher, Estimator):
        return [EstimatorTeacher(teacher, class_names)]
    if hasattr(teacher, "fit") and hasattr(teacher, "predict"):
        raise TeacherError(
            f"The teacher {type(teacher).__name__} has no predict_proba, so it names a class but "
            "gives no probabilities. For scikit-learn, wrap it in CalibratedClassifierCV."
        )
    if callable(teacher):
        return [FunctionTeacher(teacher)]
    raise ConfigError(f"The teacher is of type {type(teacher).__name__}; expected {FORMS}.")


def as_signal(teacher: TeacherModels, *, outputs: str = "classes") -> LiveTeacher:
    """Return a teacher that answers each batch, for a training without a study.

    Args:
        teacher: A model or several.
        outputs: Kind of its outputs, see :class:`limbeck.losses.Task`.

    Raises:
        ConfigError: If it is of another type.
        TeacherError: If its weights are not finite.
    """
    models = as_models(teacher, outputs=outputs)
    for model in models:
        check_weights(model, "teacher")
    return LiveTeacher(models, combine="probabilities" if outputs == "classes" else VALUES)


def _load(path: Path, classes: int | None) -> list[nn.Module]:
    other = load_other(path, classes=classes)
    if other is not None:
        return [other.model]
    return [load_member(file).model for file in find_members(path)]
