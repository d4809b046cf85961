"""CIFAR-10 and CIFAR-100 from their binary files. The pickled version is never read.

A row is one byte for the label (CIFAR-100: coarse label, then fine label), followed by 1024 bytes
of red, green and blue each, row by row of the image (Krizhevsky, "Learning Multiple Layers of
Features from Tiny Images", 2009).
"""

import gzip
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from limbeck._base.copies import local_copy
from limbeck._base.errors import DataError
from limbeck._base.reading import read_bytes
from limbeck._base.runtime.files import open_file
from limbeck.data.checks import is_file
from limbeck.data.dataset import Dataset, Split
from limbeck.data.images.download import download as download_file

SITE = "https://www.cs.toronto.edu/~kriz/"
PIXELS = 3 * 32 * 32
FINE_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree
orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum
rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
MAX_FILE_BYTES = 1 << 30
"""Largest size of a file, and of an archive's content; the real files have 184 million bytes."""


@dataclass(frozen=True)
class CifarKind:
    """One of the two datasets.

    Attributes:
        name: Name of the dataset.
        folder: Folder of the files in the archive.
        archive: Name of the archive.
        md5: MD5 of the archive, as the authors publish it.
        train: Names of the training files.
        test: Name of the test file.
        label_bytes: Number of label bytes at the start of a row. The last one is the label.
        class_names: Names of the classes, in the order of the labels.
    """

    name: str
    folder: str
    archive: str
    md5: str
    train: tuple[str, ...]
    test: str
    label_bytes: int
    class_names: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files."""
        return (*self.train, self.test)


CIFAR10 = CifarKind(
    name="cifar10",
    folder="cifar-10-batches-bin",
    archive="cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    test="test_batch.bin",
    label_bytes=1,
    class_names=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
)
CIFAR100 = CifarKind(
    name="cifar100",
    folder="cifar-100-binary",
    archive="cifar-100-binary.tar.gz",
    md5="03b5dce01913d631647c71ecec9e9cb8",
    train=("train.bin",),
    test="test.bin",
    label_bytes=2,
    class_names=tuple(FINE_CLASSES.split()),
)


class _File(NamedTuple):
    """Content of a file, and its path for messages."""

    content: bytes
    where: str


def cifar10(
    root: str | Path = "data", *, download: bool = False, val: int = 5000, split_seed: int = 0
) -> Dataset:
    """Load CIFAR-10 from its binary files: 60,000 colour images of 32 x 32 pixels, 10 classes.

    Args:
        root: Folder with the files, with the folder ``cifar-10-batches-bin``, or with the archive
            ``cifar-10-binary.tar.gz``.
        download: Whether to download the archive (162 MB) there if nothing is found.
        val: Number of training images for validation.
        split_seed: Seed of the validation split.

    Raises:
        DataError: If a file is missing or damaged.
        ResourceError: If the archive could not be downloaded.
        UntrustedFileError: If the download is not the published archive.
    """
    return _load(CIFAR10, local_copy(root), download, val, split_seed)


def cifar100(
    root: str | Path = "data", *, download: bool = False, val: int = 5000, split_seed: int = 0
) -> Dataset:
    """Load CIFAR-100 from its binary files: 60,000 colour images, with the 100 fine labels.

    The folder is called ``cifar-100-binary`` and the archive ``cifar-100-binary.tar.gz``. Arguments
    and errors are those of :func:`cifar10`.
    """
    return _load(CIFAR100, local_copy(root), download, val, split_seed)


def _load(kind: CifarKind, root: Path, download: bool, val: int, split_seed: int) -> Dataset:
    files = _find(kind, root)
    if files is None and download:
        download_file([SITE + kind.archive], root / kind.archive, kind.md5, dataset=kind.name)
        files = _find(kind, root)
    if files is None:
        raise DataError(
            f"{kind.name}: {kind.files[0]} was found neither in {root} nor in "
            f"{root / kind.folder}, and there is no {root / kind.archive}. Set data.root= to the "
            "folder of the binary version, or set data.download=true to download it."
        )
    splits = {name: read_rows(file.content, kind, where=file.where) for name, file in files.items()}
    batches = {name: splits[name] for name in kind.train}
    _check_batches(batches, kind)
    train = Split(
        torch.cat([batch.inputs for batch in batches.values()]),
        torch.cat([batch.labels for batch in batches.values()]),
    )
    return Dataset(
        kind.name,
        train,
        splits[kind.test],
        class_names=kind.class_names,
        val=val,
        split_seed=split_seed,
    )


def _check_batches(batches: Mapping[str, Split], kind: CifarKind) -> None:
    if len({len(batch) for batch in batches.values()}) > 1:
        sizes = ", ".join(f"{name} {len(batch)}" for name, batch in batches.items())
        raise DataError(
            f"{kind.name}: the batches should have the same size, but have {sizes} images. "
            "Download them again."
        )


def read_rows(content: bytes, kind: CifarKind, *, where: str) -> Split:
    """Read the images and labels of a file.

    Args:
        content: Content of the file.
        kind: Dataset of the file.
        where: Path of the file, for messages.

    Returns:
        uint8 images ``[N, 3, 32, 32]`` and int64 labels ``[N]``.

    Raises:
        DataError: If the file is not a whole number of rows, or if a label is out of range.
    """
    row = kind.label_bytes + PIXELS
    if not content or len(content) % row:
        raise DataError(
            f"{where} is damaged: it has {len(content)} bytes; expected a multiple of {row}, the "
            "size of a row. Download it again."
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, row)
    labels = rows[:, kind.label_bytes - 1].astype(np.int64)
    max_label = len(kind.class_names) - 1
    wrong = np.flatnonzero(labels > max_label)
    if len(wrong):
        raise DataError(
            f"{where}: image {wrong[0]} has label {labels[wrong[0]]}, but {kind.name} has labels "
            f"from 0 to {max_label}. The file is damaged or belongs to another dataset."
        )
    images = rows[:, kind.label_bytes :].reshape(-1, 3, 32, 32)
    return Split(torch.from_numpy(images.copy()), torch.from_numpy(labels))


# Files --------------------------------------------------------------------------------------------


def _find(kind: CifarKind, root: Path) -> dict[str, _File] | None:
    """Read all files by name; None if there are none."""
    for folder in (root, root / kind.folder):
        missing = [name for name in kind.files if not is_file(folder / name)]
        if not missing:
            return {name: _read(folder / name) for name in kind.files}
        if len(missing) < len(kind.files):
            raise DataError(
                f"{kind.name}: {', '.join(missing)} not found in {folder}, next to the other "
                "files. Copy the missing files there."
            )
    archive = root / kind.archive
    return _unpack(kind, archive) if is_file(archive) else None


def _read(file: Path) -> _File:
    try:
        return _File(read_bytes(file, MAX_FILE_BYTES), str(file))
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise DataError(f"{file} is not a file of {SITE}: {error}.") from None


def _unpack(kind: CifarKind, archive: Path) -> dict[str, _File]:
    """Read the files of an archive into memory, without extracting them to disk."""
    names = {f"{kind.folder}/{name}": name for name in kind.files}
    files: dict[str, _File] = {}
    try:
        with open_file(archive) as stream, tarfile.open(fileobj=stream, mode="r|gz") as members:
            for member in members:
                if member.offset_data + member.size > MAX_FILE_BYTES or member.issparse():
                    raise tarfile.TarError(f"it unpacks to more than {MAX_FILE_BYTES:,} bytes")
                name = names.get(member.name.removeprefix("./"))
                if name is None or not member.isfile():
                    continue
                file = members.extractfile(member)
                assert file is not None
                files[name] = _File(file.read(), f"{archive}: {name}")
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise DataError(
            f"{archive} is damaged ({error}). Delete it and download it again."
        ) from None
    missing = [name for name in kind.files if name not in files]
    if missing:
        raise DataError(
            f"{archive} lacks {', '.join(missing)} in {kind.folder}. Delete it and download it "
            "again."
        )
    return files
