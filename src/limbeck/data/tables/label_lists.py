"""Several labels in one cell of a table: a list of names, as in ``a;b`` or ``["a", "b"]``."""

import ast
import warnings
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck._base.reading import parse_json
from limbeck.data.checks import join_some
from limbeck.data.class_names import (
    MISSING,
    is_number,
    natural_sort,
    normal_name,
    parse_class_names,
    warn_of_similar_names,
    whole_numbers,
)
from limbeck.data.tables.labels import LabelColumn

SEPARATORS = ";|,"
"""Characters that separate labels. The first of them that a column contains is its separator."""
TRUTH_VALUES = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
"""Words for a label that a sample has, or does not have."""
_FLAGS = {"0", "1", "0.0", "1.0", *TRUTH_VALUES}


def is_flag_column(column: LabelColumn) -> bool:
    """Whether each cell says if a sample has one label, as 0, 1, yes or no, or is empty."""
    texts = {text.lower() for text in column.labels} - {""}
    return texts <= _FLAGS


def read_label_lists(
    column: LabelColumn, class_names: Sequence[str] | None
) -> tuple[Tensor, list[str]]:
    """Return labels that are lists of names, or lists of 0 and 1.

    An empty cell, or an empty list, is a sample without labels. Lists of 0 and 1 that have one
    length have an entry for each label.

    Args:
        column: Labels of the table.
        class_names: Names of the labels in their order; labels in the table may then be numbers
            from 0. None for those in the table, sorted.

    Returns:
        Labels, 0 or 1, float32 ``[N, L]``, and their names.

    Raises:
        ConfigError: If ``class_names`` is no list of names.
        DataError: If a list is damaged, or a label is missing or unknown.

    Warns:
        LimbeckWarning: If labels have similar names, or if no sample has several.
    """
    lists = _split_cells(column)
    if _are_flags(lists):
        return _read_flags(lists, class_names)
    if all(len(labels) < 2 for labels in lists):
        warnings.warn(
            f"{column.table}: no row has more than one label in column {column.name}. Lists are "
            "written as a;b, and a column of a single label contains 0 and 1 alone. If each sample "
            "has one class, leave out data.task=multi_label.",
            LimbeckWarning,
            stacklevel=4,
        )
    used = set(chain.from_iterable(lists))
    if class_names is None:
        forms = whole_numbers(used)
        lists = [[forms[label] for label in labels] for labels in lists]
        names = natural_sort(set(forms.values()))
        warn_of_similar_names(names, column.table)
    else:
        names = parse_class_names(class_names)
        if not any(map(is_number, names)):  # otherwise a number would have two meanings
            by_number = {str(number): name for number, name in enumerate(names)}
            lists = [[by_number.get(label, label) for label in labels] for labels in lists]
    if not names:
        raise DataError(f"{column.table}: no row has a label in column {column.name}.")
    numbers = {name: number for number, name in enumerate(names)}
    table = torch.zeros(len(lists), len(names))
    unknown = []
    for row, (labels, place) in enumerate(zip(lists, column.samples, strict=True)):
        unknown += [f"{label} ({place})" for label in labels if label not in numbers]
        table[row, [numbers[label] for label in labels if label in numbers]] = 1
    if unknown:
        raise DataError(
            f"{column.table}: {len(unknown)} labels in column {column.name} are not among "
            f"{', '.join(names)}: {join_some(unknown)}."
        )
    return table, names


def _split_cells(column: LabelColumn) -> list[list[str]]:
    """Return the labels in each cell.

    Raises:
        DataError: If a list cannot be read, or a label is missing.
    """
    plain = [text for text in column.labels if not text.startswith("[")]
    separator = next((one for one in SEPARATORS if any(one in text for text in plain)), None)
    lists, faults = [], []
    for text, place in zip(column.labels, column.samples, strict=True):
        try:
            labels = _labels_in(text, separator)
        except ValueError:
            labels = []
            faults.append(f"{text[:40]!r} is no list ({place})")
        missing = [label for label in labels if not label or label.lower() in MISSING]
        faults += [f"{label!r} is missing ({place})" for label in missing]
        lists.append(labels)
    if faults:
        raise DataError(
            f"{column.table}: {len(faults)} labels in column {column.name} are not as expected: "
            f'{join_some(faults)}. Lists are written as a;b or ["a", "b"]; an empty cell means '
            "no label."
        )
    return lists


def _labels_in(text: str, separator: str | None) -> list[str]:
    """Return the labels in a cell.

    Raises:
        ValueError: If it contains something else than names.
    """
    if not text.startswith("["):
        parts = [text] if separator is None else text.split(separator)
        names = [normal_name(part.strip()) for part in parts]
        return names[:-1] if not names[-1] else names  # a separator may also end a list
    try:
        values = parse_json(text)
    except ValueError:
        try:
            values = ast.literal_eval(text)  # as pandas writes lists
        except (SyntaxError, MemoryError, RecursionError):
            raise ValueError(text) from None
    are_names = isinstance(values, list) and all(isinstance(v, (str, int, float)) for v in values)
    if not are_names:
        raise ValueError(text)
    return [normal_name(str(value).strip()) for value in values]


def _are_flags(lists: Sequence[Sequence[str]]) -> bool:
    """Whether lists are all of one length, and have a 0 or a 1 for each label."""
    lengths = {len(labels) for labels in lists}
    if len(lengths) != 1 or max(lengths) < 2:
        return False
    words = {label.lower() for labels in lists for label in labels}
    has_repeated = any(len(set(labels)) < len(labels) for labels in lists)
    return words <= _FLAGS and has_repeated


def _read_flags(
    lists: Sequence[Sequence[str]], class_names: Sequence[str] | None
) -> tuple[Tensor, list[str]]:
    count = len(lists[0])
    names = [f"label {number}" for number in range(count)]
    if class_names is not None:
        names = parse_class_names(class_names)
    if len(names) != count:
        raise DataError(
            f"data.class_names lists {len(names)} labels, but the lists in the table have {count} "
            "entries."
        )
    table = torch.zeros(len(lists), count)
    for row, labels in enumerate(lists):
        table[row] = torch.tensor([flag_value(label) for label in labels])
    return table, names


def flag_value(text: str) -> float:
    """Return 1 or 0 for a text of :func:`is_flag_column`."""
    word = TRUTH_VALUES.get(text.lower())
    return float(text) if word is None else word
