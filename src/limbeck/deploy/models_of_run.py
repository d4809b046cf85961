"""Teacher, control and student of a finished run, for a side-by-side comparison."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from torch import Tensor, nn

from limbeck._base.errors import ConfigError, DataError
from limbeck.data import Dataset
from limbeck.data.class_names import class_order_hint
from limbeck.data.resampling import ResampledSplits
from limbeck.deploy.choice import choose_student
from limbeck.losses.tasks import TASKS
from limbeck.models import load_model
from limbeck.models.files.weights import WEIGHTS
from limbeck.report.arm_styles import styles_of
from limbeck.report.formats import nats
from limbeck.report.palette import name_of
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import read_manifest
from limbeck.run.metrics import (
    AnyMetrics,
    MultiLabelMetrics,
    RegressionMetrics,
    TextMetrics,
    VectorMetrics,
)
from limbeck.run.saved_files import check_model_folders, check_results
from limbeck.run.summary import Summary, read_summary
from limbeck.teacher.adapter import adapter_of
from limbeck.teacher.files import NoCopyError, load_member
from limbeck.teacher.lookup import LookupTeacher
from limbeck.teacher.signal import LiveTeacher, combine_for

Build = Callable[[str], nn.Module]
"""Function from the name of an arm to its untrained student."""
Function = TypeVar("Function", bound=Callable[..., Any])


def reads_run(function: Function) -> Function:
    """Let a function keep other processes from changing the run that it reads.

    Args:
        function: Function whose first argument is ``run``, the folder of a run.
    """

    @wraps(function)
    def wrapper(run: str | Path, *arguments: Any, **options: Any) -> Any:
        with RunFolder(run).keep_unchanged():
            return function(run, *arguments, **options)

    return cast(Function, wrapper)


@dataclass(frozen=True)
class RunModel:
    """One model of a run.

    Attributes:
        role: ``teacher``, ``control`` or ``student``.
        name: Name of the arm, or ``teacher``.
        description: Architecture, size and test result.
        logits: Function from inputs ``[N, ...]`` to logits ``[N, classes]``. For text, from tokens
            ``[N, T]`` to logits ``[N, T, vocabulary]``.
        colour: Name of its colour in the report, see :mod:`limbeck.report.palette`.
    """

    role: str
    name: str
    description: str
    logits: Callable[[Tensor], Tensor]
    colour: str = "teacher"


class ModelsOfRun(NamedTuple):
    """Models of a run, and why there may be no teacher among them.

    Attributes:
        models: Teacher, control and student.
        note: Sentence that says why the teacher is missing, or empty.
    """

    models: list[RunModel]
    note: str = ""


def models_of_run(
    run: str | Path,
    *,
    arm: str | None = None,
    seed: int | None = None,
    combine: str = "probabilities",
    build: Build | None = None,
) -> list[RunModel]:
    """Load the teacher, the control and the student of a run.

    Args:
        run: Folder of a finished run.
        arm: Arm of the student. None for the best distilled one on the validation split.
        seed: Seed of the student. None for the best one on the validation split.
        combine: Rule by which the run combined the answers of several teachers.
        build: Function that takes the name of an arm and returns its untrained student, for your
            own classes.

    Raises:
        ConfigError: If the run has no such student, or another process works in its folder.
    """
    return load_models(run, arm=arm, seed=seed, combine=combine, build=build).models


@reads_run
def load_models(
    run: str | Path,
    *,
    arm: str | None = None,
    seed: int | None = None,
    combine: str = "probabilities",
    build: Build | None = None,
) -> ModelsOfRun:
    """Load the models of a run as :func:`models_of_run` does, and say why there is no teacher."""
    folder = RunFolder(run)
    check_results(folder, folder.summary)
    summary = read_summary(folder)
    arm, seed = choose_student(summary, arm, seed)
    models = []
    teacher, note = _load_answering_teacher(folder, summary, arm, seed, combine)
    if teacher is not None:
        models.append(teacher)
    control = next((c.control for c in summary.comparisons if c.arm == arm), None)
    if control is not None:
        models.append(_student("control", control, seed, summary, folder, build))
    models.append(_student("student", arm, seed, summary, folder, build))
    return ModelsOfRun(models, note)


def _load_answering_teacher(
    folder: RunFolder, summary: Summary, arm: str, seed: int, combine: str
) -> tuple[RunModel | None, str]:
    """Load the teacher of a student, or return why it cannot answer new inputs."""
    if summary.answers is not None:
        return None, (
            "The students learned from a file of answers, so there is no teacher that answers new "
            "inputs."
        )
    entry = summary.teacher
    if entry is None:
        return None, "The run has no teacher."
    members = load_teacher(folder, _split_with_teacher(summary, arm, seed))
    if not members:
        return None, (
            "The teacher was an object of a Python program, of which the run folder holds no copy."
        )
    if any(map(_is_lookup, members)):
        return None, (
            "The teacher is an estimator, of which the run folder holds the answers to its samples "
            "alone, so it does not answer new inputs."
        )
    answer = LiveTeacher(members, combine=_combine_for(summary, combine)).answer
    is_own_measure = isinstance(entry.test, VectorMetrics)  # it would miss no neighbour of its own
    description = _describe(entry.name, entry.params, None if is_own_measure else entry.test)
    return RunModel("teacher", "teacher", description, answer), ""


def _combine_for(summary: Summary, combine: str = "probabilities") -> str:
    """Return how outputs of the kind that a run has are combined, and read."""
    return combine_for(TASKS[summary.data.task or "classes"].outputs, combine)


def _is_lookup(model: nn.Module) -> bool:
    """Whether a model answers no new inputs."""
    return isinstance(adapter_of(model), LookupTeacher)


def check_data_of_run(folder: RunFolder, data: Dataset) -> None:
    """Check that a dataset is the one that a run used.

    Raises:
        DataError: If its digest differs.
    """
    if read_manifest(folder).digests.get("data") == data.digest():
        return
    if data.tokenizer is not None:
        raise DataError(
            f"{folder.path}: the text differs from the one the run used, so its tokens may differ, "
            "too. Restore the original text."
        )
    raise DataError(
        f"{folder.path}: the dataset differs from the one the run used. Restore the original data."
        f"{class_order_hint(data.class_names)}"
    )


def data_of_student(data: Dataset, summary: Summary, arm: str, seed: int) -> Dataset:
    """Return the dataset with the training and validation split of a student.

    Args:
        data: Dataset of the run.
        summary: Summary of the run.
        arm: Name of the arm.
        seed: Seed of the student.
    """
    split = _split_of(summary, arm, seed)
    return ResampledSplits(data, [seed], split + 1).dataset(split)


def _split_of(summary: Summary, arm: str, seed: int) -> int:
    """Number of the training and validation split of a student."""
    student = next(entry for entry in summary.arm(arm).seeds if entry.seed == seed)
    return student.split or 0


def _split_with_teacher(summary: Summary, arm: str, seed: int) -> int:
    """Number of the split whose teacher taught a student; one teacher may serve all splits."""
    has_own = summary.teacher is not None and summary.teacher.sd is not None
    return _split_of(summary, arm, seed) if has_own else 0


def load_teacher(run: RunFolder, split: int = 0) -> list[nn.Module]:
    """Load the members of the teacher of a run.

    Args:
        run: Folder of the run.
        split: Number of the training and validation split, if each has a teacher.

    Returns:
        The members; none if the teacher was an object of a Python program, of which a run folder
        holds no copy.

    Raises:
        UntrustedFileError: If a file is damaged, or not the one that the run saved.
    """
    folders = run.teachers(split)
    check_model_folders(run, folders)
    try:
        return [load_member(folder / WEIGHTS).model for folder in folders]
    except NoCopyError:
        return []


def load_student(run: RunFolder, path: Path, arm: str, build: Build | None) -> nn.Module:
    """Load the student of an arm.

    Args:
        run: Folder of the run.
        path: Folder of the student.
        arm: Name of the arm.
        build: Function that takes the name of an arm and returns its untrained student. None for
            models that limbeck can rebuild itself.

    Raises:
        ConfigError: If ``build`` does not take the name of an arm.
        TeacherError: If the weights do not fit.
        UntrustedFileError: If a file is damaged, or not the one that the run saved.
    """
    if build is not None:
        _check_takes_arm(build)
    check_model_folders(run, [path])
    return load_model(path, None if build is None else partial(build, arm)).model


def _check_takes_arm(build: Build) -> None:
    try:
        inspect.signature(build).bind("arm")
    except TypeError:
        raise ConfigError(
            "build should take the name of an arm and return its untrained student, such as "
            "build=lambda arm: build_model()."
        ) from None
    except ValueError:  # a function of C has no signature
        return


def _student(
    role: str,
    arm: str,
    seed: int,
    summary: Summary,
    folder: RunFolder,
    build: Build | None,
) -> RunModel:
    model = load_student(folder, folder.student(arm, seed), arm, build)
    entry = summary.arm(arm)
    result = next(result for result in entry.seeds if result.seed == seed)
    description = _describe(entry.student, entry.params, result.test)
    colour = name_of(styles_of(summary)[arm].colour)
    answer = LiveTeacher(model, combine=_combine_for(summary)).answer
    return RunModel(role, arm, description, answer, colour)


def _describe(architecture: str, parameters: int, test: AnyMetrics | None) -> str:
    size = f", {parameters:,} parameters" if parameters else ""
    if test is None:
        return f"{architecture}{size}"
    if isinstance(test, TextMetrics):
        result = f"{test.bits_per_byte:.3f} bits per byte"
    elif isinstance(test, RegressionMetrics):
        result = f"R² {nats(test.r_squared)}"
    elif isinstance(test, MultiLabelMetrics):
        result = f"{test.label_errors:,} wrong labels in the test split"
    elif isinstance(test, VectorMetrics):
        result = f"misses {test.missed_neighbours:.2f} of 10 neighbours in the test split"
    else:
        result = f"{test.errors:,} test errors"
    return f"{architecture}{size}, {result}"
