"""Cache of decoded images: a memory-mapped array in which every split is a slice.

Each image has a position from 0 to 1, a hash of its pixels, and splits are ranges of positions. So
copies of an image are in the same split, and an image stays in its split when others are added.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL
import torch
from torch import Tensor

from limbeck._base import cache
from limbeck._base.errors import ResourceError, shortage_error
from limbeck._base.open_folder import OpenFolder
from limbeck._base.progress import StageProgress
from limbeck._base.reading import parse_json
from limbeck._base.sizes import format_bytes
from limbeck.data.images.decoding import Decoding, ImageSource, decode_all, range_of_files
from limbeck.data.randomness import split_position

FORMAT = 3
IMAGES, ROWS = "images.npy", "rows.json"
_CHUNK = 256


@dataclass(frozen=True)
class DecodedImages:
    """Decoded images, ordered by part and then by position.

    Attributes:
        pixels: Images, uint8 ``[N, C, H, W]``, memory-mapped; writing to them does not change
            the file.
        files: Index of each row's file in the list of paths.
        digests: SHA-256 of each row's picture as it is in its file, in hexadecimal.
        positions: Position of each row, from 0 to 1, by which splits are cut.
        value_range: Lowest and highest value of the files with more than 8 bits, which became 0 and
            255; None if there are none.
    """

    pixels: Tensor
    files: list[int]
    digests: list[str]
    positions: list[float]
    value_range: tuple[float, float] | None


@dataclass(frozen=True)
class Positions:
    """Rule for the positions of images, from 0 to 1, by which splits are cut.

    Attributes:
        split_seed: Seed of the positions.
        groups: Group of each image; empty without groups.
    """

    split_seed: int
    groups: Sequence[str]

    def __call__(self, digests: Sequence[str]) -> list[float]:
        """Return the position of each image, given the digests of the images."""
        return [split_position(key, self.split_seed) for key in self.groups or digests]


def load_decoded_images(
    paths: Sequence[ImageSource],
    parts: Sequence[int],
    decoding: Decoding,
    *,
    split_seed: int,
    groups: Sequence[str] = (),
) -> DecodedImages:
    """Load the images of files from the cache, after decoding them if they are not in it.

    Args:
        paths: Paths of the image files, or images within tables.
        parts: Number of the split of each file, by which rows are sorted first.
        decoding: Conversion of the files. The range of values is that of the files.
        split_seed: Seed of the positions.
        groups: Group of each file, all of whose images have one position; empty without groups.

    Raises:
        DataError: If some files cannot be read; the message names each.
        ResourceError: If the disk is full, or the cache folder cannot be written to.
    """
    description = {
        "format": FORMAT,
        "pillow": PIL.__version__,
        **asdict(decoding),
        "split_seed": split_seed,
        "files": [_identity(path, part) for path, part in zip(paths, parts, strict=True)],
    }
    if groups:
        description["groups"] = list(groups)
    root = cache.IMAGES.default_folder
    name = cache.key_of(json.dumps(description))

    def read(folder: OpenFolder) -> DecodedImages | None:
        return _read(folder, name, len(paths))

    def write(folder: OpenFolder) -> None:
        _check_space(root, 2 * len(paths) * decoding.channels * decoding.size**2)
        with cache.open_entry(folder, name) as entry:
            _write(entry, root, paths, parts, decoding, Positions(split_seed, groups))

    def remove_leftovers(folder: OpenFolder) -> None:
        with suppress(FileNotFoundError), folder.subfolder(name) as entry:
            entry.remove_temporary_files(IMAGES, ROWS)

    try:
        return cache.read_or_write(root, name, read, write, remove_leftovers)
    except OSError as error:
        raise shortage_error(error) or ResourceError(
            f"{error.filename or root}: the decoded images cannot be stored "
            f"({error.strerror or error}). Free some space there, or name another folder with "
            "LIMBECK_CACHE=DIR."
        ) from None


def _identity(path: ImageSource, part: int) -> list[str | int]:
    """Describe a file, so that the cache key changes with its content."""
    if not isinstance(path, Path):
        return [*path.identity(), part]
    identity: list[str | int] = [str(path.absolute()), part]
    with suppress(OSError):  # the decoder reports files that cannot be read
        status = path.stat()
        identity += [status.st_size, status.st_mtime_ns]
    return identity


def _check_space(root: Path, size: int) -> None:
    if cache.lacks_space(root, size):
        free = shutil.disk_usage(root).free
        raise ResourceError(
            f"{root} has {format_bytes(free)} free, but decoding the images takes "
            f"{format_bytes(size)}. Free some space there, choose a smaller data.size, or "
            "name another folder with LIMBECK_CACHE=DIR."
        )


def _read(root: OpenFolder, name: str, count: int) -> DecodedImages | None:
    """Read an entry of the cache; None if it is missing, incomplete or damaged."""
    try:
        with root.subfolder(name) as folder:
            with folder.read(ROWS) as file:
                rows = parse_json(file.read())
            with folder.read(IMAGES) as file:
                images = _map(file, rows)
        tensor = torch.from_numpy(images)
        value_range = rows["value_range"] and tuple(rows["value_range"])
        entry = DecodedImages(
            tensor, rows["files"], rows["digests"], rows["positions"], value_range
        )
        complete = images.ndim == 4 and len(images) == len(entry.digests) == count
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return entry if complete else None


def _map(file: BinaryIO, rows: Any) -> np.memmap:
    """Map an array in NumPy's format; writing to it does not change the file.

    Raises:
        ValueError: If it is damaged. The content is only compared with its checksum if another user
            wrote it, because that takes time.
    """
    np.lib.format.read_magic(file)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if fortran_order or dtype != np.uint8:
        raise ValueError("not an array of pixels")
    owner = os.fstat(file.fileno()).st_uid
    images = np.memmap(file, np.uint8, "c", offset=file.tell(), shape=shape)
    is_ours = not hasattr(os, "geteuid") or owner in (os.geteuid(), 0)
    if not is_ours and hashlib.sha256(images.data).hexdigest() != rows["sha256"]:
        raise ValueError("the checksum differs")
    return images


def _write(
    folder: OpenFolder,
    root: Path,
    paths: Sequence[ImageSource],
    parts: Sequence[int],
    decoding: Decoding,
    positions_of: Positions,
) -> None:
    """Decode into a temporary file, then copy its rows in order into the cache."""
    folder.remove(ROWS)
    decoding = replace(decoding, value_range=range_of_files(paths))
    digests: list[str] = []
    checksum = hashlib.sha256()
    with tempfile.TemporaryFile(dir=root) as unordered:
        with StageProgress().stage(f"decoding {len(paths):,} images", len(paths)) as advance:
            for pixels, digest in decode_all(paths, decoding, advance):
                digests.append(digest)
                unordered.write(pixels.tobytes())
        unordered.flush()
        positions = positions_of(digests)
        order = sorted(range(len(paths)), key=lambda row: (parts[row], positions[row], row))
        pixel_rows = np.memmap(unordered, np.uint8, "r", shape=(len(paths), *pixels.shape))

        def write(file: BinaryIO) -> None:
            _write_array(file, pixel_rows, order, checksum)

        # The pixels have to be on the disk before the file that marks the entry as complete.
        folder.replace(IMAGES, write, sync=True)
    rows = {
        "files": order,
        "digests": [digests[row] for row in order],
        "positions": [positions[row] for row in order],
        "value_range": decoding.value_range,
        "sha256": checksum.hexdigest(),
    }
    content = json.dumps(rows, indent=2).encode()
    folder.replace(ROWS, lambda file: file.write(content), sync=True)


def _write_array(file: BinaryIO, images: np.ndarray, order: Sequence[int], checksum: Any) -> None:
    """Write rows of an array in another order, in NumPy's format.

    Plain writes report a full disk as an error; a memory map would crash.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": images.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for first in range(0, len(order), _CHUNK):
        content = images[order[first : first + _CHUNK]].tobytes()
        file.write(content)
        checksum.update(content)
