"""Checks that a teacher fits the dataset, before training."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from limbeck._base.errors import TeacherError
from limbeck.data.class_names import same_classes
from limbeck.data.inputs import match_floats
from limbeck.data.tables.columns import TableColumns
from limbeck.losses.base import TWO_LOGITS
from limbeck.losses.stacked import MAX_PADDING
from limbeck.losses.tasks import TASKS, Task
from limbeck.models import LoadedModel, model_name
from limbeck.models.huggingface.base import TransformersModel
from limbeck.models.output import without_wrapper

MAX_LISTED = 400
"""Largest number of characters of the classes that a message lists."""
DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


def check_teacher(
    loaded: LoadedModel,
    blank: Tensor,
    answer_shape: Sequence[int],
    *,
    class_names: Sequence[str],
    where: str,
    more_outputs: Callable[[int], str] | None = None,
    task: Task = TASKS["classes"],
) -> None:
    """Check that a teacher fits the dataset.

    The weights have to be finite, the classes and their order have to match the dataset, and the
    teacher has to accept the inputs.

    Args:
        loaded: Teacher.
        blank: Input of zeros, ``[1, *shape]``.
        answer_shape: Shape of the logits of one input: ``[C]``, or ``[T, C]`` for text.
        class_names: Classes of the dataset in the order of the logits; for text, the tokens by id.
        where: Origin of the teacher, for messages.
        more_outputs: Function that explains a teacher with more outputs than classes, called with
            their number; None for the usual advice.
        task: Kind of target.

    Raises:
        TeacherError: If the teacher does not fit.
    """
    check_weights(loaded.model, where)
    kind: str = "tokens" if len(answer_shape) > 1 else task.outputs
    if kind == "vectors":
        kind = "dimensions"
    inputs = match_floats(blank, loaded.model)
    outputs = probe(loaded.model, inputs, answer_shape, where=where)
    is_binary = outputs == 1 and len(class_names) == 2 and kind == "classes"
    if outputs != len(class_names) and not is_binary:
        advice = (
            "Choose the dataset it was trained on (data=...), or another teacher "
            "(teacher.from=...)."
        )
        if outputs == 1 and kind == "classes":
            advice = TWO_LOGITS
        elif outputs > len(class_names) and more_outputs is not None:
            advice = more_outputs(outputs)
        raise TeacherError(
            f"{where}: the teacher outputs {outputs} {kind}, but the dataset has "
            f"{len(class_names)}. {advice}"
        )
    names = loaded.description.get("class_names")
    if kind == "dimensions":  # which have no names
        return
    if names is not None and not same_classes(names, class_names):
        raise TeacherError(f"{where}: {_difference(names, class_names, kind)}")


def check_columns(saved: Any, columns: TableColumns, where: str) -> None:
    """Check that a teacher reads the columns of a table.

    Args:
        saved: Columns of the teacher, as in :meth:`TableColumns.as_json`; None if not known.
        columns: Columns of the dataset.
        where: Origin of the teacher, for messages.

    Raises:
        TeacherError: If they differ.
    """
    expected = columns.as_json()
    if saved is None or saved == expected:
        return
    advice = "A teacher needs the columns of its training, in the same order."
    if not isinstance(saved, list) or len(saved) != len(expected):
        count = len(saved) if isinstance(saved, list) else "unknown"
        raise TeacherError(
            f"{where}: the teacher reads {count} columns, but the table has {len(expected)}. "
            f"{advice}"
        )
    pairs = enumerate(zip(saved, expected, strict=True))
    number = next(i for i, (column, other) in pairs if column != other)
    raise TeacherError(
        f"{where}: column {number} of the teacher is {_column(saved[number])}, but that of the "
        f"table is {_column(expected[number])}. {advice}"
    )


def _column(column: Any) -> str:
    if not isinstance(column, dict):
        return "unknown"
    categories = column.get("categories")
    kind = "numbers" if categories is None else f"categories {categories}"
    text = f"{column.get('name')} ({kind})"
    return text if len(text) <= MAX_LISTED else f"{text[:MAX_LISTED]}..."


def check_weights(model: nn.Module, where: str) -> None:
    """Check that the weights and buffers of a teacher are finite.

    Args:
        model: Teacher.
        where: Origin of the teacher, for messages.

    Raises:
        TeacherError: If a value is infinite or NaN.
    """
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, Tensor) or is_lazy(tensor) or not tensor.is_floating_point():
            continue
        if bool(tensor.isfinite().all()):
            continue
        broken = int((~tensor.isfinite()).sum())
        raise TeacherError(
            f"{where}: {broken} of {tensor.numel()} values of {name} are infinite or not a number. "
            "Its training diverged, or the file is damaged; choose another teacher "
            "(teacher.from=...)."
        )


def check_separate(teachers: Sequence[nn.Module], student: nn.Module) -> None:
    """Check that a student shares no layer, weight or buffer with its teacher.

    Args:
        teachers: Models of the teacher.
        student: Student, or a cohort of students.

    Raises:
        TeacherError: If training the student would change the teacher.
    """
    owners = {pointer: name for pointer, name in _shared_parts(student)}
    for teacher in teachers:
        if any(teacher is module for module in student.modules()):
            raise TeacherError(
                "The teacher is the student itself, so training would change it. Pass a copy as "
                "the teacher: copy.deepcopy(student)."
            )
        for pointer, name in _shared_parts(teacher):
            if pointer in owners:
                raise TeacherError(
                    f"{name} of the teacher is {owners[pointer]} of the student, but a student may "
                    "share nothing with its teacher. Give it a copy: copy.deepcopy(layer)."
                )


def _shared_parts(model: nn.Module) -> Iterator[tuple[int, str]]:
    """Identity and name of what must not be shared: weights, buffers and dropout layers."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not is_lazy(tensor) and not tensor.is_meta and tensor.numel():
            yield tensor.data_ptr(), name
    for name, module in model.named_modules():
        if isinstance(module, DROPOUT):  # a teacher puts it into eval mode
            yield id(module), name


def check_vocabulary(model: nn.Module, tokens: Sequence[str], *, where: str) -> None:
    """Check that the tokens of a model's own tokenizer match the dataset, id by id.

    Args:
        model: Model. A model without a tokenizer passes.
        tokens: Tokens of the dataset by id. The model may have more, to a round number.
        where: Origin of the model, for messages.

    Raises:
        TeacherError: If the tokens differ.
    """
    if not isinstance(model, TransformersModel):
        return
    vocabulary = model.vocabulary
    if vocabulary is None and model.padded > MAX_PADDING:
        raise TeacherError(
            f"{where}: the model has {len(tokens) + model.padded:,} tokens but the dataset has "
            f"{len(tokens):,}, and there is no tokenizer.json next to the weights to compare them. "
            "Put it there, and encode the text with it (data.tokenizer=FOLDER)."
        )
    if vocabulary is not None and vocabulary[: len(tokens)] != list(tokens):
        raise TeacherError(f"{where}: {_difference(vocabulary[: len(tokens)], tokens, 'tokens')}")


def _difference(names: Sequence[str], expected: Sequence[str], kind: str) -> str:
    """Describe how classes or tokens differ from the dataset, and what to do."""
    if kind == "tokens":
        singular = "token"
        advice = (
            "Both need the same tokens in the same order: encode the text with the teacher's own "
            "tokenizer (data.tokenizer=FOLDER)."
        )
    else:
        singular = "class"
        advice = "Both need the same classes in the same order."
    if len(names) != len(expected):
        return f"the teacher has {len(names)} {kind}, but the dataset has {len(expected)}. {advice}"
    pairs = enumerate(zip(names, expected, strict=True))
    number = next(i for i, (name, other) in pairs if name != other)
    first = (
        f"the teacher's {singular} {number} is {names[number]!r}, but the dataset's is "
        f"{expected[number]!r}."
    )
    if kind == "classes" and sorted(names) == sorted(expected):
        return f"the classes are the same, but in another order: {first} {_order_advice(names)}"
    return f"{first} {advice}"


def _order_advice(names: Sequence[str]) -> str:
    """Return the setting that gives the dataset the teacher's order of classes."""
    if list(names) == sorted(names):
        return (
            "The teacher's are sorted as text, as limbeck did before version 0.2 and other "
            "programs do. For images, data.class_order=text sorts the dataset in the same way."
        )
    text = ",".join(names)
    if len(text) > MAX_LISTED:
        return "Give the dataset the teacher's order: data.class_names=[...], with every class."
    return f"Give the dataset the teacher's order: data.class_names=[{text}]."


@torch.no_grad()
def probe(model: nn.Module, blank: Tensor, answer_shape: Sequence[int], *, where: str) -> int:
    """Return the number of classes that a model outputs for an input of zeros.

    Args:
        model: Model, on any device.
        blank: Input of zeros, ``[1, *shape]``.
        answer_shape: Expected shape of the logits, ``[C]``, or ``[T, C]`` for text. The number of
            classes is not compared.
        where: Origin of the model, for messages.

    Raises:
        TeacherError: If the model cannot read the input, or its output is not
            ``[1, *answer_shape]``.
    """
    was_training = model.training
    first = next(model.parameters(), None)
    inputs = blank if first is None else blank.to(first.device)
    try:
        logits = without_wrapper(model.eval()(inputs))
    except (RuntimeError, ValueError, TypeError, LookupError, AssertionError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise TeacherError(
            f"{where}: {model_name(model)} cannot read inputs of shape "
            f"{list(blank.shape[1:])} ({reason})."
        ) from None
    finally:
        model.train(was_training)
    expected = (1, *answer_shape[:-1])
    if isinstance(logits, Tensor) and logits.shape[:-1] == expected:
        return logits.shape[-1]
    output = type(logits).__name__
    if isinstance(logits, Tensor):
        output = f"shape {list(logits.shape)}"
    raise TeacherError(
        f"{where}: {model_name(model)} outputs {output} for one input; expected logits of shape "
        f"[{', '.join(map(str, expected))}, classes]."
    )
