"""Conversion of a table of answers to records, after its checks."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck._base.errors import TeacherError
from limbeck.data.checks import join_some
from limbeck.losses.base import TWO_LOGITS
from limbeck.teacher.answer_files.answers import StoredAnswers, listed_records
from limbeck.teacher.answer_files.class_numbers import class_numbers
from limbeck.teacher.answer_files.columns import LABELS, LOGITS, VALUES, Requirements
from limbeck.teacher.answer_files.kinds import (
    FLOOR,
    TOLERANCE,
    Ranges,
    as_log_probabilities,
    check_kind,
    detect_kind,
    measure,
)
from limbeck.teacher.answer_files.members import combine_members
from limbeck.teacher.answer_files.numbers import as_records, convert_numbers, in_order
from limbeck.teacher.answer_files.table import AnswerTable
from limbeck.teacher.signal import combine_for

NO_REST = 1e-3
"""Largest rest of a row of the most probable classes that counts as none."""


def convert(
    table: AnswerTable,
    needs: Requirements,
    *,
    kind: str | None = None,
    combine: str = "probabilities",
) -> StoredAnswers:
    """Check the answers of a table and convert them.

    Args:
        table: Answers as they are in the file.
        needs: Requirements of the dataset.
        kind: Kind of the values; None to detect it.
        combine: Combination of several answers to one sample: ``probabilities`` or ``logits``.

    Raises:
        TeacherError: If a value is missing, wrong or of another kind, or classes differ.
    """
    if needs.outputs == "classes":
        answers = _convert_classes(table, needs.names, kind)
    else:
        answers = convert_numbers(table, needs, kind)
    if table.others:
        note = f"not used: {join_some(list(table.others))}"
        answers = replace(answers, notes=(*answers.notes, note))
    return combine_members(answers, table.members, combine_for(needs.outputs, combine))


def _convert_classes(
    table: AnswerTable, class_names: Sequence[str] | None, kind: str | None
) -> StoredAnswers:
    """Convert answers about classes."""
    if kind == VALUES:
        raise TeacherError(
            f"{table.where}: teacher.kind=values is for regression, not for classes."
        )
    if table.labels is None and kind == LABELS:
        raise TeacherError(
            f"{table.where}: teacher.kind=labels needs a column called label, and no other answers."
        )
    if table.labels is not None and kind not in (None, LABELS):
        raise TeacherError(f"{table.where} holds only labels, no {kind}.")
    if table.labels is not None:
        return _labels(table, class_names)
    if table.top is not None:
        return _most_probable(table, class_names, kind)
    return _dense(table, class_names, kind)


def _labels(table: AnswerTable, class_names: Sequence[str] | None) -> StoredAnswers:
    """Convert labels to distributions that exclude all other classes."""
    assert table.labels is not None
    numbers = class_numbers(table.labels, class_names, table.where)[:, None]
    classes = int(numbers.max()) + 1 if class_names is None else len(class_names)
    records = listed_records(numbers, np.zeros(numbers.shape, np.float32))
    return StoredAnswers(
        where=table.where,
        kind=LABELS,
        classes=classes,
        records=records,
        top=1,
        ids=table.ids,
        splits=table.splits,
    )


def _dense(
    table: AnswerTable, class_names: Sequence[str] | None, kind: str | None
) -> StoredAnswers:
    """Convert a number for each class."""
    values, notes = in_order(table, class_names, "classes")
    classes = values.shape[1]
    if class_names is not None and classes != len(class_names):
        raise TeacherError(
            f"{table.where}: rows have {classes} values, but the dataset has {len(class_names)} "
            f"classes. {TWO_LOGITS if classes == 1 else 'Expected one for each class.'}"
        )
    table = replace(table, values=values)
    ranges, kind = _check(table, kind)
    logits, changes = as_log_probabilities(values, ranges, kind)
    return StoredAnswers(
        where=table.where,
        kind=kind,
        classes=classes,
        records=as_records(logits),
        ids=table.ids,
        splits=table.splits,
        notes=(*notes, *changes),
    )


def _check(table: AnswerTable, kind: str | None) -> tuple[Ranges, str]:
    """Return the ranges and the kind of the values, which are checked."""
    ranges = measure(table)
    kind = kind or table.kind or detect_kind(table, ranges)
    check_kind(table, ranges, kind)
    return ranges, kind


def _most_probable(
    table: AnswerTable, class_names: Sequence[str] | None, kind: str | None
) -> StoredAnswers:
    """Convert the values of the most probable classes, or of all classes in any order."""
    assert table.values is not None
    assert table.top is not None
    numbers = class_numbers(table.top, class_names, table.where)
    classes = int(numbers.max()) + 1 if class_names is None else len(class_names)
    ordered = np.sort(numbers, 1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        row = int((ordered[:, 1:] == ordered[:, :-1]).any(1).argmax())
        raise TeacherError(f"{table.where}: {table.name_of(row)} has a class twice.")
    width = numbers.shape[1]
    if width == classes:
        values = np.empty(numbers.shape, np.float32)
        np.put_along_axis(values, numbers, table.values, 1)
        every = replace(table, values=values, top=None, classes=None)
        return _dense(every, class_names, kind)
    ranges, kind = _check(table, kind)
    log_p, notes = as_log_probabilities(table.values, ranges, kind)
    answers = StoredAnswers(
        where=table.where,
        kind=kind,
        classes=classes,
        records=torch.empty(0),
        top=width,
        ids=table.ids,
        splits=table.splits,
        notes=tuple(notes),
    )
    if table.rest is not None and kind == LOGITS:
        raise TeacherError(
            f"{table.where}: a rest belongs to probabilities, but the values are logits."
        )
    rest = None if kind == LOGITS else _rest(table, log_p)
    if rest is None:
        return replace(answers, records=listed_records(numbers, log_p))
    mass = np.log(np.maximum(rest, FLOOR))[:, None]
    mean = mass - np.log(classes - width)  # the others share the rest evenly
    return replace(answers, records=listed_records(numbers, log_p, mass, mean), has_rest=True)


def _rest(table: AnswerTable, log_p: NDArray) -> NDArray | None:
    """Return the probability of all other classes, ``[N]``; None if they have none."""
    sums = np.exp(log_p, dtype=np.float64).sum(1)
    if table.rest is None:
        rest = 1 - sums
        return None if (rest < NO_REST).all() else rest
    wrong = np.abs(sums + table.rest - 1) > TOLERANCE
    if wrong.any():
        row = int(wrong.argmax())
        raise TeacherError(
            f"{table.where}: the probabilities of {int(wrong.sum())} rows and their rest do not "
            f"sum to one, such as {table.name_of(row)} with {sums[row] + table.rest[row]:.4g}."
        )
    return table.rest.astype(np.float64)
