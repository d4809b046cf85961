"""Datasets of images with one folder per class."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from limbeck._base.bundle_runtime import FORMATS
from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data.checks import require_folder, subfolders, warn_of_unused
from limbeck.data.dataset import Dataset
from limbeck.data.images.class_names import (
    parse_class_names,
    sort_grades,
    warn_of_similar_names,
)
from limbeck.data.images.files import (
    PARTS,
    TRAIN,
    ImageFiles,
    ImageOptions,
    list_files,
    read_dataset,
)

_SPLIT_NAMES = (
    "train",
    "training",
    "val",
    "valid",
    "validation",
    "dev",
    "test",
    "testing",
    "eval",
)


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
    class_names: Sequence[str] | None = None,
    name: str = "images",
) -> Dataset:
    """Load images from one folder per class; the name of a folder is the name of its class.

    The class folders may be in folders ``train``, ``val`` and ``test``. If ``val`` or ``test`` is
    missing, it is cut from ``train``. Copies of an image are always in the same split.

    Args:
        root: Folder of the class folders.
        size: Pixels per side; images are cropped about the centre and resized.
        channels: Number of channels: 1 for grey, 3 for RGB.
        test: Share of the images for testing.
        val: Share of the images for validation.
        split_seed: Seed of the splits.
        crop_border: Whether to crop a black border first.
        ordinal: Whether the classes are ordered grades. Folders that are numbers, or begin with
            different numbers, are sorted by them; for others ``class_names`` gives the order.
        class_names: Names of the class folders in their order; None to sort them by name.
        name: Name for tables and messages.

    Raises:
        ConfigError: If a setting is out of range, or if the order of grades is unknown.
        DataError: If a folder or file is not as expected, or if an image is in two given splits.
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
    return read_dataset(_files_by_folder(require_folder(root), ordinal, class_names), options)


def _files_by_folder(root: Path, ordinal: bool, class_names: Sequence[str] | None) -> ImageFiles:
    """List the image files with the class and the split of their folders."""
    splits = _class_folders(root)
    names = _class_names(splits[TRAIN], ordinal, class_names, root)
    if len(names) < 2:
        count = f"only {names[0]} was found" if names else "none was found"
        raise DataError(f"{root} should hold a folder for each of at least two classes, {count}.")
    files = ImageFiles(root, [], [], [], names)
    for part, folders in splits.items():
        _check_class_names(folders, names, root, part)
        for class_name, folder in sorted(folders.items()):
            paths = list_files(folder)
            files.paths.extend(paths)
            files.labels.extend([names.index(class_name)] * len(paths))
            files.parts.extend([part] * len(paths))
    return files


def _class_folders(root: Path) -> dict[int, dict[str, Path]]:
    """Return the class folders by split and name; without splits, all are for training."""
    folders = subfolders(root)
    if "train" not in folders or not subfolders(folders["train"]):
        _check_no_splits(folders, root)
        warn_of_unused(root, _images_in(root), "image", "in no class folder")
        return {TRAIN: folders}
    unknown = folders.keys() - PARTS.keys()
    if unknown:
        raise DataError(
            f"{root}: {', '.join(sorted(unknown))} next to train. Splits are called "
            f"{', '.join(PARTS)}, and contain the class folders."
        )
    splits = {}
    for name, folder in folders.items():
        if class_folders := subfolders(folder):
            splits[PARTS[name]] = class_folders
            warn_of_unused(folder, _images_in(folder), "image", "in no class folder")
        else:
            warnings.warn(
                f"{folder} contains no class folders, so its {len(_images_in(folder))} images have "
                f"no labels and are not used. The {name} split is cut from train instead.",
                LimbeckWarning,
                stacklevel=2,
            )
    return splits


def _images_in(folder: Path) -> list[str]:
    """Return the names of the images in a folder, as their suffixes tell, without subfolders."""
    suffixes = Image.registered_extensions()
    names = []
    for path in sorted(folder.iterdir()):
        if suffixes.get(path.suffix.lower()) in FORMATS and not path.name.startswith("."):
            names.append(path.name)
    return names


def _class_names(
    folders: Mapping[str, Path], ordinal: bool, class_names: Sequence[str] | None, root: Path
) -> list[str]:
    """Return the names of the class folders in the order of the labels."""
    if class_names is not None:
        names = parse_class_names(class_names)
        if set(names) != set(folders):
            raise ConfigError(
                f"data.class_names={names} should list the class folders in {root}: "
                f"{', '.join(sorted(folders)) or 'none'}."
            )
        return names
    warn_of_similar_names(sorted(folders), root)
    return sort_grades(folders, root) if ordinal else sorted(folders)


def _check_no_splits(folders: Mapping[str, Path], root: Path) -> None:
    """Refuse splits under other names, which would be used as classes."""
    split_names = [name for name in folders if name.lower() in _SPLIT_NAMES]
    splits = [name for name in split_names if subfolders(folders[name])]
    if splits:
        raise DataError(
            f"{root}: {', '.join(splits)} with folders inside look like splits, but there is no "
            f"train with class folders. Call the splits {', '.join(PARTS)}, all in lower case; "
            "test and val may be missing."
        )
    if len(split_names) == len(folders) >= 2:
        raise DataError(
            f"{root}: {', '.join(split_names)} look like splits, but contain no class folders. Put "
            "the images of each class into a folder of its own, or list them with their labels in "
            "a CSV file (data=image_csv)."
        )


def _check_class_names(
    folders: Mapping[str, Path], names: Sequence[str], root: Path, part: int
) -> None:
    unknown = sorted(set(folders) - set(names))
    if unknown:
        split = next(name for name, number in PARTS.items() if number == part)
        raise DataError(
            f"{root / split}: {', '.join(unknown)} is not in training, which has the classes "
            f"{', '.join(names)}."
        )
