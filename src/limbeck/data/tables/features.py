"""Features of the rows of a table: columns of numbers, and columns of categories."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck.data.checks import join_some
from limbeck.data.precision import rounding
from limbeck.data.tables.columns import TableColumns
from limbeck.data.tables.rows import TableRows
from limbeck.data.tables.values import ColumnValues, has_thousands

MIN_ROW_NUMBERS = 20
"""Minimum number of rows in which consecutive whole numbers are hardly a coincidence."""
MIN_NAMES, MAX_SHARE = 20, 0.2
"""Number of categories, and their share of the training rows, above which they may be names."""
MIN_NUMBERS = 10
"""Minimum number of different numbers in a column whose texts may be mistakes."""


def find_categories(rows: TableRows, codes: Sequence[str]) -> None:
    """Find the columns of categories, and leave out those without any value.

    Args:
        rows: Rows of the table, whose columns are changed.
        codes: Columns whose numbers are codes of categories.

    Raises:
        DataError: If no column has a value.

    Warns:
        LimbeckWarning: If a column may have mistakes or codes of missing values, is not used, or
            numbers the rows.
    """
    empty = [column.name for column in rows.columns if column.is_empty]
    rows.columns = [column for column in rows.columns if not column.is_empty]
    if not rows.columns:
        raise DataError(f"{rows.where}: all columns are empty, except that of the labels.")
    if empty:
        _warn(f"{rows.where}: columns without any value are not used: {join_some(empty)}.")
    for column in rows.columns:
        others = column.other_texts()
        column.is_categorical = column.name in codes or bool(others)
        if others and column.name not in codes:
            _warn_of_mistakes(rows.where, column, others)
        if not column.is_categorical:
            values = column.numbers()
            _warn_of_rounding(rows.where, column, values)
            _warn_of_row_numbers(rows.where, column.name, values)
            _warn_of_codes(rows.where, column.name, values[~np.isnan(values)])


def encode_features(rows: TableRows, is_train: np.ndarray) -> tuple[TableColumns, Tensor]:
    """Return the columns of a table, and its rows as inputs.

    Args:
        rows: Rows of the table, after :func:`find_categories`.
        is_train: Whether each row belongs to the training split, bool ``[N]``.

    Returns:
        Columns, and inputs float32 ``[N, F]``.

    Raises:
        DataError: If a column has too many categories, or none in the training split.

    Warns:
        LimbeckWarning: If a column has many categories, or some in no training row.
    """
    kinds: list[tuple[str, ...] | None] = []
    arrays = []
    unknown: list[str] = []
    for column in rows.columns:
        if not column.is_categorical:
            kinds.append(None)
            arrays.append(column.numbers())
            continue
        codes = column.codes(is_train)
        kinds.append(codes.categories)
        arrays.append(codes.values)
        unknown += [f"{column.name} {category}" for category in codes.unknown]
        if len(codes.categories) > max(MIN_NAMES, MAX_SHARE * is_train.sum()):
            _warn(
                f"{rows.where}: column {column.name} has {len(codes.categories)} categories in "
                f"{is_train.sum():,} training rows, so a model learns little about each. If they "
                "are names or dates, leave the column out with data.ignore=, or keep the rows of "
                "each in one split with data.group=."
            )
    if unknown:
        _warn(
            f"{rows.where}: {len(unknown)} categories do not occur in the training rows, so they "
            f"are treated as missing values: {join_some(unknown)}."
        )
    names = tuple(column.name for column in rows.columns)
    return TableColumns(names, tuple(kinds)), torch.from_numpy(np.stack(arrays, 1))


def _warn_of_mistakes(where: Path, column: ColumnValues, others: Sequence[str]) -> None:
    """Warn of a few texts among many numbers, which make all of them categories."""
    numbers = len(column.texts) - len(others)
    thousands = [text for text in column.texts if has_thousands(text)]
    if len(thousands) > len(others) / 2:
        _warn(
            f"{where}: column {column.name} contains numbers with thousands separators, such as "
            f"{others[0]}, so all its values are read as categories. Write them as 1234.5 to use "
            f"them as numbers; otherwise confirm with data.categorical=[{column.name}]."
        )
        return
    if numbers >= MIN_NUMBERS and numbers > len(others):
        _warn(
            f"{where}: column {column.name} contains numbers and texts, so all its values are read "
            f"as categories: {join_some(others)}. If they are mistakes, replace them with empty "
            f"cells; otherwise confirm with data.categorical=[{column.name}]."
        )


def _warn_of_rounding(where: Path, column: ColumnValues, values: np.ndarray) -> None:
    """Warn of numbers so large that float32 rounds away the differences between rows."""
    [text] = rounding(torch.from_numpy(values)[:, None])
    if text and len(column.texts) != 1:  # a single text is a constant
        _warn(f"{where}: column {column.name} {text}.")


def _warn_of_row_numbers(where: Path, name: str, values: np.ndarray) -> None:
    """Warn of a column that numbers the rows."""
    count = len(values)
    are_close = values.max() - values.min() == count - 1  # false if a value is NaN
    if count >= MIN_ROW_NUMBERS and are_close and len(np.unique(values)) == count:
        _warn(
            f"{where}: column {name} seems to number the rows, which says nothing about other "
            f"rows. Leave it out with data.ignore=[{name}], or use it as the ids of the "
            f"samples with data.id={name}."
        )


def _warn_of_codes(where: Path, name: str, values: np.ndarray) -> None:
    """Warn of a number far from all others that several rows have, such as -999."""
    for code in (values.min(), values.max()):
        others = values[values != code]
        count = len(values) - len(others)
        if count < 2 or len(others) < MIN_NUMBERS:
            continue
        is_far = np.abs(others - code).min() > others.max() - others.min()
        if is_far and len(np.unique(others)) >= MIN_NUMBERS:
            _warn(
                f"{where}: {count:,} rows have {code:g} in column {name}, far from all others "
                f"({others.min():g} to {others.max():g}). If it stands for a missing value, "
                "replace it with an empty cell."
            )


def _warn(text: str) -> None:
    warnings.warn(text, LimbeckWarning, stacklevel=4)
