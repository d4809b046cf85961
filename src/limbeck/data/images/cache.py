"""Image files decoded once: a memory-mapped array in a cache folder, arranged so that every split
is a slice of it.

An image has a place from 0 to 1 that follows from the pixels of its file. Splits are cut by place:
images that are alike are never apart, and an image stays on its side when others join the folder.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL
import torch
from filelock import FileLock
from torch import Tensor

from limbeck._base.errors import ResourceError
from limbeck._base.files import write_atomically, write_json
from limbeck._base.progress import StageProgress
from limbeck.data.images.decoding import check_size, decode_all

FORMAT = 2
IMAGES, ROWS = "images.npy", "rows.json"
_CHUNK = 256


@dataclass(frozen=True)
class ArrangedImages:
    """Decoded images, by part and then by place.

    Attributes:
        images: uint8 ``[N, C, H, W]``, memory-mapped; what is written to it stays out of the file.
        files: the number of each row's file in the list that was given.
        digests: of each row's picture as it was in the file: SHA-256, in hexadecimal.
        places: of each row, from 0 to 1.
    """

    images: Tensor
    files: list[int]
    digests: list[str]
    places: list[float]


def default_folder() -> Path:
    """``$LIMBECK_CACHE``, or ``limbeck/images`` in the user's cache folder.

    Raises:
        ResourceError: the user has no home.
    """
    own = os.environ.get("LIMBECK_CACHE")
    if own:
        return Path(own).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    if cache and Path(cache).is_absolute():
        return Path(cache) / "limbeck" / "images"
    try:
        return Path.home() / ".cache" / "limbeck" / "images"
    except RuntimeError:
        raise ResourceError(
            "There is no home folder to keep images in. Name another with LIMBECK_CACHE=DIR."
        ) from None


def arranged_images(
    paths: Sequence[Path],
    parts: Sequence[int],
    *,
    size: int,
    channels: int,
    crop_border: bool,
    split_seed: int,
) -> ArrangedImages:
    """The images of files, from the cache or decoded into it now.

    Args:
        paths: of the files.
        parts: a number for each; rows are sorted by it first.
        size: of both sides, in pixels.
        channels: 1 or 3.
        crop_border: cut a black border off first.
        split_seed: the places follow from it too.

    Raises:
        ConfigError: a size or number of channels is out of range.
        DataError: some files cannot be read: each is named.
        ResourceError: there is no room for them, or the cache folder cannot be written to.
    """
    check_size(size, channels)
    settings = {
        "format": FORMAT,
        "pillow": PIL.__version__,
        "size": size,
        "channels": channels,
        "crop_border": crop_border,
        "split_seed": split_seed,
        "files": [_identity(*file) for file in zip(paths, parts, strict=True)],
    }
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]
    root = default_folder()
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)  # the images may be private
        with FileLock(root / f"{key}.lock"):
            found = _read(root / key, len(paths))
            if found is None:
                pixels = (size, size, channels)
                _check_room(root, 2 * len(paths) * int(np.prod(pixels, dtype=object)))
                decode = {"size": size, "channels": channels, "crop_border": crop_border}
                _write(root / key, paths, parts, decode, split_seed)
                found = _read(root / key, len(paths))
    except OSError as error:
        raise ResourceError(
            f"{root} cannot hold the decoded images ({error.strerror or error}). Make room there, "
            "or name another "
            "folder with LIMBECK_CACHE=DIR."
        ) from None
    assert found is not None
    return found


def place(digest: str, split_seed: int) -> float:
    """From 0 to 1, evenly over images: the first 53 bits of the SHA-256 of seed and digest."""
    mixed = hashlib.sha256(f"{split_seed} {digest}".encode()).digest()
    return (int.from_bytes(mixed[:8]) >> 11) / 2.0**53


def _identity(path: Path, part: int) -> list[Any]:
    """What tells a file from another, or from what it was earlier."""
    try:
        found = path.stat()
    except OSError:
        return [str(path.absolute()), part]  # the decoder says what is the matter
    return [str(path.absolute()), part, found.st_size, found.st_mtime_ns]


def _check_room(root: Path, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if free < needed:
        raise ResourceError(
            f"{root} has {free / 1e9:.1f} GB free, decoding the images takes {needed / 1e9:.1f}. "
            "Make room there, "
            "choose a smaller data.size, or name another folder with LIMBECK_CACHE=DIR."
        )


def _read(folder: Path, count: int) -> ArrangedImages | None:
    """What a folder of the cache holds; None where it is missing, unfinished or damaged."""
    try:
        rows = json.loads((folder / ROWS).read_text(encoding="utf-8"))
        images = np.load(folder / IMAGES, mmap_mode="c", allow_pickle=False)
        found = ArrangedImages(
            torch.from_numpy(images), rows["files"], rows["digests"], rows["places"]
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return found if len(images) == len(found.digests) == count and images.ndim == 4 else None


def _write(
    folder: Path,
    paths: Sequence[Path],
    parts: Sequence[int],
    decode: dict[str, Any],
    split_seed: int,
) -> None:
    """Decode into a file without a name, and from there, arranged, into the cache."""
    with suppress(FileNotFoundError):
        (folder / ROWS).unlink()
    digests = []
    with tempfile.TemporaryFile(dir=folder.parent) as aside:
        with StageProgress().stage(f"decoding {len(paths):,} images", len(paths)) as advance:
            for pixels, digest in decode_all(paths, **decode, advance=advance):
                digests.append(digest)
                aside.write(pixels.tobytes())
        aside.flush()
        places = [place(digest, split_seed) for digest in digests]
        order = sorted(range(len(paths)), key=lambda row: (parts[row], places[row], row))
        decoded = np.memmap(aside, np.uint8, "r", shape=(len(paths), *pixels.shape))

        def write(path: Path) -> None:
            with path.open("wb") as file:
                _write_array(file, decoded, order)

        write_atomically(folder / IMAGES, write)
    rows = {
        "files": order,
        "digests": [digests[row] for row in order],
        "places": [places[row] for row in order],
    }
    write_json(folder / ROWS, rows)


def _write_array(file: BinaryIO, images: np.ndarray, order: Sequence[int]) -> None:
    """Rows of an array in another order, in NumPy's format. Plain writes: a full disk is an error,
    not a crash.
    """
    described = {"descr": "|u1", "fortran_order": False, "shape": images.shape}
    np.lib.format.write_array_header_1_0(file, described)
    for first in range(0, len(order), _CHUNK):
        file.write(images[order[first : first + _CHUNK]].tobytes())
