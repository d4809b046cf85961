"""Datasets of images that are listed in a CSV file."""

import csv
import io
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from limbeck._base.bundle_runtime import open_file
from limbeck._base.checks import closest
from limbeck._base.errors import DataError
from limbeck.data.checks import join_some, require_folder
from limbeck.data.dataset import Dataset
from limbeck.data.images.class_names import (
    is_number,
    missing_labels,
    parse_class_names,
    sort_grades,
    warn_of_similar_names,
)
from limbeck.data.images.files import TRAIN, ImageFiles, ImageOptions, read_dataset

MAX_HEADER, MAX_LABEL = 1 << 20, 1000
"""Largest number of characters of the first line, and of a label."""


def image_csv(
    root: str | Path,
    *,
    file_column: str,
    label_column: str,
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
    name: str = "images",
) -> Dataset:
    """Load images that a CSV file lists with their labels.

    Copies of an image are always in the same split. The other arguments are those of
    :func:`image_folder`.

    Args:
        root: Folder of the CSV file and of the images.
        file_column: Column with the names of the image files.
        label_column: Column with the labels: names of classes, or numbers.
        table: CSV file in ``root``, separated by commas, semicolons or tabs. Its first line names
            the columns.
        images: Folder of the images in ``root``.
        suffix: Suffix added to the names of the files, such as ``.png``.
        class_names: Names of the classes in their order. Labels may then be numbers from 0. None
            for the labels in the table, sorted by name (numbers by value).
        ordinal: Whether the classes are ordered grades. Labels that are words then need
            ``class_names``.

    Raises:
        ConfigError: If a setting is out of range, or if the order of grades is unknown.
        DataError: If a column, label or image is missing or not as expected.
        ResourceError: If there is no space for the decoded images.

    Warns:
        LimbeckWarning: If classes have similar names.
    """
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
    folder = require_folder(root)
    # Hydra parses a column name such as 0 as a number.
    rows = _read_table(folder / table, str(file_column), str(label_column))
    labels, names = _number_labels(rows, class_names, ordinal)
    paths = [folder / (images or ".") / f"{file}{suffix or ''}" for file in rows.files]
    _check_each_once(rows, paths)
    files = ImageFiles(folder / table, paths, labels, [TRAIN] * len(paths), names)
    return read_dataset(files, options)


@dataclass(frozen=True)
class _Rows:
    """Rows of a table.

    Attributes:
        table: CSV file, for messages.
        column: Name of the column with the labels, for messages.
        files: Name of the image file of each row.
        labels: Label of each row.
    """

    table: Path
    column: str
    files: list[str]
    labels: list[str]


def _read_table(table: Path, file_column: str, label_column: str) -> _Rows:
    rows = _Rows(table, label_column, [], [])
    gaps, too_long = [], []
    try:
        with (
            open_file(table) as stream,
            io.TextIOWrapper(stream, "utf-8-sig", newline="") as content,
        ):
            header = content.readline(MAX_HEADER)
            delimiter = _find_delimiter(header, {file_column, label_column})
            columns = _split_line(header, delimiter)
            for column in (file_column, label_column):
                _check_column(table, column, columns)
            reader = csv.DictReader(content, columns, delimiter=delimiter)
            for row in reader:
                file, label = (row[file_column] or "").strip(), (row[label_column] or "").strip()
                if not file or not label:
                    gaps.append(f"line {reader.line_num + 1}")
                if len(label) > MAX_LABEL:
                    raise DataError(
                        f"{table}, line {reader.line_num + 1}: a label of {len(label):,} "
                        f"characters; expected at most {MAX_LABEL}."
                    )
                if "\0" in file:
                    raise DataError(f"{table}, line {reader.line_num + 1}: a name contains NUL.")
                if None in row:
                    too_long.append(f"line {reader.line_num + 1}")
                rows.files.append(file)
                rows.labels.append(label)
    except OSError as error:
        raise DataError(f"{table} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{table} is not a CSV file in UTF-8 ({error}). Spreadsheets save such files as "
            "'CSV UTF-8'."
        ) from None
    except ValueError as error:
        raise DataError(f"{table} cannot be read ({error}).") from None
    except csv.Error as error:
        raise DataError(f"{table} is not a valid CSV file ({error}).") from None
    if too_long:
        raise DataError(
            f"{table} has {len(columns)} columns, but more values in {join_some(too_long)}. Quote "
            'values that contain the separator, as in "a, b".'
        )
    if gaps:
        raise DataError(f"{table}: {file_column} or {label_column} is empty in {join_some(gaps)}.")
    if not rows.files:
        raise DataError(f"{table} lists no images.")
    return rows


def _check_each_once(rows: _Rows, paths: Sequence[Path]) -> None:
    """Check that no image is listed twice, under one name or several, as ``0`` and ``a/../0``."""
    names: dict[str, list[str]] = {}
    for file, path in zip(rows.files, paths, strict=True):
        names.setdefault(os.path.normpath(path), []).append(file)
    repeated = [" and ".join(dict.fromkeys(group)) for group in names.values() if len(group) > 1]
    if repeated:
        images = "1 image is" if len(repeated) == 1 else f"{len(repeated)} images are"
        raise DataError(f"{rows.table}: {images} listed more than once: {join_some(repeated)}.")


def _find_delimiter(header: str, columns: Collection[str]) -> str:
    """Return the delimiter that gives all columns: a comma, or what spreadsheets may write."""
    for delimiter in (",", ";", "\t"):
        if set(columns) <= set(_split_line(header, delimiter)):
            return delimiter
    return ","


def _split_line(line: str, delimiter: str) -> list[str]:
    """Return the values of a line, without the white space around them."""
    return [value.strip() for value in next(csv.reader([line], delimiter=delimiter), [])]


def _check_column(table: Path, column: str, columns: Sequence[str]) -> None:
    if columns.count(column) > 1:
        raise DataError(f"{table} has several columns {column}. Give each another name.")
    if column in columns:
        return
    hint = "Set data.file_column= and data.label_column=."
    if match := closest(column, columns):
        hint = f"Did you mean {match}?"
    raise DataError(
        f"{table}: column {column} is missing; the columns are {', '.join(columns) or 'none'}. "
        f"{hint}"
    )


def _number_labels(
    rows: _Rows, class_names: Sequence[str] | None, ordinal: bool
) -> tuple[list[int], list[str]]:
    """Return the labels as numbers from 0, and the names of the classes."""
    if class_names is None:
        names = _names_in(rows, ordinal)
        numbers = {name: number for number, name in enumerate(names)}
        return [numbers[label] for label in rows.labels], names
    names = parse_class_names(class_names)
    numbers = {name: number for number, name in enumerate(names)}
    if not any(map(is_number, names)):  # otherwise a number would have two meanings
        numbers |= {str(number): number for number in range(len(names))}
    # pandas writes integers as floats if the column had a missing value.
    integers = {label: label.removesuffix(".0") for label in rows.labels if is_number(label)}
    labels = [label if label in numbers else integers.get(label, label) for label in rows.labels]
    rows = replace(rows, labels=labels)
    unknown = _files_with(rows, set(rows.labels) - numbers.keys())
    if unknown:
        raise DataError(
            f"{rows.table}: {len(unknown)} labels in column {rows.column} are not among "
            f"{', '.join(numbers)}: {join_some(unknown)}."
        )
    return [numbers[label] for label in rows.labels], names


def _names_in(rows: _Rows, ordinal: bool) -> list[str]:
    """Return the labels of a table as class names; numbers are sorted by value."""
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
    if ordinal:
        return sort_grades(names, rows.table)
    if all(label.isascii() and label.isdigit() for label in names):
        names.sort(key=lambda label: (int(label), label))
    return names


def _files_with(rows: _Rows, labels: Collection[str]) -> list[str]:
    """Return some labels with the files that have them, for messages."""
    pairs = zip(rows.files, rows.labels, strict=True)
    return [f"{label} ({file})" for file, label in pairs if label in labels]
