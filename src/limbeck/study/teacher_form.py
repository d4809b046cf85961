"""A teacher from files, brought to the inputs and classes of a dataset."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from limbeck._base.errors import ConfigError, TeacherError
from limbeck.data import Dataset
from limbeck.models import LoadedModel
from limbeck.models.files.outputs import outputs_in
from limbeck.models.files.weights import read_tensors
from limbeck.models.normalizations import statistics_for, with_statistics
from limbeck.models.normalized import with_size
from limbeck.study.arms import Teacher, build
from limbeck.teacher.adapter import adapter_of
from limbeck.teacher.checks import check_columns, check_teacher, check_vocabulary, probe
from limbeck.teacher.examination import explain_outputs
from limbeck.teacher.onnx_model import OnnxTeacher
from limbeck.teacher.remedies import Remedies

Load = Callable[[Path, Callable[[], nn.Module] | None], LoadedModel]
"""Function that loads a model, with a function that builds it if the file holds only weights."""


def load_file(load: Load, file: Path, teacher: Teacher, data: Dataset) -> LoadedModel:
    """Load a model; weights alone may have another number of outputs than the data has classes.

    Args:
        load: Function that loads a model.
        file: File of the model.
        teacher: Teacher that the file belongs to.
        data: Dataset of the study.

    Raises:
        TeacherError: If the weights do not fit the model.
        UntrustedFileError: If the file is damaged, or loading it would run code.
    """
    if teacher.model is None:
        return load(file, None)
    names = teacher.output_settings.names
    outputs = None if names is None else len(names)
    empty = partial(build, teacher.model, data, 0, shape=teacher.input_shape(data.shape))
    try:
        return load(file, partial(empty, outputs=outputs))
    except TeacherError:
        weights = read_tensors(file, teacher.key) if outputs is None and file.is_file() else {}
        outputs = outputs_in(weights, empty(), data.classes)
        if outputs is None:
            raise
    return load(file, partial(empty, outputs=outputs))


def adapt(loaded: LoadedModel, teacher: Teacher, data: Dataset, where: str) -> LoadedModel:
    """Bring the inputs and outputs of a teacher to those of a dataset.

    Args:
        loaded: Teacher.
        teacher: Settings of the teacher.
        data: Dataset of the study.
        where: Origin of the teacher, for messages.

    Raises:
        ConfigError: If the settings do not fit the dataset.
        TeacherError: If the names of its outputs do not fit.
    """
    normalization = teacher.normalization
    if normalization is not None:
        _check_inputs(loaded, data)
        statistics = statistics_for(loaded.model, normalization, data.shape, data.statistics)
        model = with_statistics(loaded.model, statistics).eval()
        loaded = replace(loaded, model=model)
    if teacher.size is not None:
        if data.tokenizer is not None or len(data.shape) != 3:
            raise ConfigError(
                f"teacher.size is for images, but {data.name} has inputs of shape "
                f"{list(data.shape)}."
            )
        loaded = replace(loaded, model=with_size(loaded.model, teacher.size).eval())
    return teacher.output_settings.apply(loaded, data, where)


def check_loaded(loaded: LoadedModel, data: Dataset, where: str, remedies: Remedies) -> None:
    """Check that a teacher fits the dataset.

    Args:
        loaded: Teacher.
        data: Dataset of the study.
        where: Origin of the teacher, for messages.
        remedies: Lines that mend the teacher.

    Raises:
        TeacherError: If it does not fit. For a teacher with more outputs than the data has classes,
            the message says which outputs fit best.
    """

    def more_outputs(outputs: int) -> str:
        device = next((weight.device for weight in loaded.model.parameters()), torch.device("cpu"))
        return explain_outputs(loaded.model, outputs, data, remedies, device)

    if data.columns is not None:
        check_columns(loaded.description.get("columns"), data.columns, where)
    check_teacher(
        loaded,
        data.blank(1),
        data.answer_shape,
        class_names=data.output_names,
        where=where,
        more_outputs=more_outputs if data.positions is None and data.kind.has_classes else None,
        task=data.kind,
    )
    check_tokens(loaded.model, data, where)


def check_untrained(model: nn.Module, data: Dataset) -> None:
    """Check that a model that is to be trained as the teacher fits the dataset.

    Args:
        model: Teacher before its training.
        data: Dataset of the study.

    Raises:
        TeacherError: If it does not.
    """
    check_tokens(model, data, "teacher.model")
    try:
        outputs = probe(model, data.blank(1), data.answer_shape, where="teacher.model")
    except TeacherError as error:
        if data.padding is None:
            raise
        raise TeacherError(
            f"{error} Texts need a teacher for token ids, such as encoder, or "
            "huggingface_classifier."
        ) from None
    if outputs != data.classes:
        raise TeacherError(
            f"teacher.model: the model has {outputs} outputs, but the dataset has {data.classes} "
            "classes. Build it for as many."
        )


def check_tokens(model: nn.Module, data: Dataset, where: str) -> None:
    """Check that a model with a tokenizer of its own has the tokens of a text.

    Args:
        model: Teacher or student.
        data: Dataset of the study.
        where: Origin of the model, for messages.

    Raises:
        TeacherError: If the tokens differ.
    """
    if data.tokenizer is not None:
        check_vocabulary(model, data.tokenizer.names, where=where)


def _check_inputs(loaded: LoadedModel, data: Dataset) -> None:
    """Check that a normalisation makes sense for the inputs of a teacher."""
    if data.columns is not None:
        raise ConfigError(
            f"teacher.normalization is not for tables, but {data.name} is a table. Its rows are "
            "passed to the teacher as they are."
        )
    if data.tokenizer is not None:
        raise ConfigError(
            f"teacher.normalization is not for text, but {data.name} is a text dataset."
        )
    adapter = adapter_of(loaded.model)
    if isinstance(adapter, OnnxTeacher) and adapter.takes_bytes:
        raise ConfigError(
            f"{adapter.name} takes bytes (0 to 255) and normalises them itself. Remove "
            "teacher.normalization."
        )
