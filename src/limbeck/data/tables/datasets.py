"""Datasets of the rows of a table, with numbers, categories and missing values."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limbeck._base.errors import ConfigError
from limbeck.data.arrays import convert_ids, warn_of_copies
from limbeck.data.checks import SplitShares, absolute
from limbeck.data.dataset import Dataset
from limbeck.data.parts import PARTS, TRAIN, VAL, check_labels, cut_parts, number_groups
from limbeck.data.split import Split
from limbeck.data.tables.features import encode_features, find_categories
from limbeck.data.tables.frame import Frame
from limbeck.data.tables.rows import Roles, TableRows, read_rows
from limbeck.data.tables.source import feature_names, open_source
from limbeck.data.tables.table_file import check_columns, column_name, column_names
from limbeck.data.tables.targets import check_sample_task, read_targets


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
            for several labels per sample their columns of 0 and 1, or a column of lists, such as
            ``a;b`` or ``["a", "b"]``.
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
        class_names: Names of the classes, or of labels in lists, in their order. Labels may then be
            numbers from 0. None for the labels in the table, sorted by name (numbers by value).
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
    roles = Roles(
        labels=column_names(label),
        id=column_name(id),
        split=column_name(split),
        group=column_name(group),
        may_lack_labels=task == "multi_label",
    )
    if not roles.labels:
        raise ConfigError(f"data.label={label!r} should be the name of a column.")
    source = open_source(path, roles)
    where, codes, unused = source.where, column_names(categorical), column_names(ignore)
    settings = {"label": roles.labels, "id": column_names(roles.id)}
    settings |= {"split": column_names(roles.split), "group": column_names(roles.group)}
    settings |= {"categorical": codes, "ignore": unused}
    for setting, columns_of_setting in settings.items():
        check_columns(source.first, columns_of_setting, f"Set data.{setting}=.")
    features = feature_names(source.first, roles, unused)
    for content, _ in source.tables[1:]:
        check_columns(content, [*roles.names, *features], "")
    rows = read_rows(source.tables, where, roles, features)
    if class_names is None and len(roles.labels) == 1 and task != "regression":
        class_names = source.class_names.get(roles.labels[0])
    targets = read_targets(rows.labels, class_names, task, decimal=rows.decimal)
    find_categories(rows, [*codes, *source.class_names, *source.categorical])
    parts = cut_parts(rows.parts, rows.positions(split_seed), options, where, "rows")
    columns, inputs = encode_features(rows, np.array(parts) == TRAIN)
    splits = _splits(inputs, targets.labels, parts, rows)
    check_labels(splits, targets.names, targets.kind, where, "rows")
    if len(set(rows.parts)) > 1:
        warn_of_copies(splits["train"].inputs, splits["test"].inputs, str(where), stacklevel=2)
    data = Dataset.from_splits(
        absolute(where).stem if name is None else name,
        splits["train"],
        splits["val"],
        splits["test"],
        class_names=targets.names,
        columns=columns,
        task=task,
    )
    data.id_column = roles.id
    data.has_own_val = VAL in rows.parts
    return data


@dataclass(frozen=True, kw_only=True)
class _Options(SplitShares):
    """Settings of splits and labels.

    Attributes:
        task: Kind of target.
    """

    task: str

    def __post_init__(self) -> None:
        self.check_shares("the rows")
        check_sample_task(self.task)


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
