"""Datasets of images that are stored within tables: Parquet files, and folders of Hugging Face."""

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck._base.reading import parse_json
from limbeck.data.checks import join_some
from limbeck.data.class_names import check_class_order
from limbeck.data.dataset import Dataset
from limbeck.data.images.arrow import ImageInTable, TableFile
from limbeck.data.images.decoding import ImageSource
from limbeck.data.images.files import ImageFiles, ImageOptions, read_dataset
from limbeck.data.parts import PARTS, TRAIN
from limbeck.data.tables.labels import LabelColumn, number_labels
from limbeck.data.tables.listing import Table, as_mapping, list_tables
from limbeck.data.tables.parquet import as_text

LABEL_COLUMNS = ("label", "labels", "class", "target")
"""Names of a column of labels that need not be given."""


def image_table(
    root: str | Path,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    class_names: Sequence[str] | None = None,
    size: int = 64,
    channels: int = 3,
    test: float = 0.2,
    val: float = 0.1,
    split_seed: int = 0,
    crop_border: bool = False,
    ordinal: bool = False,
    class_order: str = "natural",
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
            classes, or that is called label, labels, class or target.
        class_names: Names of the classes in their order. Labels may then be numbers from 0. None
            for the names in the table, in its order, or else for its labels, sorted.

    Raises:
        ConfigError: If a setting is out of range, or if the order of grades is unknown.
        DataError: If a file, column, label or image is missing or not as expected.
        ResourceError: If pyarrow is not installed, or if there is no space for the decoded images.

    Warns:
        LimbeckWarning: If a split has no labels or is not used.
    """
    check_class_order(class_order)
    options = ImageOptions(
        size=size,
        channels=channels,
        crop_border=crop_border,
        test=test,
        val=val,
        split_seed=split_seed,
        ordinal=ordinal,
        name=name,
    )
    root = Path(root).expanduser()
    columns = _Columns(image_column, label_column)
    tables = [_read_table(table, root, columns) for table in list_tables(root)]
    order = "grades" if ordinal else class_order
    return read_dataset(_number_classes(root, tables, class_names, order), options)


@dataclass(frozen=True)
class _Columns:
    """Columns that the user names, or None."""

    image: str | None
    label: str | None


@dataclass(frozen=True)
class _Images:
    """The images of a file.

    Attributes:
        table: File of the table.
        images: Images in the order of the rows.
        labels: Text of each label; empty for a missing one.
        class_names: Names of the classes that the table itself gives, or None.
        label_column: Name of the column of the labels.
    """

    table: Table
    images: list[ImageSource]
    labels: list[str]
    class_names: list[str] | None
    label_column: str


# Images and labels --------------------------------------------------------------------------------


def _read_table(table: Table, root: Path, columns: _Columns) -> _Images:
    """Read the labels of a file, and list its images."""
    content = TableFile(table.file)
    features = table.features or _features_of(content)
    image_column = columns.image or _find_images(table.file, content, features)
    label_column = columns.label or _find_labels(table.file, content, features)
    for setting, column in (("image_column", image_column), ("label_column", label_column)):
        if column not in content.schema.names:
            raise DataError(
                f"{table.file}: column {column} is missing; the columns are "
                f"{', '.join(content.schema.names)}. Set data.{setting}=."
            )
    _check_images(table.file, content, image_column)
    kind = str(content.schema.field(label_column).type)
    if "<" in kind and not kind.startswith("dictionary<"):
        raise DataError(
            f"{table.file}: column {label_column} contains {kind}, expected one label for each "
            "image. Set data.label_column=."
        )
    values = content.values(label_column)
    names = as_mapping(features.get(label_column)).get("names")
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        labels = [_class_of(value, names) for value in values]
    else:
        labels, names = [as_text(value) for value in values], None
    where = table.file.relative_to(root) if table.file != root else Path(root.name)
    images = [
        ImageInTable(content, image_column, row, f"{where} row {row}")
        for row in range(content.starts[-1])
    ]
    return _Images(table, [*images], labels, names, label_column)


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


def _number_classes(
    root: Path, tables: Sequence[_Images], class_names: Sequence[str] | None, order: str
) -> ImageFiles:
    """Put the images of all files together, with the numbers of their classes."""
    tables = _drop_unlabelled(root, tables)
    if class_names is None:
        class_names = tables[0].class_names
        if any(table.class_names != class_names for table in tables):
            raise DataError(f"{root}: its files have different names of classes.")
    images = [image for table in tables for image in table.images]
    labels = [label for table in tables for label in table.labels]
    gaps = [str(image) for image, label in zip(images, labels, strict=True) if not label]
    if gaps:
        raise DataError(f"{root}: {len(gaps)} labels are missing: {join_some(gaps)}.")
    column = LabelColumn(root, tables[0].label_column, labels, [str(image) for image in images])
    numbers, names = number_labels(column, class_names, order)
    parts = [table.table.part for table in tables for _ in table.images]
    return ImageFiles(root, images, numbers, parts, names, _ids_of(parts))


def _ids_of(parts: Sequence[int]) -> list[str]:
    """Return the id of each sample: its split, and its row in the files of the split."""
    counts = {part: itertools.count() for part in PARTS.values()}
    splits = {part: split for split, part in PARTS.items()}
    return [f"{splits[part]}/{next(counts[part])}" for part in parts]


def _drop_unlabelled(root: Path, tables: Sequence[_Images]) -> list[_Images]:
    """Return the splits with labels; hidden labels are missing, or -1."""
    labelled = [table for table in tables if not set(table.labels) <= {"", "-1"}]
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
