"""Checks of arms against the dataset, before anything is written or trained."""

import torch
from torch import nn

from limbeck._base.errors import ConfigError, TeacherError
from limbeck.data import Dataset, NoViews, Split, Views
from limbeck.study.arms import ArmPlan, build
from limbeck.teacher.checks import check_vocabulary, probe


def check_student(plan: ArmPlan, data: Dataset) -> None:
    """Check that the student of an arm fits the dataset.

    Raises:
        ConfigError: If the student does not fit, or its builder returns the same module each time.
    """
    if plan.objective.class_weights is not None:
        plan.objective.for_labels(data.train.labels, data.classes)
    first, second = build(plan.student, data, 0), build(plan.student, data, 0)
    if {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}:
        raise ConfigError(
            f"arms.{plan.name}: the student's builder returns the same module each time. It should "
            "build a new one, as in student=lambda: MyNet()."
        )
    try:
        check_vocabulary(first, data.class_names, where=f"arms.{plan.name}.student")
        outputs = probe(first, data.blank(1), data.answer_shape, where=f"arms.{plan.name}.student")
    except TeacherError as error:
        raise ConfigError(str(error)) from None
    if outputs != data.classes:
        raise ConfigError(
            f"arms.{plan.name}: the student outputs {outputs} classes but the dataset has "
            f"{data.classes}. Build the student for {data.classes} classes."
        )
    if (
        plan.objective.hard == "squared_error"
        and plan.objective.hard_weight > 0
        and not is_graded(first, data)
    ):
        raise ConfigError(
            f"arms.{plan.name}: objective.hard=squared_error requires a student with a single "
            "score, such as limbeck.models.Graded, but the logits of this student have another "
            "form. Use a graded student, or objective.hard=cross_entropy."
        )


@torch.no_grad()
def is_graded(model: nn.Module, data: Dataset) -> bool:
    """Whether the logits of a model have the form that the squared error of grades requires.

    The model is run on one blank input; see :func:`limbeck.losses.squared_error_of_grades`.
    """
    logits = model.eval()(data.blank(1))
    return torch.allclose(logits.diff(n=2), torch.tensor(-1.0), atol=1e-2)


def check_transfer(plan: ArmPlan, data: Dataset, pool: Split | None) -> None:
    """Check that an arm can be trained on its transfer set and that its views fit the inputs.

    Args:
        plan: Arm with all defaults filled in.
        data: Dataset of the study.
        pool: Samples that the transfer set selects from; None if a source generates them later.

    Raises:
        ConfigError: If a control has no labels, the selection is impossible, or views do not fit.
    """
    if pool is not None:
        plan.transfer.select(pool, data.class_names)
    elif plan.transfer.source is not None:
        plan.transfer.source.check(data.shape)
    check_views(plan.views, pool or data.train, data)
    if plan.is_control and not plan.transfer.has_labels:
        raise ConfigError(
            f"arms.{plan.name} learns from labels alone (objective.soft_weight=0), but its "
            f"transfer set has no labels ({plan.transfer.name}). Use samples with labels, as in "
            f"arms.{plan.name}.transfer={{labelled: null, source: null}}, or a soft loss."
        )


def check_source(plan: ArmPlan, data: Dataset) -> None:
    """Check that the source of a transfer set can generate inputs for the dataset.

    Raises:
        ConfigError: If the dataset is text, which no source can generate.
    """
    if data.tokenizer is not None and plan.transfer.source is not None:
        raise ConfigError(
            f"arms.{plan.name}: transfer.source={plan.transfer.source.name} cannot generate text, "
            f"but {data.name} is a text dataset. Use transfer.source=null."
        )


def check_views(views: Views, split: Split, data: Dataset) -> None:
    """Check that views fit the inputs of a split.

    Raises:
        ConfigError: If the views cannot be applied to them.
    """
    if data.tokenizer is not None and not isinstance(views, NoViews):
        raise ConfigError(
            f"views: {views.name} need images [N, C, H, W], but {data.name} is a text dataset. Use "
            "views=none."
        )
    views.apply(split.inputs[:1], torch.tensor([views.plain]), torch.tensor([0]))
