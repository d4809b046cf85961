"""Arms and teacher of a study, as users describe them, and arms with all defaults filled in."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck._base.checks import MAX_SEEDS, check_arm_names, check_count, check_seed
from limbeck._base.errors import (
    OUT_OF_MEMORY,
    ConfigError,
    LimbeckError,
    ResourceError,
    is_memory_error,
)
from limbeck.data import Dataset, NoViews, TransferSet, Views
from limbeck.losses import TASKS, Objective, Task
from limbeck.models import Normalized, Regressor, TableEncoder, TableModel
from limbeck.models.normalizations import Normalization, check_normalization
from limbeck.models.normalized import image_size
from limbeck.study.from_teacher import StudentOfTeacher
from limbeck.study.texts import prepare_for_texts, text_arguments
from limbeck.teacher.outputs import TeacherOutputs
from limbeck.teacher.signal import COMBINE
from limbeck.training.optimizer import Optimizer

Builder = Callable[..., nn.Module]
"""Function that builds an untrained model; may take the arguments ``shape`` and ``classes``.

One for students may also take the model of the ``teacher``, to start from its weights.
"""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train a student.

    Attributes:
        objective: Loss of the student; ``soft_weight=0`` makes the arm a control.
        student: Function that builds the untrained student; None for the study's.
        views: Views of the inputs; None for the study's.
        transfer: Samples that the student is trained on; None for the study's.
        optimizer: Optimizer of the student; None for the study's.
        epochs: Number of training epochs; None for the study's.
        control: Name of the arm to compare with, or several names; None for the control that
            differs in the objective alone.
    """

    objective: Objective
    student: Builder | None = None
    views: Views | None = None
    transfer: TransferSet | None = None
    optimizer: Optimizer | None = None
    epochs: int | None = None
    control: str | Sequence[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A teacher to train or to load.

    Attributes:
        model: Function that builds the untrained teacher; needed to train it, and to load weights
            without a ``model.json``.
        estimator: Estimator to fit in place of a model: an object with ``fit`` and
            ``predict_proba``, as those of scikit-learn, or a function from the dataset to one. Each
            training split and member has its own copy. Of these, the run folder holds the answers
            to the samples.
        folds: Number of parts into which the training samples are divided for an estimator. It
            answers each part after a fit without it, so that its answers to training samples are
            those to new samples. None for a single fit on all of them.
        epochs: Number of training epochs.
        batch_size: Batch size of the training.
        optimizer: Optimizer of the training.
        views: Views of the inputs in training.
        members: Number of models to train; the teacher is their mean.
        combine: Outputs of the members to average: ``probabilities`` or ``logits``.
        seed: Seed of the first member; each further member uses the next integer.
        source: Run folders, model folders, files of weights (safetensors, or a state dict of
            ``torch.save``), ONNX models, bundles or exported programs to load instead of training.
            Each may also be a :class:`Teacher` with settings of its own.
        key: Model to take from a file with several: its key in the checkpoint, such as ``ema``, or
            the first part of the names of its tensors.
        trust_pickle: Whether to run the code in a file of ``torch.save`` that holds more than
            tensors, or of ``torch.export``.
        classes: Names of the outputs of a teacher from files, in their order, with None for outputs
            that are no class of the data; None for those of its ``model.json`` or of the data.
        map: File with these names: one per line, or JSON.
        outputs: Kind of the outputs of a teacher from files: ``logits`` or ``probabilities``.
        normalization: Normalisation with which a teacher from files was trained: ``none`` (inputs
            from 0 to 1), ``symmetric`` (-1 to 1), ``imagenet``, ``data``, or ``mean`` and ``std``;
            None for that of its file.
        size: Height and width, or the side of a square, for which a teacher from files was trained.
            Images are resized to it; None for the size of the data.

    Raises:
        ConfigError: If a value is out of range, or neither ``model`` nor ``source`` is set.
    """

    model: Builder | None = None
    estimator: Any = None
    folds: int | None = None
    epochs: int = 20
    batch_size: int = 256
    optimizer: Optimizer = field(default_factory=lambda: Optimizer(schedule="one_cycle"))
    views: Views = field(default_factory=NoViews)
    members: int = 1
    combine: str = "probabilities"
    seed: int = 0
    source: "Sequence[str | Path | Teacher] | None" = None
    key: str | None = None
    trust_pickle: bool = False
    classes: Sequence[str | None] | None = None
    map: str | Path | None = None
    outputs: str = "logits"
    normalization: Normalization | None = None
    size: int | Sequence[int] | None = None

    def __post_init__(self) -> None:
        check_count("teacher.epochs", self.epochs)
        check_count("teacher.batch_size", self.batch_size)
        check_count("teacher.members", self.members)
        if self.members > MAX_SEEDS:
            raise ConfigError(
                f"teacher.members={self.members} is more than a study can hold ({MAX_SEEDS:,})."
            )
        check_seed("teacher.seed", self.seed)
        if self.key is not None and self.source is None:
            raise ConfigError(
                f"teacher.key={self.key} is for a teacher from a file. Set teacher.from=FILE, too."
            )
        if self.combine not in COMBINE:
            raise ConfigError(
                f"teacher.combine={self.combine!r} is unknown; choose one of {', '.join(COMBINE)}."
            )
        if self.source is None and self.model is None and self.estimator is None:
            raise ConfigError(
                "A teacher needs a model to train (teacher.model) or files to load (teacher.from)."
            )
        self._check_estimator()
        if self.normalization is not None:
            check_normalization(self.normalization)
        if self.size is not None:
            image_size(self.size)
        is_adapted = self.output_settings.is_given or self.normalization is not None
        if self.source is None and (is_adapted or self.size is not None):
            raise ConfigError(
                "teacher.classes, map, outputs, normalization and size describe a teacher from "
                "files. Set teacher.from, or remove them."
            )
        for part in self.source or ():
            if isinstance(part, Teacher) and part.source is None:
                raise ConfigError("A teacher among others has to come from files: set its source.")

    def _check_estimator(self) -> None:
        estimator = self.estimator
        if self.folds is not None:
            check_count("teacher.folds", self.folds)
            if self.folds < 2 or estimator is None:
                raise ConfigError(
                    f"teacher.folds={self.folds} is a number of parts for an estimator: at least "
                    "2, or null for a single fit. Other teachers have none."
                )
        if estimator is None:
            return
        if self.model is not None:
            raise ConfigError("A teacher is a model or an estimator, not both.")
        if isinstance(estimator, type) or not (hasattr(estimator, "fit") or callable(estimator)):
            raise ConfigError(
                f"teacher.estimator={estimator!r} should be an object with fit and predict_proba, "
                "or a function from the dataset to one."
            )

    def input_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the inputs of a teacher from files.

        Args:
            shape: Shape of an input of the data.
        """
        if self.size is None:
            return tuple(shape)
        return (*shape[:-2], *image_size(self.size))

    @cached_property
    def output_settings(self) -> TeacherOutputs:
        """What the outputs of a teacher from files are."""
        return TeacherOutputs(classes=self.classes, map=self.map, kind=self.outputs)


@dataclass(frozen=True)
class ArmPlan:
    """An arm with all defaults filled in.

    Attributes:
        name: Name of the arm.
        objective: Loss of the student.
        student: Function that builds the untrained student.
        views: Views of the inputs.
        transfer: Samples that the student is trained on.
        optimizer: Optimizer of the student.
        epochs: Number of training epochs.
        control: Names of the arms to compare with; empty to choose a control automatically.
    """

    name: str
    objective: Objective
    student: Builder
    views: Views
    transfer: TransferSet
    optimizer: Optimizer
    epochs: int
    control: tuple[str, ...]

    @property
    def is_control(self) -> bool:
        """Whether the arm is trained without the teacher."""
        return not self.objective.needs_teacher

    def student_name(self, seed: int) -> str:
        """Name of a student in the manifest."""
        return f"{self.name}/seed{seed}"

    def shares_cohort_with(self, other: "ArmPlan") -> bool:
        """Whether two arms have the same architecture, inputs, optimizer and epochs."""
        schedule, other_schedule = (self.optimizer, self.epochs), (other.optimizer, other.epochs)
        return schedule == other_schedule and self.has_same_inputs_as(other)

    def has_same_inputs_as(self, other: "ArmPlan") -> bool:
        """Whether two arms have the same architecture and the same inputs."""
        inputs, other_inputs = (self.views, self.transfer), (other.views, other.transfer)
        return self.student == other.student and inputs == other_inputs


def plan_arms(
    arms: Mapping[str, Arm], defaults: Arm, task: Task = TASKS["classes"]
) -> list[ArmPlan]:
    """Fill in the settings that arms leave to the study.

    Args:
        arms: Arms by name.
        defaults: The study's student, views, transfer set, optimizer and epochs.
        task: Kind of target, whose losses take the place of the default ones.

    Raises:
        ConfigError: If a name is invalid, an arm has no student, or its control is not an arm.
    """
    check_arm_names(list(arms))
    assert defaults.optimizer is not None
    assert defaults.epochs is not None
    plans = []
    for name, arm in arms.items():
        if not isinstance(arm, Arm):
            raise ConfigError(
                f"arms.{name} should be a limbeck.Arm, but is of type {type(arm).__name__}."
            )
        student = arm.student or defaults.student
        if student is None:
            raise ConfigError(f"arms.{name} has no student. Set one for the arm or for the study.")
        epochs = defaults.epochs
        if arm.epochs is not None:
            epochs = check_count(f"arms.{name}.epochs", arm.epochs)
        plan = ArmPlan(
            name=name,
            objective=_objective_of(arm, name, task),
            student=student,
            views=arm.views or defaults.views or NoViews(),
            transfer=arm.transfer or defaults.transfer or TransferSet(),
            optimizer=arm.optimizer or defaults.optimizer,
            epochs=epochs,
            control=_control_names(name, arm, arms),
        )
        plans.append(plan)
    return plans


def _objective_of(arm: Arm, name: str, task: Task) -> Objective:
    try:
        return arm.objective.for_task(task)
    except ConfigError as error:
        raise ConfigError(f"arms.{name}: {error}") from None


def _control_names(name: str, arm: Arm, arms: Mapping[str, Arm]) -> tuple[str, ...]:
    """Return the names of the controls of an arm, without duplicates."""
    if arm.control is None:
        return ()
    names = [arm.control] if isinstance(arm.control, str) else arm.control
    if not isinstance(names, Sequence):
        raise ConfigError(
            f"arms.{name}.control={names!r} should be the name of an arm, or a list of names."
        )
    controls = tuple(dict.fromkeys(map(str, names)))
    for control in controls:
        if control not in arms or control == name:
            others = ", ".join(other for other in arms if other != name)
            raise ConfigError(
                f"arms.{name}.control={control!r} is not another arm; choose one of {others}."
            )
    return controls


def controls_of(arm: ArmPlan, plans: Sequence[ArmPlan]) -> tuple[str, ...]:
    """Return the names of the arms to compare an arm with.

    If the arm names none, this is the first control that differs only in the objective, else the
    first with the same student and inputs, else the first with the same student. Controls are only
    compared with the arms that they name.
    """
    if arm.control or arm.is_control:
        return arm.control

    def same_student(plan: ArmPlan) -> bool:
        return plan.student == arm.student

    controls = [plan for plan in plans if plan.is_control]
    for matches in (arm.shares_cohort_with, arm.has_same_inputs_as, same_student):
        for control in controls:
            if matches(control):
                return (control.name,)
    return ()


def build(
    builder: Builder,
    data: Dataset,
    seed: int,
    *,
    shape: Sequence[int] | None = None,
    outputs: int | None = None,
) -> nn.Module:
    """Build an untrained model for the data with the initial weights of a seed.

    For regression the outputs are scaled to the units of the targets.

    The model normalises its inputs, unless the dataset is text. Rows of a table are encoded first,
    so the builder gets the shape of encoded rows. For texts of one class each, the builder may also
    take the number of embeddings (``vocabulary``) and the id of the ``padding``, and networks of
    transformers get a mask of it.

    Args:
        builder: Function that builds the model.
        data: Dataset of the study.
        seed: Seed of the initial weights.
        shape: Shape of an input; None for that of the data.
        outputs: Number of outputs; None for that of the classes.

    Raises:
        ConfigError: If the builder raises an error, or does not return a module.
        ResourceError: If memory ran out.
    """
    encoder = None
    if data.columns is not None:
        encoder = TableEncoder(data.columns.sizes, *data.statistics, data.gaps)
        shape = (encoder.width,)
    available: dict[str, Any] = {
        "shape": tuple(shape or data.shape),
        "classes": outputs or data.classes,
    }
    available |= text_arguments(data)
    if isinstance(builder, StudentOfTeacher):
        builder = builder.for_seed(seed)
    try:
        signature = inspect.signature(builder)
        takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
        arguments = {k: v for k, v in available.items() if takes_any or k in signature.parameters}
    except (TypeError, ValueError):
        arguments = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = builder(**arguments)
        except LimbeckError:
            raise
        except Exception as error:  # a builder of the user may raise anything
            if is_memory_error(error):
                raise ResourceError(
                    f"{OUT_OF_MEMORY} ran out while a model was built ({error}). Make it smaller."
                ) from None
            reason = " ".join(str(error).split()) or type(error).__name__
            reason = reason.replace(".__init__()", "")  # MLP got an unexpected keyword argument
            raise ConfigError(f"The model could not be built: {reason}.") from error
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"A model should be a torch.nn.Module; the builder returned {type(model).__name__}."
        )
    if not model.training:
        model.train()
    if data.target_statistics is not None and outputs is None:
        model = Regressor(model, *data.target_statistics)
    if data.tokenizer is not None:
        return prepare_for_texts(model, data)
    if encoder is not None:
        return TableModel(model, encoder)
    return Normalized(model, *data.statistics)
