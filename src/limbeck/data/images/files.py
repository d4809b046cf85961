"""Datasets of labelled image files, decoded once and split by the content of the images."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck._base.mapped_memory import check_in_memory
from limbeck._base.runtime.value_range import FULL_RANGE, describe_range
from limbeck.data.checks import SplitShares, check_flag, join_some
from limbeck.data.copies import copies_in
from limbeck.data.dataset import Dataset, Split
from limbeck.data.images.cache import DecodedImages, load_decoded_images
from limbeck.data.images.decoding import Decoding, ImageSource, check_size
from limbeck.data.normalization import parse_normalize
from limbeck.data.parts import PARTS, VAL, check_labels, cut_parts, number_groups
from limbeck.data.tables.targets import Targets


@dataclass(frozen=True)
class ImageFiles:
    """Labelled image files.

    Attributes:
        where: Folder or table of the files, for messages.
        paths: Paths of the files, or images within tables.
        targets: Labels of the files.
        parts: Split of each file. A split without files is cut from the training files.
        ids: Name of each file in the user's table; None for its path within ``where``.
        groups: Group of each file, all of whose images are in one split; empty without groups.
    """

    where: Path
    paths: Sequence[ImageSource]
    targets: Targets
    parts: list[int]
    ids: list[str] | None = None
    groups: list[str] = field(default_factory=list)

    def id_of(self, file: int) -> str:
        """Return the id of a sample, with slashes on any system."""
        if self.ids is not None:
            return self.ids[file]
        return Path(self.name_of(file)).as_posix()

    def name_of(self, file: int) -> str:
        """Return the path of a file within the folder of the dataset."""
        path = self.paths[file]
        if isinstance(path, Path) and path.is_relative_to(self.where):
            return str(path.relative_to(self.where))
        return str(path)


@dataclass(frozen=True, kw_only=True)
class ImageOptions(SplitShares):
    """Settings for decoding, splitting and naming a dataset of images.

    Attributes:
        size: Pixels per side.
        channels: Number of channels, 1 or 3.
        crop_border: Whether to crop a black border first.
        name: Name of the dataset.
        normalize: Normalisation of the inputs in the models.
        in_memory: Whether the images stay in memory; None to decide by their size.

    Raises:
        ConfigError: If a setting is out of range.
    """

    size: int
    channels: int
    crop_border: bool
    name: str
    normalize: object
    in_memory: bool | None

    def __post_init__(self) -> None:
        check_size(self.size, self.channels)
        check_flag("data.crop_border", self.crop_border)
        parse_normalize(self.normalize, [self.channels])
        check_in_memory(self.in_memory)
        self.check_shares("the images")


def read_dataset(files: ImageFiles, options: ImageOptions) -> Dataset:
    """Read image files through the cache and cut the missing splits.

    Splits that the user's folders define stay as they are.

    Args:
        files: Labelled files.
        options: Settings of decoding and splitting.

    Raises:
        DataError: If files cannot be read, if an image is in two given splits, if a split is
            empty, or if training lacks a class.
        ResourceError: If there is no space for the decoded images.

    Warns:
        LimbeckWarning: If copies of an image have different labels, or if images with more than
            8 bits do not use all values of 16 bits.
    """
    images = load_decoded_images(
        files.paths,
        files.parts,
        Decoding(size=options.size, channels=options.channels, crop_border=options.crop_border),
        split_seed=options.split_seed,
        groups=files.groups,
        in_memory=options.in_memory,
    )
    copies = copies_in(images.digests)
    _check_copies(copies, images, files)
    _report_range(images, files)
    order = images.files.tolist()
    user_parts = [files.parts[file] for file in order]
    parts = cut_parts(user_parts, images.positions.tolist(), options, files.where, "images")
    labels = files.targets.labels[order]
    group_names = [files.groups[file] for file in order] if files.groups else []
    groups = number_groups(group_names, parts, files.where)
    if files.groups:
        _warn_of_separated_copies(copies, images, files, parts)
    ids = np.array([files.id_of(file) for file in order], dtype=object)
    splits = {}
    for key, part in PARTS.items():
        first = parts.index(part)  # the rows of a split are contiguous
        rows = slice(first, first + parts.count(part))
        of_split = None if groups is None else groups[rows]
        splits[key] = Split(images.pixels[rows], labels[rows], ids[rows], groups=of_split)
    names, kind = files.targets.names, files.targets.kind
    check_labels(splits, names, kind, files.where, "images")
    data = Dataset.from_splits(
        options.name,
        splits["train"],
        splits["val"],
        splits["test"],
        class_names=names,
        task=kind.name,
        crop_border=options.crop_border,
    )
    data.value_range = images.value_range
    data.set_normalization(options.normalize)
    data.has_own_val = VAL in user_parts
    return data


def _check_copies(
    copies: Sequence[tuple[int, int]], images: DecodedImages, files: ImageFiles
) -> None:
    """Check that no image is in two of the given splits, and warn if one has two labels."""
    in_two_splits, with_two_labels = [], []
    for rows in copies:
        other, file = (int(images.files[row]) for row in rows)
        pair = f"{files.name_of(other)} = {files.name_of(file)}"
        if files.parts[other] != files.parts[file]:
            in_two_splits.append(pair)
        if files.targets.differ(other, file):
            labels = [files.targets.describe(one) for one in (other, file)]
            with_two_labels.append(f"{pair} ({' and '.join(labels)})")
    if in_two_splits:
        raise DataError(
            f"{files.where}: {_count_images(in_two_splits)} in two splits, so the test would "
            f"measure memorised images: {join_some(in_two_splits)}. Remove one of each pair, or "
            "let limbeck split a single folder."
        )
    if with_two_labels:
        count = _count_images(with_two_labels, "has", "have")
        warnings.warn(
            f"{files.where}: {count} two labels, so at least "
            f"one of them is wrong: {join_some(with_two_labels)}. All copies are used.",
            LimbeckWarning,
            stacklevel=2,
        )


def _warn_of_separated_copies(
    copies: Sequence[tuple[int, int]],
    images: DecodedImages,
    files: ImageFiles,
    parts: Sequence[int],
) -> None:
    """Warn of copies of an image in groups of different splits."""
    pairs = []
    for first, row in copies:
        if parts[first] != parts[row]:
            other, file = int(images.files[first]), int(images.files[row])
            pairs.append(f"{files.name_of(other)} = {files.name_of(file)}")
    if pairs:
        warnings.warn(
            f"{files.where}: {_count_images(pairs)} in two splits, because copies belong to "
            f"different groups: {join_some(pairs)}. Correct the groups, or remove the copies.",
            LimbeckWarning,
            stacklevel=3,
        )


def _count_images(images: Sequence[str], singular: str = "is", plural: str = "are") -> str:
    return f"1 image {singular}" if len(images) == 1 else f"{len(images)} images {plural}"


def _report_range(images: DecodedImages, files: ImageFiles) -> None:
    """Warn if images of more than 8 bits are scaled by a range other than that of 16 bits."""
    if images.value_range not in (None, FULL_RANGE):
        text = describe_range(images.value_range)
        warnings.warn(f"{files.where}: {text}", LimbeckWarning, stacklevel=2)
