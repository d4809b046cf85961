"""Labels of a table as numbers of classes."""

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck.data.checks import join_some
from limbeck.data.class_names import (
    MISSING_AMONG_NUMBERS,
    is_number,
    missing_labels,
    natural_sort,
    normal_name,
    parse_class_names,
    sort_grades,
    warn_of_similar_names,
    whole_numbers,
)

MAX_LABEL = 1000
MAX_LABEL_LIST = 10_000
"""Largest number of characters of a label, and of a list of labels."""


@dataclass(frozen=True)
class LabelColumn:
    """The labels of a table.

    Attributes:
        table: File of the table, for messages.
        name: Name of the column, for messages.
        labels: Label of each row.
        samples: Name of the sample of each row, such as a file or ``line 3``.
    """

    table: Path
    name: str
    labels: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)

    def add(self, label: str, sample: str) -> None:
        """Add a row."""
        self.labels.append(label)
        self.samples.append(sample)


def label_fault(label: str, *, is_list: bool = False) -> str | None:
    """Return what is wrong with a label, or with a list of labels, if anything is."""
    limit = MAX_LABEL_LIST if is_list else MAX_LABEL
    if len(label) <= limit:
        return None
    return f"a label of {len(label):,} characters; expected at most {limit}"


def number_labels(
    column: LabelColumn, class_names: Sequence[str] | None, order: str
) -> tuple[list[int], list[str]]:
    """Return the labels of a table as numbers from 0, and the names of the classes.

    Args:
        column: Labels of the table.
        class_names: Names of the classes in their order; None for the labels of the table.
        order: Order of the labels of the table: ``natural``, ``text`` or ``grades``.

    Raises:
        ConfigError: If the order of grades is unknown, or ``class_names`` is no list of names.
        DataError: If labels are missing or unknown, or are no classes.

    Warns:
        LimbeckWarning: If classes have similar names.
    """
    column = replace(column, labels=[normal_name(label) for label in column.labels])
    if class_names is None:
        if order != "text":
            forms = whole_numbers(set(column.labels) - missing_labels(set(column.labels)))
            column = replace(column, labels=[forms.get(label, label) for label in column.labels])
        names = _names_in(column, order)
    else:
        names = parse_class_names(class_names)
        column = _named_labels(column, names)
    numbers = {name: number for number, name in enumerate(names)}
    return [numbers[label] for label in column.labels], names


def _named_labels(column: LabelColumn, names: Sequence[str]) -> LabelColumn:
    """Return labels that are names of classes; numbers are positions in the list of names."""
    classes = {name: name for name in names}
    if not any(map(is_number, names)):  # otherwise a number would have two meanings
        classes |= {str(number): name for number, name in enumerate(names)}
    # pandas writes integers as floats if the column had a missing value.
    integers = {label: label.removesuffix(".0") for label in column.labels if is_number(label)}
    labels = [label if label in classes else integers.get(label, label) for label in column.labels]
    column = replace(column, labels=labels)
    unknown = _samples_with(column, set(labels) - classes.keys())
    if unknown:
        raise DataError(
            f"{column.table}: {len(unknown)} labels in column {column.name} are not among "
            f"{', '.join(classes)}: {join_some(unknown)}."
        )
    return replace(column, labels=[classes[label] for label in labels])


def _names_in(column: LabelColumn, order: str) -> list[str]:
    """Return the labels of a table as class names, sorted."""
    missing = _samples_with(column, missing_labels(set(column.labels)))
    if missing:
        raise DataError(
            f"{column.table}: {len(missing)} labels in column {column.name} are missing: "
            f"{join_some(missing)}. Fill them in, or remove these rows."
        )
    names = sorted(set(column.labels))
    if len(names) < 2:
        raise DataError(
            f"{column.table}: column {column.name} contains only {names[0]}; expected at least two "
            "classes."
        )
    if len(names) > max(2, len(column.labels) // 2):
        raise DataError(
            f"{column.table}: column {column.name} contains {len(names)} different values in "
            f"{len(column.labels)} rows; a class should have several samples. Is it "
            "the column of the labels?"
        )
    warn_of_similar_names(names, column.table)
    _warn_of_missing_words(column, names)
    if order == "grades":
        return sort_grades(names, column.table)
    if order == "natural":
        return natural_sort(names)
    if all(label.isascii() and label.isdigit() for label in names):
        names.sort(key=lambda label: (int(label), label))
    return names


def _warn_of_missing_words(column: LabelColumn, names: Collection[str]) -> None:
    """Warn of classes such as ``NA``, which other programs read as a missing label."""
    doubtful = {name for name in names if name.lower() in MISSING_AMONG_NUMBERS}
    if doubtful:
        samples = _samples_with(column, doubtful)
        verb = "is a class" if len(doubtful) == 1 else "are classes"
        warnings.warn(
            f"{column.table}: {' and '.join(sorted(doubtful))} {verb} in column {column.name}, "
            f"which other programs, such as pandas, read as a missing label: {join_some(samples)}. "
            "If the label is missing, remove these rows; otherwise choose another word for it.",
            LimbeckWarning,
            stacklevel=5,
        )


def _samples_with(column: LabelColumn, labels: Collection[str]) -> list[str]:
    """Return some labels with the samples that have them, for messages."""
    pairs = zip(column.samples, column.labels, strict=True)
    return [f"{label} ({sample})" for sample, label in pairs if label in labels]
