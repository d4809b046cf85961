"""Image data sets: the digits of scikit-learn, and MNIST and Fashion-MNIST from their idx files."""

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError, DataError, ResourceError
from limbeck.data.dataset import Dataset, Split
from limbeck.data.images.resize import fitted, part_of

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
DIGIT_CLASSES = tuple("0123456789")
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def digits(*, val: int = 200, test: int = 500, split_seed: int = 0) -> Dataset:
    """The 1797 handwritten digits of 8 x 8 pixels that scikit-learn carries.

    Args:
        val: images kept for validation.
        test: images kept for the test.
        split_seed: of both splits.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(np.round(bunch.images * (255 / 16)).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(bunch.target).long()
    if isinstance(test, bool) or not isinstance(test, int) or not 1 <= test < len(labels):
        raise ConfigError(
            f"data.test={test!r} should be a whole number from 1 to {len(labels) - 1}."
        )
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(split_seed))
    held, rest = order[:test].sort().values, order[test:].sort().values
    everything = Split(images, labels)
    return Dataset(
        "digits",
        everything.take(rest),
        everything.take(held),
        class_names=DIGIT_CLASSES,
        val=val,
        split_seed=split_seed,
    )


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
    """MNIST from its four idx files, gzipped or not.

    Args:
        root: the folder that holds them, or torchvision's root above ``MNIST/raw``.
        download: fetch them there with torchvision where they are missing.
        val: training images kept for validation.
        split_seed: of that split, and of a part.
        train: images to train with, beside those for validation; None for all.
        test: images to test with; None for all.
        size: pixels a side that images are resized to; None for 28.
        channels: 3 repeats the grey values for models of colour images.

    Raises:
        ConfigError: a count or a size is out of range.
        DataError: a file is missing or damaged.
        ResourceError: they could not be downloaded.
    """
    folder = _find(
        [Path(root), Path(root) / "MNIST" / "raw"], "mnist", "MNIST", Path(root), download
    )
    how: dict[str, Any] = {
        "val": val,
        "split_seed": split_seed,
        "train": train,
        "test": test,
        "size": size,
        "channels": channels,
    }
    return _idx_dataset("mnist", folder, DIGIT_CLASSES, **how)


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
    """Fashion-MNIST from its four idx files, gzipped or not; also found where Debian's package puts
    it.

    Args and errors as for :func:`mnist`.
    """
    places = [Path(root), Path(root) / "FashionMNIST" / "raw", DEBIAN_FASHION_MNIST]
    folder = _find(places, "fashion_mnist", "FashionMNIST", Path(root), download)
    how: dict[str, Any] = {
        "val": val,
        "split_seed": split_seed,
        "train": train,
        "test": test,
        "size": size,
        "channels": channels,
    }
    return _idx_dataset("fashion_mnist", folder, FASHION_CLASSES, **how)


_STEMS = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def _file(folder: Path, stem: str) -> Path | None:
    for name in (stem, f"{stem}.gz"):
        if (folder / name).is_file():
            return folder / name
    return None


def _find(places: list[Path], name: str, torchvision_name: str, root: Path, download: bool) -> Path:
    """The first place that holds all four files, after a download if wanted."""
    stems = [stem for pair in _STEMS.values() for stem in pair]
    for place in places:
        if all(_file(place, stem) for stem in stems):
            return place
    if download:
        _download(torchvision_name, root)
        return _find(places, name, torchvision_name, root, False)
    partly = [place for place in places if any(_file(place, stem) for stem in stems)]
    missing = [stem for stem in stems if _file(partly[0] if partly else places[0], stem) is None]
    raise DataError(
        f"{name}: {', '.join(missing)} (plain or .gz) not found in {', '.join(map(str, places))}. "
        "Point data.root= "
        "to the folder that holds the files, or let them be fetched there with data.download=true."
    )


def _download(torchvision_name: str, root: Path) -> None:
    import torchvision

    try:
        getattr(torchvision.datasets, torchvision_name)(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise ResourceError(
            f"{torchvision_name} could not be downloaded to {root}: {error} Check the network, or "
            "copy the four idx "
            "files there by hand."
        ) from None
    except (ValueError, LookupError, AssertionError):
        pass  # torchvision reads the files at once and stumbles over a damaged one; read_idx names it


def _idx_dataset(
    name: str,
    folder: Path,
    class_names: tuple[str, ...],
    *,
    val: Any,
    split_seed: int,
    train: Any,
    test: Any,
    size: Any,
    channels: Any,
) -> Dataset:
    splits = {}
    for part, (image_stem, label_stem) in _STEMS.items():
        image_file, label_file = _file(folder, image_stem), _file(folder, label_stem)
        assert image_file is not None
        assert label_file is not None
        images, labels = read_idx(image_file, dimensions=3), read_idx(label_file, dimensions=1)
        if len(images) != len(labels):
            raise DataError(
                f"{image_file} holds {len(images)} images and {label_file} {len(labels)} labels; "
                "as many were expected."
            )
        if len(labels) and labels.max() >= len(class_names):
            raise DataError(
                f"{label_file}: label {labels.max()} was found; {name} has labels 0 to "
                f"{len(class_names) - 1}."
            )
        splits[part] = Split(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long())
    if train is not None:
        splits["train"] = part_of(
            splits["train"], train, "data.train", split_seed, beside=check_count("data.val", val)
        )
    if test is not None:
        splits["test"] = part_of(splits["test"], test, "data.test", split_seed)
    first, last = (fitted(splits[part], size=size, channels=channels) for part in ("train", "test"))
    return Dataset(name, first, last, class_names=class_names, val=val, split_seed=split_seed)


def read_idx(file: Path, *, dimensions: int) -> np.ndarray:
    """Read an idx file of unsigned bytes, gzipped or not.

    The format: two zero bytes, the type (8 for unsigned byte), the number of dimensions, each size
    as a big-endian 32-bit integer, then the data (LeCun, Cortes and Burges).

    Args:
        file: the path; gzip is told by the content, not by the name.
        dimensions: how many the file should have.

    Returns:
        uint8, one axis a dimension.

    Raises:
        DataError: the file is damaged or of another kind.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}).") from None
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{file} is damaged ({error}); fetch it again.") from None
    header = 4 + 4 * dimensions
    wanted = bytes([0, 0, 8, dimensions])
    if content[:4] != wanted:
        raise DataError(
            f"{file} is not the idx file it should be: it begins with "
            f"{content[:4].hex(' ') or 'nothing'}, "
            f"{wanted.hex(' ')} was expected (unsigned bytes in {dimensions} "
            f"dimension{'s' * (dimensions > 1)})."
        )
    if len(content) < header:
        raise DataError(
            f"{file} is damaged: it ends within its header of {header} bytes. Fetch it again."
        )
    shape = tuple(int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions))
    size = int(np.prod(shape, dtype=object))
    if len(content) - header != size:
        raise DataError(
            f"{file} is damaged: its header announces {' x '.join(map(str, shape))} = {size} "
            "bytes, "
            f"{len(content) - header} follow. Fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()
