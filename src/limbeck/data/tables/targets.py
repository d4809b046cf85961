"""Labels of the rows of a table: classes, values to predict, or several labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck._base.errors import ConfigError, DataError
from limbeck.data.checks import join_some
from limbeck.data.tables.label_lists import TRUTH_VALUES, is_flag_column, read_label_lists
from limbeck.data.tables.labels import LabelColumn, number_labels
from limbeck.data.tables.values import parse_number
from limbeck.losses.tasks import TASKS, Task, check_task


@dataclass(frozen=True)
class Targets:
    """Labels of samples.

    Attributes:
        labels: Class numbers, int64 ``[N]``; values, float32 ``[N, D]``; or several labels, 0 or
            1, float32 ``[N, L]``.
        names: Names of the classes, of the values or of the labels.
        kind: Kind of target.
    """

    labels: Tensor
    names: list[str]
    kind: Task = TASKS["classes"]

    def __len__(self) -> int:
        return len(self.labels)

    def describe(self, row: int) -> str:
        """Return the label of a sample as a text for messages."""
        label = self.labels[row]
        if self.kind.has_classes:
            return self.names[int(label)]
        if self.kind.outputs == "values":
            return ", ".join(f"{value:g}" for value in label.tolist())
        names = [name for name, value in zip(self.names, label.tolist(), strict=True) if value]
        return " + ".join(names) or "no label"

    def differ(self, row: int, other: int) -> bool:
        """Whether two samples have different labels."""
        return not torch.equal(self.labels[row], self.labels[other])


def check_sample_task(task: object, *, ordinal: bool = False) -> str:
    """Check the kind of target of samples with labels, and return its name.

    Args:
        task: Value of ``data.task``.
        ordinal: Whether another setting says that the classes are grades.

    Raises:
        ConfigError: If it is unknown, or is for blocks of text or embeddings.
    """
    name = check_task(task, ordinal=ordinal)
    if name == "next_token":
        raise ConfigError("data.task=next_token is for text. Choose another one.")
    if TASKS[name].outputs == "vectors":
        raise ConfigError(f"data.task={name} is for data=sentences. Choose another one.")
    if name == "embedding":
        raise ConfigError("data.task=embedding is for texts: read them with data=sentences.")
    return name


def read_targets(
    columns: Sequence[LabelColumn],
    class_names: Sequence[str] | None,
    task: str,
    *,
    order: str = "natural",
    decimal: str = ".",
) -> Targets:
    """Return the labels of the rows of a table.

    Args:
        columns: Columns of the labels.
        class_names: Names of the classes, or of labels in lists, in their order; None for those in
            the table.
        task: Kind of target.
        order: Order of classes that are no grades: ``natural`` or ``text``.
        decimal: Decimal separator of numbers.

    Raises:
        ConfigError: If the settings contradict each other, or the order of grades is unknown.
        DataError: If a label is missing or not as expected.

    Warns:
        LimbeckWarning: If classes or labels have similar names.
    """
    kind = TASKS[task]
    if kind.has_classes:
        if len(columns) > 1:
            names = ", ".join(column.name for column in columns)
            raise ConfigError(
                f"The labels are {len(columns)} columns ({names}), but data.task={task} has one. "
                "Name one column, or set data.task=regression for values or data.task=multi_label "
                "for several labels."
            )
        order = "grades" if task == "ordinal" else order
        numbers, class_names = number_labels(columns[0], class_names, order)
        return Targets(torch.tensor(numbers), list(class_names), kind)
    if kind.outputs == "labels" and len(columns) == 1 and not is_flag_column(columns[0]):
        return Targets(*read_label_lists(columns[0], class_names), kind)
    if class_names is not None:
        raise ConfigError(
            f"data.class_names is for classes and for lists of labels, but with data.task={task} "
            "these labels have the names of their columns."
        )
    words = TRUTH_VALUES if kind.outputs == "labels" else {}
    values = [_values(column, decimal, words) for column in columns]
    labels = torch.tensor(values).T.contiguous()
    return Targets(labels, [column.name for column in columns], kind)


def _values(column: LabelColumn, decimal: str, words: Mapping[str, float]) -> list[float]:
    """Return the values of a column to predict, of numbers or some words in lower case."""
    values, faults = [], []
    for text, place in zip(column.labels, column.samples, strict=True):
        try:
            word = words.get(text.lower())
            value = parse_number(text, decimal) if word is None else word
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
