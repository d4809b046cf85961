"""Labels of a table as numbers of classes."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from limbeck._base.errors import DataError
from limbeck.data.checks import join_some
from limbeck.data.images.class_names import (
    is_number,
    missing_labels,
    natural_sort,
    normal_name,
    parse_class_names,
    sort_grades,
    warn_of_similar_names,
    whole_numbers,
)
from limbeck.data.images.table_rows import Rows


def number_labels(
    rows: Rows, class_names: Sequence[str] | None, order: str
) -> tuple[list[int], list[str]]:
    """Return the labels of a table as numbers from 0, and the names of the classes.

    Args:
        rows: Rows of the table.
        class_names: Names of the classes in their order; None for the labels of the table.
        order: Order of the labels of the table: ``natural``, ``text`` or ``grades``.

    Raises:
        ConfigError: If the order of grades is unknown, or ``class_names`` is no list of names.
        DataError: If labels are missing or unknown, or are no classes.

    Warns:
        LimbeckWarning: If classes have similar names.
    """
    rows = replace(rows, labels=[normal_name(label) for label in rows.labels])
    if class_names is None:
        if order != "text":
            forms = whole_numbers(set(rows.labels) - missing_labels(set(rows.labels)))
            rows = replace(rows, labels=[forms.get(label, label) for label in rows.labels])
        names = _names_in(rows, order)
    else:
        names = parse_class_names(class_names)
        rows = _named_labels(rows, names)
    numbers = {name: number for number, name in enumerate(names)}
    return [numbers[label] for label in rows.labels], names


def _named_labels(rows: Rows, names: Sequence[str]) -> Rows:
    """Return rows whose labels are names of classes; numbers are positions in the list of names."""
    classes = {name: name for name in names}
    if not any(map(is_number, names)):  # otherwise a number would have two meanings
        classes |= {str(number): name for number, name in enumerate(names)}
    # pandas writes integers as floats if the column had a missing value.
    integers = {label: label.removesuffix(".0") for label in rows.labels if is_number(label)}
    labels = [label if label in classes else integers.get(label, label) for label in rows.labels]
    rows = replace(rows, labels=labels)
    unknown = _files_with(rows, set(labels) - classes.keys())
    if unknown:
        raise DataError(
            f"{rows.table}: {len(unknown)} labels in column {rows.column} are not among "
            f"{', '.join(classes)}: {join_some(unknown)}."
        )
    return replace(rows, labels=[classes[label] for label in labels])


def _names_in(rows: Rows, order: str) -> list[str]:
    """Return the labels of a table as class names, sorted."""
    missing = _files_with(rows, missing_labels(set(rows.labels)))
    if missing:
        raise DataError(
            f"{rows.table}: {len(missing)} labels in column {rows.column} are missing: "
            f"{join_some(missing)}. Fill them in, or remove these rows."
        )
    names = sorted(set(rows.labels))
    if len(names) < 2:
        raise DataError(
            f"{rows.table}: column {rows.column} contains only {names[0]}; expected at least two "
            "classes."
        )
    if len(names) > max(2, len(rows.labels) // 2):
        raise DataError(
            f"{rows.table}: column {rows.column} contains {len(names)} different values in "
            f"{len(rows.labels)} rows; a class should have several images. Does "
            "data.label_column= name the labels?"
        )
    warn_of_similar_names(names, rows.table)
    if order == "grades":
        return sort_grades(names, rows.table)
    if order == "natural":
        return natural_sort(names)
    if all(label.isascii() and label.isdigit() for label in names):
        names.sort(key=lambda label: (int(label), label))
    return names


def _files_with(rows: Rows, labels: Collection[str]) -> list[str]:
    """Return some labels with the files that have them, for messages."""
    pairs = zip(rows.files, rows.labels, strict=True)
    return [f"{label} ({file})" for file, label in pairs if label in labels]
