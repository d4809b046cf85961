"""Labels of the rows of a table: classes, values to predict, or several labels."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from limbeck._base.bundle_runtime import number_in
from limbeck._base.errors import ConfigError, DataError
from limbeck.data.checks import join_some
from limbeck.data.tables.labels import LabelColumn, number_labels
from limbeck.data.tables.rows import TableRows
from limbeck.losses.tasks import TASKS

TRUTH_VALUES = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
"""Words for a label that a sample has, or does not have."""


def read_targets(
    rows: TableRows, class_names: Sequence[str] | None, task: str
) -> tuple[Tensor, list[str]]:
    """Return the labels of the rows of a table, and the names of classes or targets.

    Args:
        rows: Rows of the table.
        class_names: Names of the classes in their order; None for those in the table.
        task: Kind of target.

    Returns:
        Class numbers int64 ``[N]``, or values float32 ``[N, D]``; and the names.

    Raises:
        ConfigError: If the settings contradict each other, or the order of grades is unknown.
        DataError: If a label is missing or not as expected.
    """
    if not TASKS[task].has_classes:
        if class_names is not None:
            raise ConfigError(f"data.class_names is for classes, but data.task={task}.")
        words = TRUTH_VALUES if task == "multi_label" else {}
        values = [_values(column, rows.decimal, words) for column in rows.labels]
        return torch.tensor(values).T.contiguous(), [column.name for column in rows.labels]
    if len(rows.labels) > 1:
        raise ConfigError(
            f"data.label names {len(rows.labels)} columns, but data.task={task} has one."
        )
    order = "grades" if task == "ordinal" else "natural"
    numbers, names = number_labels(rows.labels[0], class_names, order)
    return torch.tensor(numbers), names


def _values(column: LabelColumn, decimal: str, words: Mapping[str, float]) -> list[float]:
    """Return the values of a column to predict, of numbers or some words in lower case."""
    values, faults = [], []
    for text, place in zip(column.labels, column.samples, strict=True):
        try:
            word = words.get(text.lower())
            value = number_in(text, decimal) if word is None else word
            fault = f"{text!r} is missing" if value != value else None
        except ValueError as error:
            value, fault = 0.0, str(error)
        values.append(value)
        if fault:
            faults.append(f"{fault} ({place})")
    if faults:
        raise DataError(
            f"{column.table}: {len(faults)} values to predict in column {column.name} are not as "
            f"expected: {join_some(faults)}."
        )
    return values
