"""Datasets of images that are stored within tables: Parquet files, and folders of Hugging Face.

A folder that the library ``datasets`` has saved (``save_to_disk``) contains Arrow files and their
description as JSON. Both are read as data: the library itself is not used, and no code is run.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck._base.reading import parse_json, read_json
from limbeck.data.checks import files_below, join_some
from limbeck.data.dataset import Dataset
from limbeck.data.images.arrow import ImageInTable, TableFile, as_text
from limbeck.data.images.class_names import check_class_order
from limbeck.data.images.decoding import ImageSource
from limbeck.data.images.files import PARTS, TRAIN, ImageFiles, ImageOptions, read_dataset
from limbeck.data.images.table_labels import number_labels
from limbeck.data.images.table_rows import Rows

SUFFIXES = (".parquet", ".pq", ".arrow")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Split by the words that name it in files and folders."""
LABEL_COLUMNS = ("label", "labels", "class", "target")
"""Names of a column of labels that need not be given."""
_WORD = re.compile(r"[a-z]+")


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
    tables = [_read_table(table, root, columns) for table in _list_tables(root)]
    order = "grades" if ordinal else class_order
    return read_dataset(_number_classes(root, tables, class_names, order), options)


@dataclass(frozen=True)
class _Columns:
    """Columns that the user names, or None."""

    image: str | None
    label: str | None


@dataclass(frozen=True)
class _Table:
    """A file of a table.

    Attributes:
        file: Path of the file.
        part: Number of its split.
        features: Description of the columns by Hugging Face, by name.
    """

    file: Path
    part: int
    features: Mapping[str, Any]


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

    table: _Table
    images: list[ImageSource]
    labels: list[str]
    class_names: list[str] | None
    label_column: str


# Files and splits ---------------------------------------------------------------------------------


def _list_tables(root: Path) -> list[_Table]:
    """List the files of a table with their splits."""
    if root.is_file():
        return [_Table(root, TRAIN, {})]
    if not root.is_dir():
        raise DataError(f"{root} is missing. Set data.root= to a Parquet file or a folder.")
    if (root / "dataset_dict.json").is_file():
        return _list_saved_splits(root)
    if (root / "state.json").is_file():
        return _list_saved(root, TRAIN)
    files = [file for file in files_below(root) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise DataError(f"{root} contains no Parquet or Arrow files ({', '.join(SUFFIXES)}).")
    splits = {file: _split_of(file.relative_to(root)) for file in files}
    unknown = [str(file.relative_to(root)) for file in files if splits[file] is None]
    if unknown and len(unknown) < len(files):
        raise DataError(
            f"{root}: the names of {len(unknown)} files name no split, those of others do: "
            f"{join_some(unknown)}. Names should contain {', '.join(PARTS)}, or none of them."
        )
    return [_Table(file, PARTS[splits[file] or "train"], {}) for file in files]


def _split_of(path: Path) -> str | None:
    """Return the split that a file or its folders are named after."""
    for part in reversed(path.parts):
        for word in _WORD.findall(part.lower()):
            if word in SPLIT_NAMES:
                return SPLIT_NAMES[word]
    return None


def _list_saved_splits(root: Path) -> list[_Table]:
    """List the files of several splits that ``datasets`` has saved."""
    names = _read_description(root / "dataset_dict.json").get("splits")
    if not isinstance(names, list) or not all(_is_plain_name(name) for name in names):
        raise DataError(f"{root / 'dataset_dict.json'} should list the names of the splits.")
    tables, unused = [], []
    for name in names:
        split = _split_of(Path(name))
        if split is None:
            unused.append(name)
        else:
            tables += _list_saved(root / name, PARTS[split])
    if not tables:
        raise DataError(f"{root} has the splits {', '.join(names)}, but no train.")
    if unused:
        warnings.warn(
            f"{root}: splits other than {', '.join(PARTS)} are not used: {join_some(unused)}.",
            LimbeckWarning,
            stacklevel=2,
        )
    return tables


def _list_saved(folder: Path, part: int) -> list[_Table]:
    """List the files of a split that ``datasets`` has saved."""
    state = _read_description(folder / "state.json")
    if state.get("_indices_data_files"):
        raise DataError(
            f"{folder} contains an order of its rows (indices). Save it again with a version of "
            "datasets from 2.0, or after flatten_indices()."
        )
    entries = state.get("_data_files")
    names: list[Any] = []
    if isinstance(entries, list):
        names = [entry.get("filename") for entry in entries if isinstance(entry, dict)]
    if not names or not all(_is_plain_name(name) for name in names):
        raise DataError(f"{folder / 'state.json'} should list the names of the Arrow files.")
    features = _read_description(folder / "dataset_info.json").get("features")
    return [_Table(folder / name, part, _mapping(features)) for name in names]


def _read_description(file: Path) -> Mapping[str, Any]:
    try:
        return _mapping(read_json(file))
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise DataError(f"{file} is damaged ({error}).") from None


def _is_plain_name(name: object) -> bool:
    """Whether a name is one of a file or folder in the same folder."""
    return isinstance(name, str) and Path(name).name == name and name not in ("", ".", "..")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


# Images and labels --------------------------------------------------------------------------------


def _read_table(table: _Table, root: Path, columns: _Columns) -> _Images:
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
    values = content.values(label_column)
    names = _mapping(features.get(label_column)).get("names")
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
        description = _mapping(parse_json(text)) if text else {}
    except ValueError:  # it is of no importance
        return {}
    return _mapping(_mapping(description.get("info")).get("features"))


def _find_images(file: Path, content: TableFile, features: Mapping[str, Any]) -> str:
    described = [name for name, kind in features.items() if _mapping(kind).get("_type") == "Image"]
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
    described = [name for name, kind in features.items() if _mapping(kind).get("names")]
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
    rows = Rows(root, tables[0].label_column, [str(image) for image in images], labels)
    numbers, names = number_labels(rows, class_names, order)
    parts = [table.table.part for table in tables for _ in table.images]
    return ImageFiles(root, images, numbers, parts, names)


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
