"""Datasets of the rows of a table, with numbers, categories and missing values."""

import itertools
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limbeck._base.bundle_runtime import number_in
from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data.arrays import convert_ids, warn_of_copies
from limbeck.data.checks import SplitShares, join_some
from limbeck.data.dataset import Dataset
from limbeck.data.parts import PARTS, TRAIN, check_classes, cut_parts, number_groups
from limbeck.data.split import Split
from limbeck.data.tables.columns import TableColumns
from limbeck.data.tables.frame import Frame, FrameTable
from limbeck.data.tables.labels import LabelColumn, number_labels
from limbeck.data.tables.listing import Table, list_tables
from limbeck.data.tables.parquet import classes_in
from limbeck.data.tables.rows import AnyTable, Roles, TableRows, read_rows
from limbeck.data.tables.table_file import TABLE_SUFFIXES, check_columns, open_table
from limbeck.data.tables.values import ColumnValues
from limbeck.losses.tasks import TASKS, check_task

_UNNAMED = re.compile(r"(Unnamed: \d+)?")
"""Names of columns that have none, such as the index of a data frame in a CSV file."""
TRUTH_VALUES = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
"""Words for a label that a sample has, or does not have."""
MIN_ROW_NUMBERS = 20
"""Smallest number of rows in which whole numbers one after the other are no chance."""
MIN_NAMES, MAX_SHARE = 20, 0.2
"""Number of categories, and their share of the training rows, above which they may be names."""
MIN_NUMBERS = 10
"""Smallest number of different numbers in a column whose texts may be mistakes."""


def table(
    path: str | Path | Frame,
    *,
    label: str | Sequence[str],
    id: str | None = None,
    split: str | None = None,
    group: str | None = None,
    categorical: Sequence[str] = (),
    ignore: Sequence[str] = (),
    task: str = "classes",
    class_names: Sequence[str] | None = None,
    test: float = 0.2,
    val: float = 0.1,
    split_seed: int = 0,
    name: str | None = None,
) -> Dataset:
    """Load a table whose rows are samples: numbers, categories and missing values.

    A column whose values are numbers is one of numbers, any other one is one of categories. Empty
    cells, and those with words such as ``NA``, are missing values. Columns without a name are not
    used.

    Args:
        path: CSV file in UTF-8 or UTF-16, separated by commas, semicolons or tabs, whose first line
            names the columns; a file of Parquet, Arrow or JSON lines; a folder of such files, whose
            names contain ``train``, ``validation`` or ``test``; or a data frame.
        label: Column of the labels; for regression the column of the values to predict, or several;
            for several labels per sample their columns of 0 and 1.
        id: Column of the names of the samples, by which a file of a teacher's answers may name
            them; None for their row numbers, from 0.
        split: Column with the names of the splits: train, val (or validation) and test. A split
            that it does not contain is cut from train. None to cut both; rows with equal features
            are then in the same split.
        group: Column of groups, such as persons, machines or days; rows of a group are in the same
            split. None for no groups.
        categorical: Columns whose numbers are codes of categories.
        ignore: Columns that are not used.
        task: Kind of target: ``classes``, ``ordinal`` for ordered grades, ``regression``, or
            ``multi_label`` for several labels per sample.
        class_names: Names of the classes in their order. Labels may then be numbers from 0. None
            for the labels in the table, sorted by name (numbers by value).
        test: Share of the rows for testing.
        val: Share of the rows for validation.
        split_seed: Seed of the splits.
        name: Name for tables and messages; None for the name of the file.

    Returns:
        Dataset with :class:`~limbeck.data.TableColumns` and inputs float32 ``[N, F]``. Categories
        are those of the training split; others count as missing.

    Raises:
        ConfigError: If a setting is out of range, or if the order of grades is unknown.
        DataError: If a column, label or value is missing or not as expected.
        ResourceError: If the table is a Parquet file and pyarrow is not installed.

    Warns:
        LimbeckWarning: If a column may have mistakes or is not used, if classes have similar names,
            or if test rows are equal to training rows.
    """
    options = _Options(val=val, test=test, split_seed=split_seed, task=task)
    roles = Roles(labels=_names(label), id=_name(id), split=_name(split), group=_name(group))
    if not roles.labels:
        raise ConfigError(f"data.label={label!r} should be the name of a column.")
    source = _open(path, roles)
    where, codes, unused = source.where, _names(categorical), _names(ignore)
    check_columns(source.first, [*roles.names, *codes, *unused], "Set data.label=.")
    features = _features(source.first, roles, unused)
    for content, _ in source.tables[1:]:
        check_columns(content, [*roles.names, *features], "")
    rows = read_rows(source.tables, where, roles, features)
    if class_names is None and options.has_classes:
        class_names = source.class_names.get(roles.labels[0])
    labels, names = _labels(rows, class_names, options)
    _find_categories(rows, [*codes, *source.class_names, *source.categorical])
    parts = cut_parts(rows.parts, rows.positions(split_seed), options, where, "rows")
    columns, inputs = _inputs(rows, np.array(parts) == TRAIN)
    splits = _splits(inputs, labels, parts, rows)
    if options.has_classes:
        check_classes(splits, names, where, "rows")
    if len(set(rows.parts)) > 1:
        warn_of_copies(splits["train"].inputs, splits["test"].inputs, str(where), stacklevel=2)
    return Dataset.from_splits(
        where.resolve().stem if name is None else name,
        splits["train"],
        splits["val"],
        splits["test"],
        class_names=names,
        columns=columns,
        task=options.task,
    )


@dataclass(frozen=True, kw_only=True)
class _Options(SplitShares):
    """Settings of splits and labels.

    Attributes:
        task: Kind of target.
    """

    task: str

    def __post_init__(self) -> None:
        self.check_shares("the rows")
        if check_task(self.task) == "next_token":
            raise ConfigError("data.task=next_token is for text. Choose another one.")

    @property
    def has_classes(self) -> bool:
        """Whether labels are classes."""
        return TASKS[self.task].has_classes


def _name(column: object) -> str | None:
    """Return the name of a column; Hydra parses a name such as 0 as a number."""
    return None if column is None else str(column)


def _names(columns: object) -> list[str]:
    if isinstance(columns, Sequence) and not isinstance(columns, str):
        return [str(column) for column in columns]
    return [] if columns is None else [str(columns)]


@dataclass(frozen=True)
class _Source:
    """The files of a table, or a data frame.

    Attributes:
        where: File or folder, for messages.
        tables: Tables with the numbers of their splits, that of training first.
        class_names: Names of the classes in columns of their numbers, by column.
        categorical: Other columns whose type says that they contain categories.
    """

    where: Path
    tables: list[tuple[AnyTable, int]]
    class_names: Mapping[str, list[str]]
    categorical: Sequence[str] = ()

    @property
    def first(self) -> AnyTable:
        """The first table, which names the columns."""
        return self.tables[0][0]


def _open(path: str | Path | Frame, roles: Roles) -> _Source:
    """Open the files of a table, or a data frame."""
    if isinstance(path, Frame):
        frame = FrameTable(path)
        return _Source(Path("table"), [(frame, TRAIN)], {}, frame.categorical)
    root = Path(str(path)).expanduser()
    files = [Table(root, TRAIN, {})]
    if os.path.isdir(root):
        files = sorted(list_tables(root, TABLE_SUFFIXES), key=lambda table: -table.part)
    tables: list[tuple[AnyTable, int]] = []
    class_names: dict[str, list[str]] = {}
    for file in files:
        content = open_table(file.file, roles.names)
        if tables and not set(roles.labels) <= set(content.columns):
            _warn(f"{file.file} has no column {roles.labels[0]}, so it is not used.")
            continue
        tables.append((content, file.part))
        class_names |= content.class_names | classes_in(file.features)
    return _Source(root, tables, class_names)


def _features(content: AnyTable, roles: Roles, unused: Sequence[str]) -> list[str]:
    others = {*roles.names, *unused}
    features = [name for name in content.columns if name not in others]
    features = [name for name in features if not _UNNAMED.fullmatch(name)]
    check_columns(content, features, "")
    if not features:
        raise DataError(
            f"{content.file} has no columns beside {', '.join(sorted(others))}; expected at least "
            "one from which a model can predict."
        )
    return features


# Labels -------------------------------------------------------------------------------------------


def _labels(
    rows: TableRows, class_names: Sequence[str] | None, options: _Options
) -> tuple[Tensor, list[str]]:
    """Return the labels, and the names of classes or targets."""
    if not options.has_classes:
        if class_names is not None:
            raise ConfigError(f"data.class_names is for classes, but data.task={options.task}.")
        words = TRUTH_VALUES if options.task == "multi_label" else {}
        values = [_values(column, rows.decimal, words) for column in rows.labels]
        return torch.tensor(values).T.contiguous(), [column.name for column in rows.labels]
    if len(rows.labels) > 1:
        raise ConfigError(
            f"data.label names {len(rows.labels)} columns, but data.task={options.task} has one."
        )
    order = "grades" if options.task == "ordinal" else "natural"
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


# Features -----------------------------------------------------------------------------------------


def _find_categories(rows: TableRows, codes: Sequence[str]) -> None:
    """Find the columns of categories, and leave out those without any value.

    Args:
        rows: Rows of the table, whose columns are changed.
        codes: Columns that the user names.
    """
    empty = [column.name for column in rows.columns if column.is_empty]
    rows.columns = [column for column in rows.columns if not column.is_empty]
    if not rows.columns:
        raise DataError(f"{rows.where}: no column has a value, except that of the labels.")
    if empty:
        _warn(f"{rows.where}: columns without any value are not used: {join_some(empty)}.")
    for column in rows.columns:
        others = column.other_texts()
        column.is_categorical = column.name in codes or bool(others)
        if others and column.name not in codes:
            _warn_of_mistakes(rows.where, column, others)
        if not column.is_categorical:
            _warn_of_row_numbers(rows.where, column)


def _inputs(rows: TableRows, is_train: np.ndarray) -> tuple[TableColumns, Tensor]:
    """Return the columns and the inputs, float32 ``[N, F]``."""
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
            f"{rows.where}: {len(unknown)} categories are in no training row, so they count as "
            f"missing: {join_some(unknown)}."
        )
    names = tuple(column.name for column in rows.columns)
    return TableColumns(names, tuple(kinds)), torch.from_numpy(np.stack(arrays, 1))


def _warn_of_mistakes(where: Path, column: ColumnValues, others: Sequence[str]) -> None:
    """Warn of a few texts among many numbers, which make all of them categories."""
    numbers = len(column.texts) - len(others)
    if numbers >= MIN_NUMBERS and numbers > len(others):
        _warn(
            f"{where}: column {column.name} contains numbers and texts, so all its values are read "
            f"as categories: {join_some(others)}. If they are mistakes, replace them by empty "
            f"cells; otherwise confirm with data.categorical=[{column.name}]."
        )


def _warn_of_row_numbers(where: Path, column: ColumnValues) -> None:
    """Warn of a column that numbers the rows."""
    values = column.numbers().astype(np.float64)
    count = len(values)
    if count < MIN_ROW_NUMBERS or np.isnan(values).any() or len(np.unique(values)) < count:
        return
    if values.max() - values.min() == count - 1:
        _warn(
            f"{where}: column {column.name} seems to number the rows, which says nothing about "
            f"other rows. Leave it out with data.ignore=[{column.name}], or name the samples by it "
            f"with data.id={column.name}."
        )


def _warn(text: str) -> None:
    warnings.warn(text, LimbeckWarning, stacklevel=4)


def _splits(
    inputs: Tensor, labels: Tensor, parts: Sequence[int], rows: TableRows
) -> dict[str, Split]:
    names = rows.ids or _row_numbers(rows)
    everything = Split(
        inputs,
        labels,
        convert_ids(names, str(rows.where)) if names else None,
        groups=number_groups(rows.groups, parts, rows.where),
    )
    splits = {}
    for key, part in PARTS.items():
        splits[key] = everything.take(torch.from_numpy(np.flatnonzero(np.array(parts) == part)))
    return splits


def _row_numbers(rows: TableRows) -> list[str]:
    """Return the split of each row and its number in the files of the split; empty for one file."""
    if not rows.has_files_of_splits:
        return []
    counts = {part: itertools.count() for part in PARTS.values()}
    names = {part: name for name, part in PARTS.items()}
    return [f"{names[part]}/{next(counts[part])}" for part in rows.parts]
