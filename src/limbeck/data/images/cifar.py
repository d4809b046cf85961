"""CIFAR-10 and CIFAR-100 from their binary files (Krizhevsky 2009); their pickled version is never
read.

A row is one byte for the label (CIFAR-100: coarse label, then fine label), then 1024 bytes of red,
green and blue each, row by row of the image.
"""

import gzip
import hashlib
import os
import tarfile
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.request import urlopen

import numpy as np
import torch

from limbeck._base.errors import DataError, ResourceError, UntrustedFileError
from limbeck._base.progress import StageProgress
from limbeck.data.dataset import Dataset, Split

SITE = "https://www.cs.toronto.edu/~kriz/"
PIXELS = 3 * 32 * 32
FINE_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""
LARGEST_FILE = 1 << 30
"""Bytes of one file in an archive, at most; the true ones have 154 million."""
TIMEOUT = 30.0
"""Seconds without an answer before a download is given up."""


@dataclass(frozen=True)
class _Kind:
    """One of the two data sets: its files, and the bytes of labels before the pixels of a row; the
    last one counts.
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
        return (*self.train, self.test)


CIFAR10 = _Kind(
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
CIFAR100 = _Kind(
    name="cifar100",
    folder="cifar-100-binary",
    archive="cifar-100-binary.tar.gz",
    md5="03b5dce01913d631647c71ecec9e9cb8",
    train=("train.bin",),
    test="test.bin",
    label_bytes=2,
    class_names=tuple(FINE_CLASSES.split()),
)


def cifar10(
    root: str | Path = "data", *, download: bool = False, val: int = 5000, split_seed: int = 0
) -> Dataset:
    """CIFAR-10 from its binary files: 50,000 and 10,000 colour images of 32 x 32 pixels.

    Args:
        root: the folder that holds the files, the folder ``cifar-10-batches-bin`` above them, or
            the archive ``cifar-10-binary.tar.gz``.
        download: fetch the archive there (162 MB) where nothing is found.
        val: training images kept for validation.
        split_seed: of that split.

    Raises:
        DataError: a file is missing or damaged.
        ResourceError: the archive could not be downloaded.
    """
    return _dataset(CIFAR10, Path(root), download, val, split_seed)


def cifar100(
    root: str | Path = "data", *, download: bool = False, val: int = 5000, split_seed: int = 0
) -> Dataset:
    """CIFAR-100 from its binary files, with the 100 fine labels; ``cifar-100-binary``,
    ``cifar-100-binary.tar.gz``.

    Args and errors as for :func:`cifar10`.
    """
    return _dataset(CIFAR100, Path(root), download, val, split_seed)


def _dataset(kind: _Kind, root: Path, download: bool, val: int, split_seed: int) -> Dataset:
    contents = _contents(kind, root)
    if contents is None and download:
        _download(kind, root)
        contents = _contents(kind, root)
    if contents is None:
        raise DataError(
            f"{kind.name}: {kind.files[0]} was found neither in {root} nor in "
            f"{root / kind.folder}, and there is no "
            f"{root / kind.archive}. Point data.root= to the folder that holds the binary version, "
            "or let it be "
            "fetched there with data.download=true."
        )
    parts = {
        name: read_rows(content, kind, where=where) for name, (content, where) in contents.items()
    }
    train, test = _joined([parts[name] for name in kind.train]), parts[kind.test]
    lengths = {len(parts[name]) for name in kind.train}
    if len(lengths) > 1:
        listed = ", ".join(f"{name} {len(parts[name])}" for name in kind.train)
        raise DataError(
            f"{kind.name}: the batches should be of one size, found {listed} images. Fetch them "
            "again."
        )
    return Dataset(
        kind.name, train, test, class_names=kind.class_names, val=val, split_seed=split_seed
    )


def _joined(splits: Sequence[Split]) -> Split:
    return Split(
        torch.cat([split.inputs for split in splits]), torch.cat([split.labels for split in splits])
    )


def read_rows(content: bytes, kind: _Kind, *, where: str) -> Split:
    """The images and labels of one file.

    Args:
        content: of the file.
        kind: which of the two data sets.
        where: for messages.

    Returns:
        uint8 images ``[N, 3, 32, 32]``, int64 labels ``[N]``.

    Raises:
        DataError: it is no whole number of rows, or a label is out of range.
    """
    row = kind.label_bytes + PIXELS
    if not content or len(content) % row:
        raise DataError(
            f"{where} is damaged: it has {len(content)} bytes, and a whole number of rows of {row} "
            "bytes was expected. "
            "Fetch it again."
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, row)
    labels = rows[:, kind.label_bytes - 1].astype(np.int64)
    wrong = np.flatnonzero(labels >= len(kind.class_names))
    if len(wrong):
        raise DataError(
            f"{where}: image {wrong[0]} has label {labels[wrong[0]]}; {kind.name} has labels 0 to "
            f"{len(kind.class_names) - 1}. The file is damaged or of another data set."
        )
    images = rows[:, kind.label_bytes :].reshape(-1, 3, 32, 32)
    return Split(torch.from_numpy(images.copy()), torch.from_numpy(labels))


# Files --------------------------------------------------------------------------------------------


def _contents(kind: _Kind, root: Path) -> dict[str, tuple[bytes, str]] | None:
    """The content of each file and where it was; None if there is none of them."""
    for folder in (root, root / kind.folder):
        missing = [name for name in kind.files if not (folder / name).is_file()]
        if not missing:
            return {name: (_read(folder / name), str(folder / name)) for name in kind.files}
        if len(missing) < len(kind.files):
            raise DataError(
                f"{kind.name}: {', '.join(missing)} not found in {folder}, beside the others."
            )
    archive = root / kind.archive
    return _unpacked(kind, archive) if archive.is_file() else None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}).") from None


def _unpacked(kind: _Kind, archive: Path) -> dict[str, tuple[bytes, str]]:
    """The files in an archive, read into memory: nothing is written, whatever the paths in it."""
    wanted = {f"{kind.folder}/{name}": name for name in kind.files}
    found: dict[str, tuple[bytes, str]] = {}
    try:
        with tarfile.open(archive, "r|gz") as content:
            for member in content:
                name = wanted.get(member.name.removeprefix("./"))
                if name is None or not member.isfile() or member.size > LARGEST_FILE:
                    continue
                file = content.extractfile(member)
                assert file is not None
                found[name] = file.read(), f"{archive}: {name}"
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{archive} is damaged ({error}); delete it and fetch it again.") from None
    missing = [name for name in kind.files if name not in found]
    if missing:
        raise DataError(
            f"{archive} lacks {', '.join(missing)} in {kind.folder}; delete it and fetch it again."
        )
    return found


def _download(kind: _Kind, root: Path) -> None:
    """Fetch the archive from the authors' site, and keep it if its MD5 is the one they publish."""
    url = SITE + kind.archive
    part = None
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (
            urlopen(url, timeout=TIMEOUT) as answer,
            tempfile.NamedTemporaryFile(dir=root, delete=False) as file,
        ):
            part = Path(file.name)
            found = _copy(
                answer,
                file,
                f"download of {kind.archive}",
                int(answer.headers.get("Content-Length") or 0),
            )
        if found != kind.md5:
            raise UntrustedFileError(
                f"What {url} gave is not the archive: its MD5 is {found}, {kind.md5} was expected. "
                "Try again later."
            )
        os.replace(part, root / kind.archive)
    except (OSError, HTTPException, ValueError) as error:  # what answers may be no web server
        reason = str(error).strip() or type(error).__name__
        raise ResourceError(
            f"{kind.name} could not be downloaded from {url} to {root} ({reason}). Check the "
            "network and the disk, or "
            f"copy {kind.archive} there by hand."
        ) from None
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _copy(source: IO[bytes], target: IO[bytes], label: str, size: int) -> str:
    """Copy with a progress bar; the MD5 of what was copied."""
    digest = hashlib.md5(usedforsecurity=False)
    done = 0
    with StageProgress().stage(label, size or LARGEST_FILE) as advance:
        while chunk := source.read(1 << 20):
            target.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            advance(done, f"{done / 1e6:.0f} MB")
    return digest.hexdigest()
