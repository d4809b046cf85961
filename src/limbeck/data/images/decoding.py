"""Decoding of image files to arrays of the same size, with a list of all unreadable files.

The pixels of one file are decoded in ``limbeck/_base/runtime/images.py``, which comes with every
exported model, so that a bundle reads images as the training does.
"""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError, DataError, ResourceError
from limbeck._base.runtime.errors import InputError, MissingLibraryError
from limbeck._base.runtime.images import decode_with_digest, value_limits
from limbeck._base.runtime.value_range import ValueLimits, common_range
from limbeck.data.checks import join_some

MAX_SIDE = 4096
MAX_THREADS = 16
MAX_AHEAD = 256
"""Largest number of files that are read before they are needed."""
Result = TypeVar("Result")


class StoredImage(Protocol):
    """An image file within another file, such as a row of a table. Its text is its name."""

    def read(self) -> BinaryIO:
        """Return the content of the image file."""

    def identity(self) -> list[str | int]:
        """Return what changes with its content, for the keys of caches."""


ImageSource: TypeAlias = Path | StoredImage


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Conversion of image files to arrays of the same size.

    Attributes:
        size: Pixels per side.
        channels: Number of channels: 1 for grey, 3 for RGB.
        crop_border: Whether to crop a black border first.
        value_range: Range that becomes 0 to 255 in images with more than 8 bits; None for the range
            of each image.

    Raises:
        ConfigError: If ``size`` or ``channels`` is out of range.
    """

    size: int
    channels: int
    crop_border: bool = False
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_size(self.size, self.channels)


def read_images(paths: Sequence[str | Path], decoding: Decoding) -> Tensor:
    """Read image files into memory, cropped about the centre and resized to a square.

    Args:
        paths: PNG, JPEG, TIFF, BMP, WebP, GIF, PPM or DICOM files. Only the first image of a file
            is read.
        decoding: Conversion of the files. Without a range, that of the files is used.

    Returns:
        uint8 ``[N, channels, size, size]``, in the order of ``paths``.

    Raises:
        DataError: If there are no files, or if files cannot be read; the message lists
            them with the reasons.
    """
    if not paths:
        raise DataError("There are no image files to read.")
    files = [Path(path) for path in paths]
    if decoding.value_range is None:
        decoding = replace(decoding, value_range=range_of_files(files))
    images = decode_all(files, decoding)
    return torch.from_numpy(np.stack([pixels for pixels, _ in images]))


def decode_all(
    paths: Sequence[ImageSource],
    decoding: Decoding,
    advance: Callable[[int], object] = lambda done: None,
) -> Iterator[tuple[np.ndarray, str]]:
    """Decode image files with several threads and yield them one by one.

    Args:
        paths: Image files, in folders or within tables.
        decoding: Conversion of the files.
        advance: Callback that receives the number of files read so far.

    Yields:
        Pixels and digest of each image, as from :func:`decode`.

    Raises:
        DataError: If files could not be read; raised after the last file.
    """
    problems: list[str] = []

    def decode_or_explain(path: ImageSource) -> tuple[np.ndarray, str] | str:
        try:
            return decode(path, decoding)
        except DataError as error:
            return str(error)

    with _map_files(decode_or_explain, paths) as images:
        for done, image in enumerate(images, 1):
            if isinstance(image, str):
                problems.append(image)
            elif not problems:
                yield image
            advance(done)
    if problems:
        raise DataError(
            f"{len(problems)} of {len(paths)} image files cannot be read: {join_some(problems)}."
        )


def range_of_files(paths: Sequence[ImageSource]) -> tuple[float, float] | None:
    """Return the range of image files with more than 8 bits that becomes 0 to 255.

    Files that cannot be read are skipped. See
    :func:`limbeck._base.runtime.value_range.common_range`.
    """

    def limits_of(path: ImageSource) -> ValueLimits | None:
        if isinstance(path, Path):
            return value_limits(path)
        with suppress(DataError):  # decode reports it
            return value_limits(path.read())
        return None

    with _map_files(limits_of, paths) as limits:
        return common_range(limits)


@contextmanager
def _map_files(
    function: Callable[[ImageSource], Result], paths: Sequence[ImageSource]
) -> Iterator[Iterator[Result]]:
    """Call a function for each image file, with several threads and without warnings of readers."""
    pool = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1))
    try:
        with warnings.catch_warnings():
            # decode has its own limit on the size, and damaged EXIF data is of no importance
            warnings.filterwarnings("ignore", module="PIL")
            warnings.filterwarnings("ignore", module="pydicom")  # it quotes headers of patients
            yield _results(pool, function, paths)
    finally:
        pool.shutdown(cancel_futures=True)


def _results(
    pool: ThreadPoolExecutor,
    function: Callable[[ImageSource], Result],
    paths: Sequence[ImageSource],
) -> Iterator[Result]:
    """Yield the results for files in their order, of which few are in memory at a time."""
    pending: deque[Future[Result]] = deque()
    for path in paths:
        pending.append(pool.submit(function, path))
        if len(pending) > MAX_AHEAD:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def decode(path: ImageSource, decoding: Decoding) -> tuple[np.ndarray, str]:
    """Decode one image file as exported models do.

    Returns:
        uint8 pixels ``[channels, size, size]`` and the SHA-256 of the decoded image, see
        :func:`limbeck._base.runtime.images.decode_with_digest`.

    Raises:
        DataError: If the file is missing, damaged, too large or not an image.
        ResourceError: If it is a DICOM file, and pydicom is not installed.
    """
    try:
        return decode_with_digest(
            path if isinstance(path, Path) else path.read(),
            size=(decoding.size, decoding.size),
            channels=decoding.channels,
            crop_border=decoding.crop_border,
            value_range=decoding.value_range,
            name=str(path),
        )
    except InputError as error:
        raise DataError(str(error)) from None
    except MissingLibraryError:
        raise ResourceError(
            f"{path} is a DICOM file. To read it, install pydicom: pip install 'limbeck[dicom]'."
        ) from None


def check_size(size: int, channels: int) -> None:
    """Check the size and number of channels to which images are converted.

    Raises:
        ConfigError: If one is out of range.
    """
    check_count("data.size", size)
    if size > MAX_SIDE:
        raise ConfigError(f"data.size={size} should be at most {MAX_SIDE} pixels.")
    if isinstance(channels, bool) or channels not in (1, 3):
        raise ConfigError(f"data.channels={channels!r} should be 1 (grey) or 3 (RGB).")
