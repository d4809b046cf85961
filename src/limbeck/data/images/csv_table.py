"""Datasets of images that are listed in a table."""

import os
from collections.abc import Sequence
from pathlib import Path

from limbeck._base.errors import DataError
from limbeck.data.checks import check_flag, join_some, require_folder
from limbeck.data.class_names import check_class_order
from limbeck.data.dataset import Dataset
from limbeck.data.images.files import ImageFiles, ImageOptions, read_dataset
from limbeck.data.images.table_paths import find_files
from limbeck.data.images.table_rows import Rows, read_rows
from limbeck.data.parts import TRAIN, parts_of_names
from limbeck.data.tables.rows import Roles
from limbeck.data.tables.table_file import column_name, column_names
from limbeck.data.tables.targets import check_sample_task, read_targets


def image_csv(
    root: str | Path,
    *,
    file_column: str,
    label_column: str | Sequence[str],
    split_column: str | None = None,
    group: str | None = None,
    table: str = "train.csv",
    images: str = ".",
    suffix: str = "",
    class_names: Sequence[str] | None = None,
    size: int = 64,
    channels: int = 3,
    test: float = 0.2,
    val: float = 0.1,
    split_seed: int = 0,
    crop_border: bool = False,
    ordinal: bool = False,
    task: str = "classes",
    class_order: str = "natural",
    normalize: object = "data",
    in_memory: bool | None = None,
    name: str = "images",
) -> Dataset:
    """Load images that a CSV or Parquet file lists with their labels.

    Copies of an image are always in the same split. The other arguments are those of
    :func:`image_folder`.

    Args:
        root: Folder of the table and of the images.
        file_column: Column with the names of the image files, with or without their suffixes, or
            with absolute paths.
        label_column: Column with the labels: names of classes, or numbers; for regression the
            column of the values to predict, or several; for several labels per image their columns
            of 0 and 1, or a column of lists, such as ``a;b`` or ``["a", "b"]``.
        split_column: Column with the names of the splits: train, val (or validation) and test. A
            split that it does not contain is cut from train. None to cut both.
        group: Column of groups, such as patients; images of a group are in the same split. None
            for no groups.
        table: CSV file in ``root``, in UTF-8 or UTF-16, separated by commas, semicolons or tabs,
            whose first line names the columns; or a Parquet file.
        images: Folder of the images in ``root``.
        suffix: Suffix added to the names of the files, such as ``.png``.
        class_names: Names of the classes, or of labels in lists, in their order. Labels may then be
            numbers from 0. None for the labels in the table, sorted by name (numbers by value).
        class_order: Order of the labels in the table: ``natural`` with ``class2`` before
            ``class10``, or ``text`` by characters.
        ordinal: Whether the classes are ordered grades. Labels that are words then need
            ``class_names``. It is the same as the task ``ordinal``.
        task: Kind of target: ``classes``, ``ordinal`` for ordered grades, ``regression``, or
            ``multi_label`` for several labels per image.

    Raises:
        ConfigError: If a setting is out of range, or if the order of grades is unknown.
        DataError: If a column, label or image is missing or not as expected.
        ResourceError: If there is no space for the decoded images, or if the table is a Parquet
            file and pyarrow is not installed.

    Warns:
        LimbeckWarning: If classes have similar names, or copies of an image are in several groups.
    """
    check_class_order(class_order)
    options = ImageOptions(
        size=size,
        channels=channels,
        crop_border=crop_border,
        test=test,
        val=val,
        split_seed=split_seed,
        name=name,
        normalize=normalize,
        in_memory=in_memory,
    )
    check_flag("data.ordinal", ordinal)
    task = check_sample_task(task, ordinal=ordinal)
    roles = Roles(
        labels=column_names(label_column),
        id=None,
        split=column_name(split_column or None),
        group=column_name(group),
        may_lack_labels=task == "multi_label",
    )
    folder = require_folder(root)
    rows = read_rows(folder / table, str(file_column), roles)
    targets = read_targets(rows.labels, class_names, task, order=class_order, decimal=rows.decimal)
    paths = find_files(rows.files, folder / (images or "."), suffix or "", folder / table)
    _check_each_once(rows, paths)
    parts = [TRAIN] * len(rows.files)
    if roles.split is not None:
        parts = parts_of_names(rows.splits, folder / table)
    files = ImageFiles(folder / table, paths, targets, parts, rows.files, rows.groups)
    data = read_dataset(files, options)
    data.id_column = str(file_column)
    return data


def _check_each_once(rows: Rows, paths: Sequence[Path]) -> None:
    """Check that no image is listed twice, under one name or several, as ``0`` and ``a/../0``."""
    names: dict[str, list[str]] = {}
    for file, path in zip(rows.files, paths, strict=True):
        names.setdefault(os.path.normpath(path), []).append(file)
    repeated = [" and ".join(dict.fromkeys(group)) for group in names.values() if len(group) > 1]
    if repeated:
        images = "1 image is" if len(repeated) == 1 else f"{len(repeated)} images are"
        raise DataError(
            f"{rows.labels[0].table}: {images} listed more than once: {join_some(repeated)}."
        )
