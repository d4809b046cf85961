"""Images of your own that a CSV file lists, and APTOS 2019."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from limbeck._base.checks import closest
from limbeck._base.errors import ConfigError, DataError
from limbeck.data.dataset import Dataset
from limbeck.data.images.decoding import listed
from limbeck.data.images.files import TRAIN, HowToRead, ImageFiles, existing_folder, read_dataset

GRADES = ("no retinopathy", "mild", "moderate", "severe", "proliferative")
"""Of diabetic retinopathy, 0 to 4, as APTOS 2019 numbers them."""


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
    """Images that a CSV file lists with their labels.

    Args:
        root: the folder of all.
        file_column: the column of the files' names.
        label_column: the column of the labels: names of classes, or numbers.
        table: the CSV file, in ``root``; its first line names the columns.
        images: the folder of the images, in ``root``.
        suffix: added to the files' names, as in ``.png``.
        class_names: in their order; labels may then be their numbers from 0. None for the labels as
            they are, sorted.
        size: images are resized and cropped about the middle to so many pixels a side.
        channels: 1 for grey, 3 for RGB.
        test: share of the images for the test.
        val: share of the images for validation.
        split_seed: another seed gives other splits.
        crop_border: cut a black border off first.
        ordinal: classes are grades in their order.
        name: for tables.

    Raises:
        ConfigError: a setting is out of range.
        DataError: a column, label or image is missing or not what it should be.
        ResourceError: there is no room for the decoded images.
    """
    how = HowToRead(
        size=size,
        channels=channels,
        crop_border=crop_border,
        test=test,
        val=val,
        split_seed=split_seed,
    )
    place = existing_folder(root)
    file_column, label_column = (
        str(file_column),
        str(label_column),
    )  # a command line makes a number of 0
    rows = _read_table(place / table, file_column, label_column)
    labels, names = _numbered(rows, class_names, place / table, label_column)
    paths = [place / (images or ".") / f"{file}{suffix or ''}" for file, _ in rows]
    files = ImageFiles(place / table, paths, labels, [TRAIN] * len(paths), names)
    return read_dataset(files, how, name=name, ordinal=ordinal)


def aptos(
    root: str | Path = "data",
    *,
    size: int = 224,
    test: float = 0.2,
    val: float = 0.1,
    split_seed: int = 0,
) -> Dataset:
    """APTOS 2019: photographs of the back of the eye, with five grades of diabetic retinopathy.

    The labelled part of the set, as it is handed out: ``train.csv`` (``id_code``, ``diagnosis``)
    and ``train_images/<id_code>.png``. Some photographs are in it more than once, so splits follow
    from the images.

    Args:
        root: the folder of both.
        size: of both sides, in pixels; the black border is cut off first.
        test: share of the images for the test.
        val: share of the images for validation.
        split_seed: another seed gives other splits.

    Raises:
        ConfigError: a setting is out of range.
        DataError: a column, label or image is missing or not what it should be.
        ResourceError: there is no room for the decoded images.

    References:
        Asia Pacific Tele-Ophthalmology Society, "APTOS 2019 Blindness Detection", Kaggle 2019.
    """
    return image_csv(
        root,
        file_column="id_code",
        label_column="diagnosis",
        images="train_images",
        suffix=".png",
        name="aptos",
        class_names=GRADES,
        size=size,
        test=test,
        val=val,
        split_seed=split_seed,
        crop_border=True,
        ordinal=True,
    )


def _read_table(file: Path, file_column: str, label_column: str) -> list[tuple[str, str]]:
    """File and label of each row of a CSV file."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as content:
            reader = csv.DictReader(content)
            for column in (file_column, label_column):
                _check_column(file, column, list(reader.fieldnames or ()))
            rows = [
                (reader.line_num, row[file_column] or "", row[label_column] or "") for row in reader
            ]
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}).") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is no CSV file in UTF-8 ({error}).") from None
    gaps = [f"line {line}" for line, *cells in rows if not all(cell.strip() for cell in cells)]
    if gaps:
        raise DataError(f"{file}: {file_column} or {label_column} is empty in {listed(gaps)}.")
    if not rows:
        raise DataError(f"{file} lists no images.")
    twice = [
        image
        for image, times in Counter(image.strip() for _, image, _ in rows).items()
        if times > 1
    ]
    if twice:
        raise DataError(f"{file}: {len(twice)} images are listed more than once: {listed(twice)}.")
    return [(image.strip(), label.strip()) for _, image, label in rows]


def _check_column(file: Path, column: str, columns: list[str]) -> None:
    if column not in columns:
        near = closest(column, columns)
        hint = (
            f"did you mean {near}?"
            if near
            else "name another with data.file_column= or data.label_column=."
        )
        raise DataError(
            f"{file}: column {column} is missing; found {', '.join(columns) or 'nothing'}; {hint}"
        )


def _numbered(
    rows: Sequence[tuple[str, str]], class_names: Sequence[str] | None, file: Path, column: str
) -> tuple[list[int], list[str]]:
    """Labels as numbers from 0, and the names of the classes."""
    if class_names is None:
        return _numbered_as_found([label for _, label in rows], file, column)
    names = [str(name) for name in class_names]
    if isinstance(class_names, str) or len(set(names)) < max(2, len(names)):
        raise ConfigError(
            f"data.class_names={class_names!r} should list at least two names, each once."
        )
    known = {name: number for number, name in enumerate(names)}
    if not any(name.isdigit() for name in names):  # else a number would have two meanings
        known |= {str(number): number for number in range(len(names))}
    wrong = [f"{label} ({image})" for image, label in rows if label not in known]
    if wrong:
        raise DataError(
            f"{file}: {len(wrong)} labels in column {column} are none of {', '.join(known)}: "
            f"{listed(wrong)}."
        )
    return [known[label] for _, label in rows], names


def _numbered_as_found(
    labels: Sequence[str], file: Path, column: str
) -> tuple[list[int], list[str]]:
    """The same where the labels themselves are the names."""
    whole = all(label.isascii() and label.isdigit() for label in labels)
    names = sorted(set(labels), key=(lambda label: (int(label), label)) if whole else None)
    if len(names) < 2:
        raise DataError(
            f"{file}: column {column} holds {names[0]} alone; at least two classes were expected."
        )
    if len(names) > max(2, len(labels) // 2):
        raise DataError(
            f"{file}: column {column} holds {len(names)} different values in {len(labels)} rows; a "
            "class should have "
            "several images."
        )
    return [names.index(label) for label in labels], names
