"""Datasets of images that are stored within tables: Parquet files, and folders of Hugging Face."""

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck._base.copies import local_copy
from limbeck._base.errors import DataError, LimbeckWarning
from limbeck._base.reading import parse_json
from limbeck.data.checks import check_flag, join_some
from limbeck.data.class_names import check_class_order
from limbeck.data.dataset import Dataset
from limbeck.data.images.arrow import ImageInTable, TableFile
from limbeck.data.images.decoding import ImageSource
from limbeck.data.images.files import ImageFiles, ImageOptions, read_dataset
from limbeck.data.parts import PARTS, TRAIN
from limbeck.data.tables.labels import LabelColumn
from limbeck.data.tables.listing import Table, as_mapping, list_tables
from limbeck.data.tables.parquet import as_text, classes_in
from limbeck.data.tables.table_file import column_name, column_names
from limbeck.data.tables.targets import Targets, check_sample_task, read_targets
from limbeck.losses.tasks import TASKS, Task

LABEL_COLUMNS = ("label", "labels", "class", "target")
"""Names of a column of labels that need not be given."""


def image_table(
    root: str | Path,
    *,
    image_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    group: str | None = None,
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
    """Load images that are stored within a table, with their labels.

    The table is a Parquet file, a folder of Parquet or Arrow files, or a folder that Hugging Face's
    ``datasets`` has saved. Files and folders whose names contain ``train``, ``validation`` or
    ``test`` are these splits; a missing one is cut from ``train``. Copies of an image are always in
    the same split. The other arguments are those of :func:`image_folder`.

    Args:
        root: File or folder of the table.
        image_column: Column of the images: bytes of image files. None for the only such column.
        label_column: Column of the labels. None for the only one that the table describes as
            classes, or that is called label, labels, class or target. For regression the column of
            the values to predict, or several; for several labels per image their columns of 0 and
            1, or a column of lists.
        group: Column of groups, such as patients; images of a group are in the same split. None
            for no groups.
        class_names: Names of the classes, or of labels in lists, in their order. Labels may then be
            numbers from 0. None for the names in the table, in its order, or else for its labels,
            sorted.
        task: Kind of target: ``classes``, ``ordinal`` for ordered grades, ``regression``, or
            ``multi_label`` for several labels per image.

    Raises:
        ConfigError: If a setting is out of range, or if the order of grades is unknown.
        DataError: If a file, column, label or image is missing or not as expected.
        ResourceError: If pyarrow is not installed, or if there is no space for the decoded images.

    Warns:
        LimbeckWarning: If a split has no labels or is not used, or if copies of an image are in
            several groups.
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
    kind = TASKS[check_sample_task(task, ordinal=ordinal)]
    root = local_copy(root).expanduser()
    columns = _Columns(
        column_name(image_column), column_names(label_column), column_name(group), kind
    )
    tables = [_read_table(table, root, columns) for table in list_tables(root)]
    tables = _drop_unlabelled(root, tables, kind)
    targets = _read_labels(root, tables, class_names, kind, class_order)
    images = [image for table in tables for image in table.images]
    parts = [table.table.part for table in tables for _ in table.images]
    groups = [group for table in tables for group in table.groups]
    files = ImageFiles(root, images, targets, parts, _ids_of(parts), groups)
    return read_dataset(files, options)


@dataclass(frozen=True)
class _Columns:
    """Columns that the user names.

    Attributes:
        image: Column of the images, or None.
        labels: Columns of the labels; empty if they are to be found.
        group: Column of the groups, or None.
        kind: Kind of target.
    """

    image: str | None
    labels: list[str]
    group: str | None
    kind: Task


@dataclass(frozen=True)
class _Images:
    """The images of a file.

    Attributes:
        table: File of the table.
        images: Images in the order of the rows.
        labels: Texts of the labels by column; empty for a missing one.
        class_names: Names of the classes that the table itself gives, or None.
        groups: Group of each image; empty without groups.
    """

    table: Table
    images: list[ImageSource]
    labels: dict[str, list[str]]
    class_names: list[str] | None
    groups: list[str]

    def has_labels(self, kind: Task) -> bool:
        """Whether labels are there, and not all hidden (-1)."""
        hidden = {"", "-1"} if kind.has_classes else {""}
        return any(not set(texts) <= hidden for texts in self.labels.values())


# Images and labels --------------------------------------------------------------------------------


def _read_table(table: Table, root: Path, columns: _Columns) -> _Images:
    """Read the labels of a file, and list its images."""
    content = TableFile(table.file)
    features = table.features or _features_of(content)
    image_column = columns.image or _find_images(table.file, content, features)
    labels = columns.labels or [_find_labels(table.file, content, features)]
    settings = [("image_column", image_column), *(("label_column", name) for name in labels)]
    if columns.group is not None:
        settings.append(("group", columns.group))
    for setting, column in settings:
        if column not in content.schema.names:
            raise DataError(
                f"{table.file}: column {column} is missing; the columns are "
                f"{', '.join(content.schema.names)}. Set data.{setting}=."
            )
    _check_images(table.file, content, image_column)
    described = classes_in(features).get(labels[0]) if len(labels) == 1 else None
    names = described if columns.kind.outputs != "values" else None
    texts = {name: _read_texts(content, name, names, columns.kind) for name in labels}
    groups = [] if columns.group is None else [*map(as_text, content.values(columns.group))]
    where = root.name if table.file == root else str(table.file.relative_to(root))
    rows = range(content.starts[-1])
    images = [ImageInTable(content, image_column, row, where) for row in rows]
    if columns.group is not None and not all(groups):
        gaps = [str(image) for image, group in zip(images, groups, strict=True) if not group]
        raise DataError(f"{root}: {columns.group} is empty in {join_some(gaps)}.")
    return _Images(table, [*images], texts, names, groups)


def _read_texts(
    content: TableFile, column: str, names: Sequence[str] | None, kind: Task
) -> list[str]:
    """Return the texts of a column of labels.

    Args:
        content: File of the table.
        column: Name of the column.
        names: Names of the classes if the table describes the column, or None.
        kind: Kind of target.
    """
    type_name = str(content.schema.field(column).type)
    is_list = type_name.startswith(("list<", "large_list<", "fixed_size_list<"))
    is_nested = "<" in type_name and not type_name.startswith("dictionary<")
    if is_nested and not (is_list and kind.outputs == "labels"):
        raise DataError(
            f"{content.file}: column {column} contains {type_name}, expected one label for each "
            "image. Set data.label_column=, or data.task=multi_label for lists of labels."
        )
    values = content.values(column)
    if names is not None and kind.has_classes:
        return [_class_of(value, names) for value in values]
    return [*map(as_text, values)]


def _class_of(value: Any, names: Sequence[str]) -> str:
    """Return the class that a table describes by its number; empty if it is hidden (-1)."""
    is_number = isinstance(value, int) and 0 <= value < len(names)
    return names[value] if is_number else ""


def _features_of(content: TableFile) -> Mapping[str, Any]:
    """Return the description of the columns that Hugging Face puts into a file."""
    text = (content.schema.metadata or {}).get(b"huggingface")
    try:
        description = as_mapping(parse_json(text)) if text else {}
    except ValueError:  # it is of no importance
        return {}
    return as_mapping(as_mapping(description.get("info")).get("features"))


def _find_images(file: Path, content: TableFile, features: Mapping[str, Any]) -> str:
    kinds = {name: as_mapping(kind).get("_type") for name, kind in features.items()}
    described = [name for name, kind in kinds.items() if kind == "Image"]
    columns = described or [name for name in content.schema.names if _has_bytes(content, name)]
    if len(columns) != 1:
        raise DataError(
            f"{file}: expected one column of images (bytes of image files), found "
            f"{', '.join(columns) or 'none'}; the columns are {', '.join(content.schema.names)}. "
            "Set data.image_column=. File names are read with data=image_csv."
        )
    return columns[0]


def _has_bytes(content: TableFile, column: str) -> bool:
    """Whether a column contains bytes, or Hugging Face's records of bytes and path."""
    kind = str(content.schema.field(column).type)
    is_record = kind.startswith("struct<") and "bytes: " in kind
    return is_record or kind in ("binary", "large_binary", "binary_view")


def _check_images(file: Path, content: TableFile, column: str) -> None:
    if not _has_bytes(content, column):
        raise DataError(
            f"{file}: column {column} contains {content.schema.field(column).type}, expected bytes "
            "of image files. File names are read with data=image_csv."
        )


def _find_labels(file: Path, content: TableFile, features: Mapping[str, Any]) -> str:
    described = [name for name, kind in features.items() if as_mapping(kind).get("names")]
    names = content.schema.names
    columns = described or [name for name in names if name.lower() in LABEL_COLUMNS]
    if len(columns) != 1:
        raise DataError(
            f"{file}: expected one column of labels, found {', '.join(columns) or 'none'}; the "
            f"columns are {', '.join(names)}. Set data.label_column=."
        )
    return columns[0]


def _read_labels(
    root: Path,
    tables: Sequence[_Images],
    class_names: Sequence[str] | None,
    kind: Task,
    order: str,
) -> Targets:
    """Return the labels of the images of all files."""
    if class_names is None:
        class_names = tables[0].class_names
        if any(table.class_names != class_names for table in tables):
            raise DataError(f"{root}: its files have different names of classes.")
    images = [str(image) for table in tables for image in table.images]
    columns = []
    for name in tables[0].labels:
        texts = [text for table in tables for text in table.labels[name]]
        gaps = [image for image, text in zip(images, texts, strict=True) if not text]
        if gaps and kind.outputs != "labels":
            raise DataError(f"{root}: {len(gaps)} labels are missing: {join_some(gaps)}.")
        columns.append(LabelColumn(root, name, texts, images))
    return read_targets(columns, class_names, kind.name, order=order)


def _ids_of(parts: Sequence[int]) -> list[str]:
    """Return the id of each sample: its split, and its row in the files of the split."""
    counts = {part: itertools.count() for part in PARTS.values()}
    splits = {part: split for split, part in PARTS.items()}
    return [f"{splits[part]}/{next(counts[part])}" for part in parts]


def _drop_unlabelled(root: Path, tables: Sequence[_Images], kind: Task) -> list[_Images]:
    """Return the splits with labels; hidden labels are missing, or -1 for a class."""
    labelled = [table for table in tables if table.has_labels(kind)]
    parts = {table.table.part for table in labelled}
    hidden = [split for split, part in PARTS.items() if part not in parts]
    hidden = [split for split in hidden if any(t.table.part == PARTS[split] for t in tables)]
    if TRAIN not in parts:
        raise DataError(f"{root} contains no images with labels for training.")
    if hidden:
        warnings.warn(
            f"{root}: the images of {', '.join(hidden)} have no labels and are not used. The "
            "split is cut from train instead.",
            LimbeckWarning,
            stacklevel=2,
        )
    return labelled
