"""Cache of decoded images: a memory-mapped array in which every split is a slice.

Each image has a position from 0 to 1, a hash of its pixels, and splits are ranges of positions. So
copies of an image are in the same split, and an image stays in its split when others are added.
Of each image only a few bytes are held in memory, since there may be millions.
"""

import hashlib
import json
import os
import shutil
import tempfile
from array import array
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
from limbeck._base.mapped_memory import MAPPED_FILES
from limbeck._base.open_folder import OpenFolder
from limbeck._base.progress import StageProgress
from limbeck._base.reading import parse_json
from limbeck._base.sizes import format_bytes
from limbeck.data.images.decoding import Decoding, ImageSource, decode_all, range_of_files
from limbeck.data.randomness import split_position

FORMAT = 4
IMAGES, ROWS, FACTS = "images.npy", "rows.bin", "facts.json"
ROW = np.dtype([("file", "<i8"), ("position", "<f8"), ("digest", "u1", 32)])
"""What the cache knows about each image: its number in the list of paths, its position, and the
SHA-256 of the picture as it is in its file."""
_CHUNK = 256


@dataclass(frozen=True)
class DecodedImages:
    """Decoded images, ordered by part and then by position.

    Attributes:
        pixels: Images, uint8 ``[N, C, H, W]``, memory-mapped; writing to them does not change
            the file.
        files: Index of each row's file in the list of paths, int64 ``[N]``.
        digests: SHA-256 of each row's picture as it is in its file, uint8 ``[N, 32]``.
        positions: Position of each row, from 0 to 1, by which splits are cut, float64 ``[N]``.
        value_range: Lowest and highest value of the files with more than 8 bits, which became 0 and
            255; None if there are none.
    """

    pixels: Tensor
    files: np.ndarray
    digests: np.ndarray
    positions: np.ndarray
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

    def of(self, number: int, digest: str) -> float:
        """Return the position of an image, given its number and its digest."""
        return split_position(self.groups[number] if self.groups else digest, self.split_seed)


def load_decoded_images(
    paths: Sequence[ImageSource],
    parts: Sequence[int],
    decoding: Decoding,
    *,
    split_seed: int,
    groups: Sequence[str] = (),
    in_memory: bool | None = None,
) -> DecodedImages:
    """Load the images of files from the cache, after decoding them if they are not in it.

    Args:
        paths: Paths of the image files, or images within tables.
        parts: Number of the split of each file, by which rows are sorted first.
        decoding: Conversion of the files. The range of values is that of the files.
        split_seed: Seed of the positions.
        groups: Group of each file, all of whose images have one position; empty without groups.
        in_memory: Whether the images stay in memory; None to decide by their size.

    Raises:
        DataError: If some files cannot be read; the message names each.
        ResourceError: If the disk is full, or the cache folder cannot be written to.
    """
    root = cache.IMAGES.default_folder
    name = _key(paths, parts, decoding, split_seed, groups)

    def read(folder: OpenFolder) -> DecodedImages | None:
        return _read(folder, name, len(paths), in_memory)

    def write(folder: OpenFolder) -> None:
        _check_space(root, 2 * len(paths) * decoding.channels * decoding.size**2)
        with cache.open_entry(folder, name) as entry:
            _write(entry, root, paths, parts, decoding, Positions(split_seed, groups))

    def remove_leftovers(folder: OpenFolder) -> None:
        with suppress(FileNotFoundError), folder.subfolder(name) as entry:
            entry.remove_temporary_files(IMAGES, ROWS, FACTS)

    try:
        return cache.read_or_write(root, name, read, write, remove_leftovers)
    except OSError as error:
        raise shortage_error(error) or ResourceError(
            f"{error.filename or root}: the decoded images cannot be stored "
            f"({error.strerror or error}). Free some space there, or name another folder with "
            "LIMBECK_CACHE=DIR."
        ) from None


def _key(
    paths: Sequence[ImageSource],
    parts: Sequence[int],
    decoding: Decoding,
    split_seed: int,
    groups: Sequence[str],
) -> str:
    """Return the name of an entry: a digest of what it is made from."""
    settings = {
        "format": FORMAT,
        "pillow": PIL.__version__,
        **asdict(decoding),
        "split_seed": split_seed,
        "files": len(paths),
    }
    description = hashlib.sha256(json.dumps(settings).encode())
    for path, part in zip(paths, parts, strict=True):
        description.update(json.dumps(_identity(path, part)).encode())
    for group in groups:
        description.update(json.dumps(group).encode())
    return cache.key_of(description.hexdigest())


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


def _read(root: OpenFolder, name: str, count: int, in_memory: bool | None) -> DecodedImages | None:
    """Read an entry of the cache; None if it is missing, incomplete or damaged."""
    try:
        with root.subfolder(name) as folder:
            with folder.read(FACTS) as file:
                facts = parse_json(file.read())
            with folder.read(ROWS) as file:
                rows = np.frombuffer(file.read(), ROW)
            with folder.read(IMAGES) as file:
                images = _map(file, folder.path / IMAGES, facts, in_memory)
        value_range = facts["value_range"] and tuple(facts["value_range"])
        complete = images.ndim == 4 and len(images) == len(rows) == count
        complete = (
            complete and hashlib.sha256(rows.view(np.uint8).data).hexdigest() == facts["rows"]
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None
    if not complete:
        return None
    tensor = torch.from_numpy(images)
    return DecodedImages(tensor, rows["file"], rows["digest"], rows["position"], value_range)


def _map(file: BinaryIO, path: Path, facts: Any, in_memory: bool | None) -> np.ndarray:
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
    first = file.tell()
    content = MAPPED_FILES.map(file, in_memory=in_memory, path=path)
    images: np.ndarray = np.frombuffer(content, np.uint8, offset=first).reshape(shape)
    is_ours = not hasattr(os, "geteuid") or owner in (os.geteuid(), 0)
    if not is_ours and hashlib.sha256(images.data).hexdigest() != facts["sha256"]:
        raise ValueError("the checksum differs")
    return images


def _write(
    folder: OpenFolder,
    root: Path,
    paths: Sequence[ImageSource],
    parts: Sequence[int],
    decoding: Decoding,
    positions: Positions,
) -> None:
    """Decode into a temporary file, then copy its rows in order into the cache."""
    folder.remove(FACTS)
    decoding = replace(decoding, value_range=range_of_files(paths))
    digests, places, shape = bytearray(), array("d"), (0, 0, 0)
    checksum = hashlib.sha256()
    with tempfile.TemporaryFile(dir=root) as unordered:
        with StageProgress().stage(f"decoding {len(paths):,} images", len(paths)) as advance:
            for number, (pixels, digest) in enumerate(decode_all(paths, decoding, advance)):
                digests += bytes.fromhex(digest)
                places.append(positions.of(number, digest))
                unordered.write(pixels.tobytes())
                shape = pixels.shape
        unordered.flush()
        by_position = np.asarray(places)
        order = np.lexsort((by_position, np.asarray(parts)))  # stable: then by number

        def write(file: BinaryIO) -> None:
            _write_array(file, unordered, shape, order, checksum)

        # The pixels have to be on the disk before the file that marks the entry as complete.
        folder.replace(IMAGES, write, sync=True)
    rows = np.empty(len(order), ROW)
    rows["file"], rows["position"] = order, by_position[order]
    rows["digest"] = np.frombuffer(digests, np.uint8).reshape(-1, 32)[order]
    folder.replace(ROWS, lambda file: file.write(rows.data), sync=True)
    facts = {
        "value_range": decoding.value_range,
        "sha256": checksum.hexdigest(),
        "rows": hashlib.sha256(rows.view(np.uint8).data).hexdigest(),
    }
    content = json.dumps(facts, indent=2).encode()
    folder.replace(FACTS, lambda file: file.write(content), sync=True)


def _write_array(
    file: BinaryIO, images: BinaryIO, shape: Sequence[int], order: np.ndarray, checksum: Any
) -> None:
    """Write images from a file in another order, in NumPy's format.

    Plain writes report a full disk as an error; a memory map would crash.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(order), *shape)}
    np.lib.format.write_array_header_1_0(file, header)
    content = MAPPED_FILES.map(images, in_memory=False)
    rows = np.frombuffer(content, np.uint8).reshape(len(order), -1)
    for first in range(0, len(order), _CHUNK):
        part = rows[order[first : first + _CHUNK]].data
        file.write(part)
        checksum.update(part)
        MAPPED_FILES.release()
