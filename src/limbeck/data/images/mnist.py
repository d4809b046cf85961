"""MNIST and Fashion-MNIST from their idx files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from limbeck._base.checks import check_count, check_seed
from limbeck._base.copies import local_copy
from limbeck._base.errors import DataError
from limbeck.data.checks import is_file
from limbeck.data.dataset import Dataset, Split
from limbeck.data.images.download import download as download_file
from limbeck.data.images.idx import read_idx
from limbeck.data.images.resize import draw_samples, resize

DIGIT_CLASSES = tuple("0123456789")
FASHION_CLASSES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "boot",
)
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Folder of Debian's package ``dataset-fashion-mnist``."""
_STEMS = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def mnist(
    root: str | Path = "data",
    *,
    download: bool = False,
    val: int = 5000,
    split_seed: int = 0,
    train: int | None = None,
    test: int | None = None,
    size: int | None = None,
    channels: int = 1,
) -> Dataset:
    """Load MNIST from its four idx files, gzipped or not.

    Args:
        root: Folder with the files, or torchvision's root above ``MNIST/raw``.
        download: Whether to download missing files to ``MNIST/raw`` there.
        val: Number of training images for validation.
        split_seed: Seed of the validation split, and of the draws of ``train`` and ``test``.
        train: Number of training images, without validation images; None for all.
        test: Number of test images; None for all.
        size: Pixels per side to which images are resized; None for 28.
        channels: Number of channels: 3 repeats the grey values for models of colour images.

    Raises:
        ConfigError: If a number is out of range.
        DataError: If a file is missing or damaged.
        ResourceError: If the files could not be downloaded.
    """
    options = _Options(
        val=val, split_seed=split_seed, train=train, test=test, size=size, channels=channels
    )
    files = _Files("mnist", DIGIT_CLASSES, "MNIST", local_copy(root))
    return _read(files, files.find(download), options)


def fashion_mnist(
    root: str | Path = "data",
    *,
    download: bool = False,
    val: int = 5000,
    split_seed: int = 0,
    train: int | None = None,
    test: int | None = None,
    size: int | None = None,
    channels: int = 1,
) -> Dataset:
    """Load Fashion-MNIST from its four idx files, gzipped or not.

    The folder of Debian's package ``dataset-fashion-mnist`` is searched too, and torchvision's root
    is above ``FashionMNIST/raw``. Arguments and errors are those of :func:`mnist`.

    References:
        Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
        Learning Algorithms", 2017.
    """
    options = _Options(
        val=val, split_seed=split_seed, train=train, test=test, size=size, channels=channels
    )
    files = _Files(
        "fashion_mnist", FASHION_CLASSES, "FashionMNIST", local_copy(root), (DEBIAN_FASHION_MNIST,)
    )
    return _read(files, files.find(download), options)


@dataclass(frozen=True, kw_only=True)
class _Options:
    """Settings that both datasets share, see :func:`mnist`."""

    val: int
    split_seed: int
    train: int | None
    test: int | None
    size: int | None
    channels: int


@dataclass(frozen=True)
class _Files:
    """The four files of a dataset.

    Attributes:
        name: Name of the dataset.
        class_names: Names of the classes, in the order of the labels.
        torchvision_name: Name of torchvision's class.
        root: Folder that the user named.
        other_folders: Other folders to search.
    """

    name: str
    class_names: Sequence[str]
    torchvision_name: str
    root: Path
    other_folders: tuple[Path, ...] = ()

    def find(self, download: bool) -> Path:
        """Return the first folder with all four files, after a download if allowed."""
        folders = (self.root, self.root / self.torchvision_name / "raw", *self.other_folders)
        missing = {folder: _missing(folder) for folder in folders}
        for folder in folders:
            if not missing[folder]:
                return folder
        if download:
            self._download()
            return self.find(download=False)
        closest = min(folders, key=lambda folder: len(missing[folder]))
        raise DataError(
            f"{self.name}: {', '.join(missing[closest])} (plain or .gz) not found in "
            f"{', '.join(map(str, folders))}. Set data.root= to the folder of the files, "
            "or set data.download=true to download them."
        )

    def _download(self) -> None:
        """Download the missing files to torchvision's folder, from the addresses it knows."""
        import torchvision

        dataset = getattr(torchvision.datasets, self.torchvision_name)
        folder = self.root / self.torchvision_name / "raw"
        missing = _missing(folder)
        for name, md5 in dataset.resources:
            if name.removesuffix(".gz") in missing:
                urls = [mirror + name for mirror in dataset.mirrors]
                download_file(urls, folder / name, md5, dataset=self.name)


def _missing(folder: Path) -> list[str]:
    stems = [stem for pair in _STEMS.values() for stem in pair]
    return [stem for stem in stems if _path(folder, stem) is None]


def _path(folder: Path, stem: str) -> Path | None:
    for name in (stem, f"{stem}.gz"):
        if is_file(folder / name):
            return folder / name
    return None


def _read(files: _Files, folder: Path, options: _Options) -> Dataset:
    train = _read_split(files, folder, "train")
    test = _read_split(files, folder, "test")
    seed = check_seed("data.split_seed", options.split_seed)
    if options.train is not None:
        val = check_count("data.val", options.val)
        train = draw_samples(train, options.train, "data.train", seed, extra=val)
    if options.test is not None:
        test = draw_samples(test, options.test, "data.test", seed)
    return Dataset(
        files.name,
        resize(train, size=options.size, channels=options.channels),
        resize(test, size=options.size, channels=options.channels),
        class_names=files.class_names,
        val=options.val,
        split_seed=seed,
    )


def _read_split(files: _Files, folder: Path, part: str) -> Split:
    image_stem, label_stem = _STEMS[part]
    image_file, label_file = _path(folder, image_stem), _path(folder, label_stem)
    assert image_file is not None
    assert label_file is not None
    images = read_idx(image_file, dimensions=3)
    labels = read_idx(label_file, dimensions=1)
    if len(images) != len(labels):
        raise DataError(
            f"{image_file} has {len(images)} images, but {label_file} has {len(labels)} "
            "labels. The two files do not belong together; download them again."
        )
    max_label = len(files.class_names) - 1
    if len(labels) and labels.max() > max_label:
        raise DataError(
            f"{label_file} contains the label {labels.max()}, but {files.name} has labels from 0 "
            f"to {max_label}."
        )
    return Split(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long())
