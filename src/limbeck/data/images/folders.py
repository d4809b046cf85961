"""Images of your own, one folder a class."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from limbeck._base.errors import DataError
from limbeck.data.dataset import Dataset
from limbeck.data.images.decoding import read_images
from limbeck.data.images.files import (
    PARTS,
    TRAIN,
    HowToRead,
    ImageFiles,
    existing_folder,
    files_below,
    read_dataset,
)

__all__ = ["image_folder", "read_images"]

_LIKE_SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval")


def image_folder(
    root: str | Path,
    *,
    size: int = 64,
    channels: int = 3,
    test: float = 0.2,
    val: float = 0.1,
    split_seed: int = 0,
    crop_border: bool = False,
    ordinal: bool = False,
    name: str = "images",
) -> Dataset:
    """Images with one folder a class, named as the class.

    The classes may lie in folders ``train``, ``val`` and ``test``; if one of the last two is
    missing, it is cut from ``train``.

    Args:
        root: the folder of the folders.
        size: images are resized and cropped about the middle to so many pixels a side.
        channels: 1 for grey, 3 for RGB.
        test: share of the images for the test.
        val: share of the images for validation.
        split_seed: another seed gives other splits.
        crop_border: cut a black border off first.
        ordinal: classes, sorted by name (numbers by size), are grades.
        name: for tables.

    Raises:
        ConfigError: a setting is out of range.
        DataError: a folder or file is not what it should be, or an image is in two of the given
            splits.
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
    return read_dataset(
        _files_by_folder(existing_folder(root), ordinal), how, name=name, ordinal=ordinal
    )


def _files_by_folder(root: Path, ordinal: bool) -> ImageFiles:
    """Files, labels and splits by the folders that the files lie in."""
    inside = {folder.name: folder for folder in _folders(root)}
    if "train" not in inside or not _folders(inside["train"]):
        _check_no_splits(inside, root)
        splits = {TRAIN: inside}
    else:
        strange = inside.keys() - PARTS.keys()
        if strange:
            raise DataError(
                f"{root}: {', '.join(sorted(strange))} beside train; splits are called "
                f"{', '.join(PARTS)}, classes lie "
                "in them."
            )
        splits = {
            PARTS[part]: {c.name: c for c in _folders(folder)} for part, folder in inside.items()
        }
    grades = ordinal is True and all(name.isascii() and name.isdigit() for name in splits[TRAIN])
    names = sorted(splits[TRAIN], key=(lambda name: (int(name), name)) if grades else None)
    if len(names) < 2:
        found = f"only {names[0]} was" if names else "none was"
        raise DataError(
            f"{root}: a folder for each of at least two classes was expected, {found} found."
        )
    paths: list[Path] = []
    labels: list[int] = []
    parts: list[int] = []
    for part, folders in splits.items():
        _check_known(folders, names, root, part)
        for class_name, folder in sorted(folders.items()):
            inside_it = files_below(folder)
            paths += inside_it
            labels += [names.index(class_name)] * len(inside_it)
            parts += [part] * len(inside_it)
    return ImageFiles(root, paths, labels, parts, names)


def _check_no_splits(found: Mapping[str, Path], root: Path) -> None:
    """Refuse splits under other names: they would be taken for classes."""
    splits = [
        name for name, folder in found.items() if name.lower() in _LIKE_SPLITS and _folders(folder)
    ]
    if splits:
        raise DataError(
            f"{root}: {', '.join(splits)} with folders inside look like splits, and there is no "
            "train with classes. "
            f"Call the splits {', '.join(PARTS)}, all in small letters; test and val may be "
            "missing."
        )


def _check_known(found: Mapping[str, Path], names: Sequence[str], root: Path, part: int) -> None:
    new = sorted(set(found) - set(names))
    if new:
        where = root / next(key for key, number in PARTS.items() if number == part)
        raise DataError(
            f"{where}: {', '.join(new)} not in training, which has the classes {', '.join(names)}."
        )


def _folders(root: Path) -> list[Path]:
    return sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))
    )
