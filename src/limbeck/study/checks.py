"""Checks of a study before anything is written or trained."""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck._base.checks import check_text
from limbeck._base.errors import ConfigError, ResourceError, TeacherError
from limbeck._base.sizes import format_bytes
from limbeck.data import Dataset, NoViews, Split, Views
from limbeck.evaluation.measure import MEASURES
from limbeck.study.arms import ArmPlan, build
from limbeck.study.options import RunOptions
from limbeck.study.teacher_form import check_tokens
from limbeck.teacher.checks import probe
from limbeck.teacher.signal import LiveTeacher
from limbeck.training.features import check_features
from limbeck.training.options import TrainerOptions
from limbeck.training.sharding import check_model


def check_student(plan: ArmPlan, data: Dataset, trainer: Mapping[str, Any]) -> None:
    """Check that the student of an arm fits the dataset and the strategy of the training.

    Args:
        plan: Arm with all defaults filled in.
        data: Dataset of the study.
        trainer: Settings of the group ``trainer``.

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
    if TrainerOptions.of(trainer).is_sharded:
        check_model(first, f"arms.{plan.name}: the student")
    try:
        check_tokens(first, data, f"arms.{plan.name}.student")
        outputs = probe(first, data.blank(1), data.answer_shape, where=f"arms.{plan.name}.student")
    except TeacherError as error:
        advice = ""
        if data.padding is not None:
            advice = " Texts need a student for token ids, such as bag, text_cnn or encoder."
        raise ConfigError(f"{error}{advice}") from None
    if outputs != data.classes:
        noun = "classes" if data.kind.has_classes else "values"
        has = f"{data.classes}" if data.kind.has_classes else f"{data.classes} targets"
        raise ConfigError(
            f"arms.{plan.name}: the student outputs {outputs} {noun} but the dataset has {has}. "
            f"Build the student for {data.classes} {noun}."
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
        ConfigError: If the dataset is text or a table, which no source can generate.
    """
    kind = _kind_of(data)
    if kind is not None and plan.transfer.source is not None:
        raise ConfigError(
            f"arms.{plan.name}: transfer.source={plan.transfer.source.name} cannot generate "
            f"{kind} inputs, but {data.name} is a {kind} dataset. Use transfer.source=null."
        )


def check_splits(
    splits: int, seeds: Sequence[int], plans: Sequence[ArmPlan], data: Dataset
) -> None:
    """Check that seeds can be spread over training and validation splits.

    Args:
        splits: Number of splits.
        seeds: Seeds of the study.
        plans: Arms of the study.
        data: Dataset of the study.

    Raises:
        ConfigError: If the number of seeds is no multiple of it, an arm needs one teacher, or the
            dataset has a validation split of its own.
    """
    if splits > 1 and data.has_own_val:
        raise ConfigError(
            f"splits={splits} would mix the training and validation samples of {data.name}, whose "
            "splits you have given. Use splits=1, or leave the validation split to limbeck."
        )
    if len(seeds) % splits:
        more = splits * math.ceil(len(seeds) / splits)
        raise ConfigError(
            f"splits={splits} spreads {len(seeds)} seeds over {splits} splits, so their number "
            f"should be a multiple of {splits}. Use seeds={more}."
        )
    for plan in plans:
        source = plan.transfer.source
        if splits > 1 and source is not None and source.needs_teacher:
            raise ConfigError(
                f"arms.{plan.name}: the inputs of {source.name} are made with one teacher, but "
                f"splits={splits} trains one for each split. Use splits=1, or another source."
            )


def check_layers(
    plans: Sequence[ArmPlan], data: Dataset, preview: Callable[[], LiveTeacher]
) -> None:
    """Check that the layers between which arms have a loss exist and fit each other.

    Args:
        plans: Arms of the study.
        data: Dataset of the study.
        preview: Function that returns the teacher, trained or not.

    Raises:
        ConfigError: If they do not.
    """
    for plan in plans:
        if plan.objective.features:
            student = build(plan.student, data, 0)
            check_features(plan.objective.features, student, preview(), data.blank(1))


def check_plain_inputs(plan: ArmPlan, name: str, *, every_view: bool | None = None) -> None:
    """Check that the students of an arm see the inputs that were answered.

    Args:
        plan: Arm that learns from answers to the samples.
        name: Name of the teacher, for messages.
        every_view: Whether the answer to a plain input also holds for its views. None if there is
            no such setting.

    Raises:
        ConfigError: If they see others.
    """
    if plan.transfer.source is not None:
        raise ConfigError(
            f"arms.{plan.name}: {name} has no answers for the inputs of transfer.source="
            f"{plan.transfer.source.name}. Use transfer.source=null, or a teacher that can be "
            "run (teacher.from=)."
        )
    if plan.views.mixes:
        raise ConfigError(
            f"arms.{plan.name}: {name} has no answers for mixtures of two samples (views: "
            f"{plan.views.name}). Use views=none, or a teacher that can be run (teacher.from=)."
        )
    if plan.views.count > 1 and not every_view:
        advice = "."
        if every_view is not None:
            advice = (
                ", or teacher.every_view=true to use the answer to a plain input for each of its "
                "views."
            )
        raise ConfigError(
            f"arms.{plan.name}: {name} answers the plain inputs, but students see other views "
            f"of them ({plan.views.name}). Set views=none to train on the plain inputs{advice}"
        )


def check_views(views: Views, split: Split, data: Dataset) -> None:
    """Check that views fit the inputs of a split.

    Raises:
        ConfigError: If the views cannot be applied to them.
    """
    kind = _kind_of(data)
    if kind is not None and not isinstance(views, NoViews):
        raise ConfigError(
            f"views: {views.name} need images [N, C, H, W], but {data.name} is a {kind} dataset. "
            "Use views=none."
        )
    views.apply(split.inputs[:1], torch.tensor([views.plain]), torch.tensor([0]))


def _kind_of(data: Dataset) -> str | None:
    """Return the kind of a dataset whose inputs are no plain numbers."""
    if data.tokenizer is not None:
        return "text"
    return None if data.columns is None else "table"


def check_records(plans: Sequence[ArmPlan], data: Dataset, options: RunOptions) -> None:
    """Check that the manifest, the summary and the models can record the settings of a study.

    Raises:
        ConfigError: If JSON cannot represent a value.
    """
    _check_json(options.facts, "facts")
    _check_json(options.name, "name")
    _check_json(data.name, "data.name")
    if data.positions is None:
        _check_json(list(data.class_names), "data.class_names")
    for plan in plans:
        _check_json(plan.objective.as_dict(), f"arms.{plan.name}.objective")
        _check_json(plan.transfer.settings(), f"arms.{plan.name}.transfer")
        _check_json(plan.views.settings(), f"arms.{plan.name}.views")


def check_options(options: RunOptions, data: Dataset) -> None:
    """Check that the precision, and the method that fits constants, fit the data.

    Raises:
        ConfigError: If one does not.
    """
    precision = str(options.trainer.get("precision"))
    if data.columns is not None and precision.endswith("16-true"):
        raise ConfigError(
            f"trainer.precision={precision} rounds the values of a table to 16 bits before they "
            f"are standardised. Use {precision.removesuffix('true')}mixed or 32-true."
        )
    if options.bias is not None and data.positions is not None:
        raise ConfigError(
            f"bias={options.bias} is for classifiers, but {data.name} is a text dataset. Use "
            "bias=null."
        )
    if options.bias is not None and not data.kind.has_classes:
        raise ConfigError(
            f"bias={options.bias} is for classifiers, but {data.name} is for "
            f"{data.kind.description}. Use bias=null."
        )
    if options.bias == "kappa" and not data.ordinal:
        raise ConfigError(
            f"bias=kappa is for graded classes, but those of {data.name} are not graded. If they "
            "are, set data.ordinal=true (in Python Dataset.from_arrays(..., ordinal=True)); "
            "otherwise use bias=prior."
        )


def check_margin(options: RunOptions, data: Dataset, *, has_teacher: bool) -> None:
    """Check that the margin of a study fits its data.

    Raises:
        ConfigError: If it is in another unit, or as large as the test split.
    """
    margin = options.parsed_margin
    if margin is not None:
        margin.check(MEASURES[data.kind.measure], samples=data.test_size, has_teacher=has_teacher)


def _check_json(value: Any, where: str) -> None:
    """Check that JSON can represent nested values, with text in UTF-8.

    Args:
        value: Value of a setting.
        where: Path of the value, for messages.

    Raises:
        ConfigError: If JSON cannot represent a value.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            check_text(str(key), where)
            _check_json(inner, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            _check_json(inner, f"{where}[{number}]")
    elif isinstance(value, str):
        check_text(value, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}={value} cannot be recorded. Use a finite number.")
    elif value is not None and not isinstance(value, (bool, int, float)):
        raise ConfigError(
            f"{where}={value!r} cannot be recorded as JSON: it is a {type(value).__name__}. Use "
            "numbers, text, lists and dictionaries."
        )


def check_disk(folder: Path, plans: Sequence[ArmPlan], seeds: int, data: Dataset) -> None:
    """Check that the disk has room for the weights of the students and their predictions.

    Args:
        folder: Existing folder on the disk.
        plans: Arms of the study.
        seeds: Number of seeds.
        data: Dataset of the study.

    Raises:
        ResourceError: If it has not.
    """
    sizes: dict[int, int] = {}
    for plan in plans:
        if id(plan.student) not in sizes:
            weights = build(plan.student, data, 0).state_dict().values()
            sizes[id(plan.student)] = sum(w.numel() * w.element_size() for w in weights)
    outputs = data.classes if data.positions is None else data.shape[0]
    predictions = data.test_size * outputs * 4
    needed = seeds * sum(sizes[id(plan.student)] + predictions for plan in plans)
    disk = shutil.disk_usage(folder)
    is_real = disk.total > 0  # unlike /proc
    if is_real and needed > disk.free:
        raise ResourceError(
            f"The results need at least {format_bytes(needed)}, but the disk of {folder} has "
            f"{format_bytes(disk.free)} free. Free some space, or choose another folder with out=."
        )
