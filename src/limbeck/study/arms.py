"""What a study is made of: arms, a teacher's plan, and how the students of the arms become cohorts."""

import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from limbeck._base.checks import check_arm_names, check_count, check_seed
from limbeck._base.errors import ConfigError, TeacherError
from limbeck.data import Dataset, NoViews, Split, TransferSet, Views
from limbeck.losses import Objective
from limbeck.models import Normalized
from limbeck.teacher.checks import check_vocabulary, probe
from limbeck.teacher.signal import COMBINE
from limbeck.training.cohort import stack as cohort
from limbeck.training.cohort.stack import Cohort, reason_not_to_stack
from limbeck.training.optimizer import Optimizer

Builder = Callable[..., nn.Module]
"""Makes an untrained model; called with those of ``shape`` and ``classes`` that it takes."""
T = TypeVar("T")
MOST_LOGITS = 1 << 28
"""Of all students of a cohort for one batch: 1 GiB in float32, of which a step needs several."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train one student.

    Attributes:
        objective: what it minimises; ``soft_weight=0`` makes it a control.
        student: makes the untrained student; None for the study's.
        views: of its inputs; None for the study's.
        transfer: the samples it sees; None for the study's.
        optimizer: how it is optimised; None for the study's.
        epochs: how long it is trained; None for the study's.
        control: the arm to compare with, or several; None for the one that differs in the objective
            alone.
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
    """How to get the teacher: by training, or from files.

    Attributes:
        model: makes the untrained teacher; needed to train, and to read weights without
            ``model.json``.
        epochs: of its training.
        batch_size: of its training.
        optimizer: of its training.
        views: of its inputs in training.
        members: how many to train; their mean is the teacher.
        combine: how the answers of several become one: ``probabilities`` or ``logits``.
        seed: of the first member; the others count on from it.
        source: run folders, model folders or files of weights (safetensors, or a state dict of
            ``torch.save``) to take instead of training.
        trust_pickle: run the code in a file of ``torch.save`` that holds more than tensors.
    """

    model: Builder | None = None
    epochs: int = 20
    batch_size: int = 256
    optimizer: Optimizer = field(default_factory=lambda: Optimizer(schedule="one_cycle"))
    views: Views = field(default_factory=NoViews)
    members: int = 1
    combine: str = "probabilities"
    seed: int = 0
    source: Sequence[str | Path] | None = None
    trust_pickle: bool = False

    def __post_init__(self) -> None:
        check_count("teacher.epochs", self.epochs)
        check_count("teacher.batch_size", self.batch_size)
        check_count("teacher.members", self.members)
        check_seed("teacher.seed", self.seed)
        if self.combine not in COMBINE:
            raise ConfigError(
                f"teacher.combine={self.combine!r} is unknown; choose one of {', '.join(COMBINE)}."
            )
        if self.source is None and self.model is None:
            raise ConfigError(
                "A teacher needs a model to train (teacher.model) or files to take (teacher.from)."
            )


@dataclass(frozen=True)
class ArmPlan:
    """An arm with everything filled in."""

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
        """Whether it learns from labels alone."""
        return not self.objective.needs_teacher

    def shares_cohort_with(self, other: "ArmPlan") -> bool:
        """Same architecture, inputs, optimizer and epochs: they can be stacked."""
        alike = (self.optimizer, self.epochs) == (other.optimizer, other.epochs)
        return alike and self.sees_the_same_as(other)

    def sees_the_same_as(self, other: "ArmPlan") -> bool:
        """Same architecture, same inputs."""
        return (self.student, self.views, self.transfer) == (
            other.student,
            other.views,
            other.transfer,
        )


def fill_in(
    arms: Mapping[str, Arm],
    *,
    student: Builder | None,
    views: Views | None,
    transfer: TransferSet | None,
    optimizer: Optimizer,
    epochs: int,
) -> list[ArmPlan]:
    """Give every arm the study's student, views, transfer set, optimizer and epochs where it has
    none.

    Raises:
        ConfigError: a name is unfit, an arm has no student, or its control is not an arm.
    """
    check_arm_names(list(arms))
    plans = []
    for name, arm in arms.items():
        builder = arm.student or student
        if builder is None:
            raise ConfigError(f"arms.{name} has no student, and the study has none for all arms.")
        named = (arm.control,) if isinstance(arm.control, str) else arm.control or ()
        controls = tuple(dict.fromkeys(map(str, named)))
        for control in controls:
            if control not in arms or control == name:
                others = ", ".join(a for a in arms if a != name)
                raise ConfigError(
                    f"arms.{name}.control={control!r} is not another arm; choose one of {others}."
                )
        plans.append(
            ArmPlan(
                name,
                arm.objective,
                builder,
                arm.views or views or NoViews(),
                arm.transfer or transfer or TransferSet(),
                arm.optimizer or optimizer,
                epochs if arm.epochs is None else check_count(f"arms.{name}.epochs", arm.epochs),
                controls,
            )
        )
    return plans


def controls_of(arm: ArmPlan, plans: Sequence[ArmPlan]) -> tuple[str, ...]:
    """The arms to compare with: those named; else the control that differs in the objective alone;
    else one of the same student and inputs; else one of the same student; none for a control of its
    own.
    """
    if arm.control or arm.is_control:
        return arm.control
    controls = [p for p in plans if p.is_control]
    for alike in (arm.shares_cohort_with, arm.sees_the_same_as, lambda p: p.student == arm.student):
        found = next((p.name for p in controls if alike(p)), None)
        if found is not None:
            return (found,)
    return ()


def build(builder: Builder, data: Dataset, seed: int) -> nn.Module:
    """An untrained model for the data with the initial weights of a seed; for other inputs than
    text with their normalisation inside.

    Raises:
        ConfigError: the builder asks for something that limbeck does not know, or gives no module.
    """
    offered = {"shape": data.shape, "classes": data.classes}
    try:
        signature = inspect.signature(builder)
        keywords = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
        wanted = {k: v for k, v in offered.items() if keywords or k in signature.parameters}
    except (TypeError, ValueError):
        wanted = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = builder(**wanted)
        except TypeError as error:
            raise ConfigError(f"The model could not be built: {error}.") from None
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"A model should be a torch.nn.Module; the builder gave {type(model).__name__}."
        )
    if not model.training:
        model.train()
    return model if data.tokenizer is not None else Normalized(model, *data.statistics)


def check_student(plan: ArmPlan, data: Dataset) -> None:
    """Check that an arm's student fits the data.

    Raises:
        ConfigError: it does not, or the builder gives the same module each time.
    """
    if plan.objective.class_weights is not None:
        plan.objective.for_labels(data.train.labels, data.classes)
    first, second = build(plan.student, data, 0), build(plan.student, data, 0)
    if {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}:
        raise ConfigError(
            f"arms.{plan.name}: the student's builder gives the same module each time; it should "
            "make a new one, as "
            "in student=lambda: MyNet()."
        )
    try:
        check_vocabulary(first, data.class_names, where=f"arms.{plan.name}.student")
        answers = probe(first, data.blank(1), data.answer_shape, where=f"arms.{plan.name}.student")
    except TeacherError as error:
        raise ConfigError(str(error)) from None
    if answers != data.classes:
        raise ConfigError(
            f"arms.{plan.name}: the student gives {answers} classes, the data has {data.classes}; "
            "they should be as "
            "many."
        )
    if (
        plan.objective.hard == "squared_error"
        and plan.objective.hard_weight > 0
        and not is_graded(first, data)
    ):
        raise ConfigError(
            f"arms.{plan.name}: objective.hard=squared_error is for a student of one score, as "
            "limbeck.models.Graded; "
            "the logits of this one have another form. Use such a student, or "
            "objective.hard=cross_entropy."
        )


@torch.no_grad()
def is_graded(model: nn.Module, data: Dataset) -> bool:
    """Whether logits have the form that :func:`limbeck.losses.squared_error_of_grades` needs, for
    one empty input.
    """
    logits = model.eval()(data.blank(1))
    return torch.allclose(logits.diff(n=2), torch.tensor(-1.0), atol=1e-2)


def check_transfer(plan: ArmPlan, data: Dataset, pool: Split | None) -> None:
    """Check that an arm can learn from its transfer set, and that its views can show the inputs.

    Args:
        plan: of the arm.
        data: of the study.
        pool: what the transfer set picks from; None if that is yet to be made.

    Raises:
        ConfigError: they cannot, or the rule asks for what is not there.
    """
    if pool is not None:
        plan.transfer.select(pool, data.class_names)
    elif plan.transfer.source is not None:
        plan.transfer.source.check(data.shape)
    check_views(plan.views, pool or data.train, data)
    if plan.is_control and not plan.transfer.has_labels:
        raise ConfigError(
            f"arms.{plan.name} learns from labels alone (objective.soft_weight=0) and its transfer "
            "set has none "
            f"({plan.transfer.name}). Give it samples with labels, as in arms.{plan.name}.transfer="
            "{labelled: null, source: null}, or a soft loss."
        )


def check_source(plan: ArmPlan, data: Dataset) -> None:
    """Check that an arm's inputs can come from where its transfer set says, before anything is
    made.

    Raises:
        ConfigError: it names a source of other inputs than text.
    """
    if data.tokenizer is not None and plan.transfer.source is not None:
        raise ConfigError(
            f"arms.{plan.name}: transfer.source={plan.transfer.source.name} makes inputs of other "
            "kinds than text; "
            "choose transfer.source=null, the text itself."
        )


def check_views(views: Views, split: Split, data: Dataset) -> None:
    """Check that views can show the inputs of a split; errors as for
    :meth:`~limbeck.data.Views.apply`.
    """
    if data.tokenizer is not None and not isinstance(views, NoViews):
        raise ConfigError(
            f"views: {views.name}: they need images [N, C, H, W], and {data.name} is text. Use "
            "views=none."
        )
    views.apply(split.inputs[:1], torch.tensor([views.plain]), torch.tensor([0]))


def can_stack(student: Builder, data: Dataset, students: int = 2) -> bool:
    """Whether so many copies of a student can be one cohort: nothing known against it, and two of
    them run together.
    """
    pair = [build(student, data, seed) for seed in (0, 1)]
    if reason_not_to_stack(pair[0], students) is not None:
        return False
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            Cohort([pair]).train()(data.blank(2, 2))
        except (RuntimeError, ConfigError):
            return False
    return True


def cohorts(
    plans: Sequence[ArmPlan], seeds: Sequence[int], data: Dataset, batch_size: int = 1
) -> Iterator[tuple[list[ArmPlan], list[int]]]:
    """Split a study into cohorts: arms that can be stacked with all their seeds, as many as fit;
    the others one student at a time.
    """
    left = list(plans)
    while left:
        alone = bool(left[0].objective.features)  # whose layers are read while it answers
        group = (
            left[:1]
            if alone
            else [p for p in left if p.shares_cohort_with(left[0]) and not p.objective.features]
        )
        left = [plan for plan in left if plan not in group]
        most = (
            _most_stacked(group[0].student, data, batch_size)
            if len(group) * len(seeds) > 1 and not alone
            else 1
        )
        if most >= len(seeds):
            yield from ((arms, list(seeds)) for arms in _even(group, most // len(seeds)))
        else:
            yield from (([plan], part) for plan in group for part in _even(seeds, most))


def _most_stacked(student: Builder, data: Dataset, batch_size: int) -> int:
    """How many copies of a student can be one cohort, by their parameters and by their logits of a
    batch.
    """
    size = sum(p.numel() for p in build(student, data, 0).parameters())
    logits = batch_size * math.prod(data.answer_shape)
    most = min(cohort.MAX_STACKED // max(size, 1), MOST_LOGITS // logits)
    return max(1, most) if most > 1 and can_stack(student, data) else 1


def _even(items: Sequence[T], most: int) -> list[list[T]]:
    """The items in parts of at most ``most``, of about the same length."""
    parts = math.ceil(len(items) / most)
    cuts = [len(items) * i // parts for i in range(parts + 1)]
    return [list(items[first:last]) for first, last in itertools.pairwise(cuts)]
