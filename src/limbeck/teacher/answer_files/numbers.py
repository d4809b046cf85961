"""Answers that are no classes: values to predict, and logits or probabilities of several labels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck._base.errors import TeacherError
from limbeck.teacher.answer_files.answers import KIND_TITLES, StoredAnswers
from limbeck.teacher.answer_files.class_numbers import column_order
from limbeck.teacher.answer_files.columns import (
    LABELS,
    LOG_PROBABILITIES,
    LOGITS,
    PROBABILITIES,
    VALUES,
    Requirements,
)
from limbeck.teacher.answer_files.kinds import FLOOR, Ranges, measure
from limbeck.teacher.answer_files.table import AnswerTable


def convert_numbers(table: AnswerTable, needs: Requirements, kind: str | None) -> StoredAnswers:
    """Check answers with a number for each target or label, and convert them.

    Args:
        table: Answers as they are in the file.
        needs: Requirements of the dataset.
        kind: Kind of the values; None to detect it.

    Raises:
        TeacherError: If a value is missing, wrong or of another kind, or targets differ.
    """
    noun = needs.noun
    if table.labels is not None or table.top is not None:
        raise TeacherError(
            f"{table.where} names classes, but the dataset has {noun}. Expected a number for each "
            f"of the {noun}."
        )
    values, notes = in_order(table, needs.names, noun)
    count = values.shape[1]
    if needs.names is not None and count != len(needs.names):
        raise TeacherError(
            f"{table.where}: rows have {count} values, but the dataset has {len(needs.names)} "
            f"{noun if len(needs.names) > 1 else noun[:-1]}. Expected one for each."
        )
    table = replace(table, values=values)
    ranges = measure(table)
    kind = kind or table.kind or _detect_kind(ranges, needs)
    _check_kind(table, ranges, kind, needs)
    records, changes = _as_logits(values, ranges, kind)
    return StoredAnswers(
        where=table.where,
        kind=kind,
        classes=count,
        records=as_records(records),
        ids=table.ids,
        splits=table.splits,
        notes=(*notes, *changes),
        noun=noun,
    )


def in_order(
    table: AnswerTable, names: Sequence[str] | None, noun: str
) -> tuple[NDArray, list[str]]:
    """Return the values ``[N, C]`` in the order of the dataset, and phrases about what was changed.

    Args:
        table: Answers as they are in the file.
        names: Classes, targets or labels of the dataset; None if they are unknown.
        noun: Word for them, for messages.

    Raises:
        TeacherError: If some are missing, or there twice.
    """
    assert table.values is not None
    if table.classes is None:
        return table.values, []
    order = column_order(table.classes, names, table.where, noun=noun)
    if order is None:
        return table.values, []
    return np.ascontiguousarray(table.values[:, order]), [f"{noun} matched by name"]


def as_records(array: NDArray) -> Tensor:
    """Return a tensor that shares the memory of an array, unless that is read-only."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _detect_kind(ranges: Ranges, needs: Requirements) -> str:
    """Detect what numbers are: those of labels are probabilities if all are from 0 to 1."""
    if needs.outputs == "values":
        return VALUES
    return PROBABILITIES if ranges.low >= 0 and ranges.high <= 1 else LOGITS


def _check_kind(table: AnswerTable, ranges: Ranges, kind: str, needs: Requirements) -> None:
    """Check that numbers are what they are said to be.

    Raises:
        TeacherError: If they are not, or if the dataset requires something else.
    """
    if (kind == VALUES) != (needs.outputs == "values") or kind == LABELS:
        expected = "values" if needs.outputs == "values" else "logits or probabilities"
        raise TeacherError(
            f"{table.where}: the answers are {KIND_TITLES[kind]}, but a dataset of {needs.noun} "
            f"requires {expected}."
        )
    if ranges.infinite and kind != LOG_PROBABILITIES:
        raise TeacherError(
            f"{table.where}: {ranges.infinite} rows contain -inf. Remove or repair them."
        )
    is_valid = True
    if kind == PROBABILITIES:
        is_valid = ranges.low >= 0 and ranges.high <= 1 + 1e-6
    elif kind == LOG_PROBABILITIES:
        is_valid = ranges.high <= 1e-6
    if not is_valid:
        raise TeacherError(
            f"{table.where}: numbers from {ranges.low:.4g} to {ranges.high:.4g} are no "
            f"{KIND_TITLES[kind]}. If they are logits, say so with teacher.kind=logits."
        )


def _as_logits(values: NDArray, ranges: Ranges, kind: str) -> tuple[NDArray, list[str]]:
    """Convert the probabilities of labels to their logits; other numbers stay as they are.

    Returns:
        Numbers ``[N, L]``, and phrases about what was changed.
    """
    if kind in (LOGITS, VALUES):
        return values, []
    p = values.astype(np.float64)
    if kind == LOG_PROBABILITIES:
        p = np.exp(p)
    certain = int(((p <= 0) | (p >= 1)).any(1).sum())
    smallest = ranges.smallest if kind == PROBABILITIES else float(np.exp(ranges.low))
    p = p.clip(min(FLOOR, smallest), 1 - FLOOR)
    notes = []
    if certain:
        rows = "row has" if certain == 1 else "rows have"
        notes = [f"{certain:,} {rows} a probability of 0 or 1, which became 1e-07 away from it"]
    return (np.log(p) - np.log1p(-p)).astype(np.float32), notes
