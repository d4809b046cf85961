"""Datasets of images with one folder per class."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data.checks import check_flag, join_some, require_folder, subfolders, warn_of_unused
from limbeck.data.class_names import (
    check_class_order,
    natural_sort,
    normal_name,
    parse_class_names,
    sort_grades,
    warn_of_similar_names,
)
from limbeck.data.dataset import Dataset
from limbeck.data.images.files import ImageFiles, ImageOptions, read_dataset
from limbeck.data.images.listing import IMAGE_SUFFIXES, list_images, report_others
from limbeck.data.parts import PARTS, TRAIN
from limbeck.data.tables.targets import Targets
from limbeck.losses.tasks import TASKS

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
    class_order: str = "natural",
    normalize: object = "data",
    in_memory: bool | None = None,
    name: str = "images",
) -> Dataset:
    """Load images from one folder per class; the name of a folder is the name of its class.

    The class folders may be in folders ``train``, ``val`` and ``test``. If ``val`` or ``test`` is
    missing, it is cut from ``train``. Copies of an image are always in the same split. Files that
    are no images are skipped, unless they are many.

    Args:
        root: Folder of the class folders.
        size: Pixels per side; images are cropped about the centre and resized.
        channels: Number of channels: 1 for grey, 3 for RGB.
        test: Share of the images for testing.
        val: Share of the images for validation.
        split_seed: Seed of the splits.
        crop_border: Whether to crop a black border first.
        ordinal: Whether the classes are ordered grades. Folders that are numbers, or contain
            different numbers, are sorted by them; for others ``class_names`` gives the order.
        class_names: Names of the class folders in their order; None to sort them by name.
        class_order: Order of names: ``natural`` with ``class2`` before ``class10``, or ``text`` by
            characters, as for a teacher of a program that sorts them so, such as torchvision.
        normalize: Normalisation of the images in the models, see :meth:`Dataset.set_normalization`.
        in_memory: Whether the decoded images stay in memory. False to read each from the disk when
            it is needed; None for that if they would fill more than a quarter of the memory that
            is available.
        name: Name for tables and messages.

    Raises:
        ConfigError: If a setting is out of range, or if the order of grades is unknown.
        DataError: If a folder or file is not as expected, or if an image is in two given splits.
        ResourceError: If there is no space for the decoded images.

    Warns:
        LimbeckWarning: If classes have similar names, if a class folder contains no images, or if
            files are no images.
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
    order = "grades" if ordinal else class_order
    return read_dataset(_files_by_folder(require_folder(root), class_names, order), options)


@dataclass(frozen=True)
class _ClassFolder:
    """A folder of images of one class.

    Attributes:
        path: Path of the folder.
        part: Number of its split.
        images: Image files in it, and in its subfolders.
    """

    path: Path
    part: int
    images: list[Path]

    @property
    def name(self) -> str:
        """Name of the class."""
        return normal_name(self.path.name)


def _files_by_folder(root: Path, class_names: Sequence[str] | None, order: str) -> ImageFiles:
    """List the image files with the class and the split of their folders."""
    folders = _list_folders(root)
    train = [folder for folder in folders if folder.part == TRAIN]
    names = _class_names(root, train, class_names, order)
    if len(names) < 2:
        count = f"only {names[0]} was found" if names else "none was found"
        raise DataError(f"{root} should hold a folder for each of at least two classes, {count}.")
    _check_class_names(folders, names, root)
    paths: list[Path] = []
    labels: list[int] = []
    parts: list[int] = []
    for folder in folders:
        if folder.images:
            paths += folder.images
            labels += [names.index(folder.name)] * len(folder.images)
            parts += [folder.part] * len(folder.images)
    kind = TASKS["ordinal" if order == "grades" else "classes"]
    return ImageFiles(root, paths, Targets(torch.tensor(labels), names, kind), parts)


def _list_folders(root: Path) -> list[_ClassFolder]:
    """List the class folders with their images, after reporting files that are none."""
    folders, images, others = [], [], []
    for part, class_folders in _class_folders(root).items():
        for path in class_folders.values():
            folder = _ClassFolder(path, part, [])
            files, skipped = list_images(path)
            folder.images.extend(files)
            folders.append(folder)
            images += files
            others += skipped
    report_others(root, images, others)
    empty = [str(one.path.relative_to(root)) for one in folders if not one.images]
    if empty:
        count = (
            "1 class folder contains" if len(empty) == 1 else f"{len(empty)} class folders contain"
        )
        warnings.warn(
            f"{root}: {count} no images: {join_some(empty)}. Without training images a folder is "
            "no class, unless data.class_names lists it.",
            LimbeckWarning,
            stacklevel=2,
        )
    return folders


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
    names = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            names.append(path.name)
    return names


def _class_names(
    root: Path, train: Sequence[_ClassFolder], class_names: Sequence[str] | None, order: str
) -> list[str]:
    """Return the names of the classes in the order of the labels."""
    full = [folder.path.name for folder in train if folder.images]
    if class_names is None:
        return _sort_names(root, full, order)
    names = parse_class_names(class_names)
    folders = {folder.name for folder in train}
    if not {normal_name(name) for name in full} <= set(names) <= folders:
        raise ConfigError(
            f"data.class_names={names} should list the class folders in {root}: "
            f"{', '.join(natural_sort(folders)) or 'none'}."
        )
    return names


def _sort_names(root: Path, folders: Sequence[str], order: str) -> list[str]:
    """Return the classes of folders in an order; folders of one name are one class."""
    names = list(dict.fromkeys(map(normal_name, sorted(folders))))
    if len(names) < len(folders):
        twins = [name for name in names if list(map(normal_name, folders)).count(name) > 1]
        warnings.warn(
            f"{root}: folders whose names differ only in their Unicode form are one class: "
            f"{join_some(twins)}.",
            LimbeckWarning,
            stacklevel=2,
        )
    warn_of_similar_names(names, root)
    if order == "grades":
        return sort_grades(names, root)
    return natural_sort(names) if order == "natural" else names


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


def _check_class_names(folders: Sequence[_ClassFolder], names: Sequence[str], root: Path) -> None:
    """Check that every class of a split is a class of training."""
    for split, part in PARTS.items():
        used = {folder.name for folder in folders if folder.part == part and folder.images}
        unknown = natural_sort(used - set(names))
        if unknown:
            raise DataError(
                f"{root / split}: {', '.join(unknown)} is not in training, which has the classes "
                f"{', '.join(names)}."
            )
