"""Arms and teacher of a study, as users describe them, and arms with all defaults filled in."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck._base.checks import MAX_SEEDS, check_count, check_seed
from limbeck._base.errors import (
    OUT_OF_MEMORY,
    ConfigError,
    LimbeckError,
    ResourceError,
    is_memory_error,
)
from limbeck.data import Dataset, NoViews, TransferSet, Views
from limbeck.losses import Objective
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
        epochs: Number of training epochs, 0 for none; None for the study's.
        control: Name of the arm to compare with, or several names; None for the control that
            differs in the objective alone.
        choice: Name of a group of arms, of which only the best on the validation split is scored on
            the test split and compared; None to score this arm in any case.
    """

    objective: Objective
    student: Builder | None = None
    views: Views | None = None
    transfer: TransferSet | None = None
    optimizer: Optimizer | None = None
    epochs: int | None = None
    control: str | Sequence[str] | None = None
    choice: str | None = None


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
        members: Number of models to train; the teacher is their mean. Or a list of unlike teachers,
            each of which is trained once, or as many times as its own ``members``.
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
    members: "int | Sequence[Teacher]" = 1
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
        self._check_members()
        check_seed("teacher.seed", self.seed)
        if self.key is not None and self.source is None:
            raise ConfigError(
                f"teacher.key={self.key} is for a teacher from a file. Set teacher.from=FILE, too."
            )
        if self.combine not in COMBINE:
            raise ConfigError(
                f"teacher.combine={self.combine!r} is unknown; choose one of {', '.join(COMBINE)}."
            )
        has_model = self.model is not None or not isinstance(self.members, int)
        if self.source is None and not has_model and self.estimator is None:
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

    def _check_members(self) -> None:
        if isinstance(self.members, int) or not isinstance(self.members, (list, tuple)):
            check_count("teacher.members", self.members)
        elif not self.members:
            raise ConfigError("teacher.members=[] names no member.")
        elif self.source is not None or self.estimator is not None:
            raise ConfigError(
                "teacher.members lists models to train, so it cannot be combined with teacher.from "
                "or an estimator. List models from files in teacher.from."
            )
        else:
            for member in self.members:
                check_member(member)
        if self.size_of_ensemble > MAX_SEEDS:
            raise ConfigError(
                f"teacher.members={self.size_of_ensemble} is more than a study can hold "
                f"({MAX_SEEDS:,})."
            )

    @property
    def kinds(self) -> "tuple[Teacher, ...]":
        """How each member is trained, in order."""
        if isinstance(self.members, int):
            return (self,) * self.members
        return tuple(kind for member in self.members for kind in member.kinds)

    @property
    def size_of_ensemble(self) -> int:
        """Number of members."""
        if isinstance(self.members, int):
            return self.members
        return sum(member.size_of_ensemble for member in self.members)

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


def check_member(member: object) -> None:
    """Check that one of several unlike members can be trained.

    Args:
        member: Settings of the member.

    Raises:
        ConfigError: If it is no teacher with a model, or has members or a seed of its own.
    """
    if not isinstance(member, Teacher) or member.model is None or member.source is not None:
        raise ConfigError(
            "Each of teacher.members should be a teacher to train, as in "
            "Teacher(model=partial(MLP, hidden=[800]), epochs=20)."
        )
    if not isinstance(member.members, int):
        raise ConfigError("Members of teacher.members cannot list members themselves.")
    if member.seed != 0:
        raise ConfigError(
            "A member of teacher.members has no seed of its own: the first one has that of the "
            "teacher, and each further one the next integer. Set teacher.seed."
        )


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
        choice: Group of arms of which validation chooses one; None for no choice.
        candidates: Number of arms among which validation chose this one; None for no choice.
        edge: Settings whose largest or smallest value validation chose, such as
            ``optimizer.lr=0.01, the largest``; None for none.
        is_reference: Whether its students are there for reference alone and never exported.
    """

    name: str
    objective: Objective
    student: Builder
    views: Views
    transfer: TransferSet
    optimizer: Optimizer
    epochs: int
    control: tuple[str, ...]
    choice: str | None = None
    candidates: int | None = None
    edge: str | None = None
    is_reference: bool = False

    @property
    def is_control(self) -> bool:
        """Whether the arm is trained without the teacher."""
        return not self.objective.needs_teacher

    def student_name(self, seed: int) -> str:
        """Name of a student in the manifest."""
        return f"{self.name}/seed{seed}"

    def shares_cohort_with(self, other: "ArmPlan") -> bool:
        """Whether two arms can be stacked: only their objectives and learning rates may differ."""
        rate = self.optimizer.lr
        return replace(other, optimizer=replace(other.optimizer, lr=rate)).trains_like(self)

    def trains_like(self, other: "ArmPlan") -> bool:
        """Whether two arms have the same architecture, inputs, optimizer and epochs."""
        schedule, other_schedule = (self.optimizer, self.epochs), (other.optimizer, other.epochs)
        return schedule == other_schedule and self.has_same_inputs_as(other)

    def has_same_inputs_as(self, other: "ArmPlan") -> bool:
        """Whether two arms have the same architecture and the same inputs."""
        inputs, other_inputs = (self.views, self.transfer), (other.views, other.transfer)
        return self.student == other.student and inputs == other_inputs


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
    return Normalized(model, *data.normalization)
