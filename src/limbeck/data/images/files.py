"""From image files with labels to a data set: decoded once, split by the images themselves."""

from dataclasses import dataclass
from pathlib import Path

import torch

from limbeck._base.checks import check_seed
from limbeck._base.errors import ConfigError, DataError
from limbeck.data.dataset import Dataset, Split
from limbeck.data.images.cache import ArrangedImages, arranged_images
from limbeck.data.images.decoding import check_size, listed

TEST, VAL, TRAIN = range(3)
PARTS = {"test": TEST, "val": VAL, "train": TRAIN}
_LITTER = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class ImageFiles:
    """Image files with labels.

    Attributes:
        where: they come from, for messages.
        paths: of the files.
        labels: of each.
        parts: the split each is in so far; what has no files yet is cut from training.
        class_names: in the order of the labels.
    """

    where: Path
    paths: list[Path]
    labels: list[int]
    parts: list[int]
    class_names: list[str]


@dataclass(frozen=True, kw_only=True)
class HowToRead:
    """How images are decoded and split.

    Attributes:
        size: of both sides, in pixels.
        channels: 1 or 3.
        crop_border: cut a black border off first.
        test: share of the images for the test.
        val: share of the images for validation.
        split_seed: another seed gives other splits.
    """

    size: int
    channels: int
    crop_border: bool
    test: float
    val: float
    split_seed: int

    def __post_init__(self) -> None:
        check_size(self.size, self.channels)
        if not isinstance(self.crop_border, bool):
            raise ConfigError(f"data.crop_border={self.crop_border!r} should be true or false.")
        for key, share in (("test", self.test), ("val", self.val)):
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
                raise ConfigError(
                    f"data.{key}={share!r} should be a share of the images, above 0 and below 1."
                )
        if self.test + self.val >= 1:
            raise ConfigError(
                f"data.test={self.test} and data.val={self.val} leave no image to train with."
            )
        check_seed("data.split_seed", self.split_seed)


def files_below(folder: Path) -> list[Path]:
    """All files in a folder of images and below, in order, without what systems leave there and
    what is hidden.

    Raises:
        DataError: there is none.
    """
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.name.lower() not in _LITTER
        and not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)
    )
    if not found:
        raise DataError(f"{folder} is empty; it should hold images.")
    return found


def existing_folder(root: str | Path) -> Path:
    """The folder that a setting names.

    Raises:
        DataError: it is none.
    """
    place = Path(root).expanduser()
    if not place.is_dir():
        raise DataError(
            f"{place} is {'a file' if place.exists() else 'missing'}; data.root= should name a "
            "folder."
        )
    return place


def read_dataset(files: ImageFiles, how: HowToRead, *, name: str, ordinal: bool) -> Dataset:
    """Decode the files, or find them decoded, and cut the splits that were not given.

    Args:
        files: with their labels.
        how: to decode and to split.
        name: of the data set.
        ordinal: classes are grades in their order.

    Raises:
        ConfigError: ``ordinal`` is neither true nor false.
        DataError: files cannot be read, an image is in two given splits, a split is empty, or
            training lacks a class.
        ResourceError: there is no room for the decoded images.
    """
    if not isinstance(ordinal, bool):
        raise ConfigError(f"data.ordinal={ordinal!r} should be true or false.")
    found = arranged_images(
        files.paths,
        files.parts,
        size=how.size,
        channels=how.channels,
        crop_border=how.crop_border,
        split_seed=how.split_seed,
    )
    _check_apart(found, files)
    parts = _cut(found, files, how)
    labels = torch.tensor([files.labels[file] for file in found.files])
    splits = {}
    for key, part in PARTS.items():
        rows = [row for row, other in enumerate(parts) if other == part]
        if not rows:
            raise DataError(
                f"{files.where}: {len(parts)} images leave none for {key}. Give more, other shares "
                "in data.test and "
                "data.val, or another data.split_seed."
            )
        rows_of_part = slice(rows[0], rows[-1] + 1)  # they follow each other
        splits[key] = Split(found.images[rows_of_part], labels[rows_of_part])
    _check_classes(splits, files)
    return Dataset.from_splits(
        name,
        splits["train"],
        splits["val"],
        splits["test"],
        class_names=files.class_names,
        ordinal=ordinal,
        crop_border=how.crop_border,
    )


def _cut(found: ArrangedImages, files: ImageFiles, how: HowToRead) -> list[int]:
    """The split of each row."""
    given = set(files.parts)
    first = 0.0 if TEST in given else how.test
    second = first + (0.0 if VAL in given else how.val)
    parts = []
    for file, place in zip(found.files, found.places, strict=True):
        cut = TEST if place < first else VAL if place < second else TRAIN
        parts.append(cut if files.parts[file] == TRAIN else files.parts[file])
    return parts


def _check_apart(found: ArrangedImages, files: ImageFiles) -> None:
    """No image should be in two of the given splits."""
    seen: dict[str, int] = {}
    pairs = []
    for file, digest in zip(found.files, found.digests, strict=True):
        other = seen.setdefault(digest, file)
        if files.parts[other] != files.parts[file]:
            pairs.append(f"{files.paths[other]} = {files.paths[file]}")
    if pairs:
        raise DataError(
            f"{files.where}: {len(pairs)} image{'s are' if len(pairs) > 1 else ' is'} in two "
            "splits, which would test "
            f"what was learnt by heart: {listed(pairs)}. Remove one of each pair, or let limbeck "
            "split a single folder."
        )


def _check_classes(splits: dict[str, Split], files: ImageFiles) -> None:
    learnt = set(splits["train"].labels.tolist())
    for part in ("val", "test"):
        lacking = [
            files.class_names[label] for label in sorted(set(splits[part].labels.tolist()) - learnt)
        ]
        if lacking:
            raise DataError(
                f"{files.where}: {', '.join(lacking)} in {part}, not in training. Give more images "
                "of each class, or "
                "choose another data.split_seed."
            )
