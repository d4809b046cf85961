"""Image files as arrays of one size: many at once, and every bad file named."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limbeck._base import bundle_runtime as runtime
from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError, DataError

MOST_SIDE = 4096
MOST_LISTED = 10


def read_images(
    paths: Sequence[str | Path], *, size: int, channels: int, crop_border: bool = False
) -> Tensor:
    """Read image files into memory, each resized and cropped about its middle to ``size`` pixels a
    side.

    Args:
        paths: PNG, JPEG, TIFF, BMP, WebP, GIF or PPM files (of several pictures the first).
        size: of both sides, in pixels.
        channels: 1 for grey, 3 for RGB.
        crop_border: cut a black border off first.

    Returns:
        uint8, ``[N, channels, size, size]``, in the order of the paths.

    Raises:
        ConfigError: a size or number of channels is out of range.
        DataError: there are no files, or some cannot be read: each is named, with the reason.
    """
    if not paths:
        raise DataError("There are no image files to read.")
    found = decode_all(
        [Path(path) for path in paths], size=size, channels=channels, crop_border=crop_border
    )
    return torch.from_numpy(np.stack([pixels for pixels, _ in found]))


def decode_all(
    paths: Sequence[Path],
    *,
    size: int,
    channels: int,
    crop_border: bool = False,
    advance: Callable[[int], object] = lambda done: None,
) -> Iterator[tuple[np.ndarray, str]]:
    """Images one by one as :func:`decode` has them, decoded by several threads.

    Args:
        paths: of the files.
        size: of both sides, in pixels.
        channels: 1 or 3.
        crop_border: cut a black border off first.
        advance: told how many files were read.

    Raises:
        ConfigError: a size or number of channels is out of range.
        DataError: after the last file, if some could not be read.
    """
    check_size(size, channels)
    bad: list[str] = []

    def attempt(path: Path) -> tuple[np.ndarray, str] | str:
        try:
            return decode(path, size=size, channels=channels, crop_border=crop_border)
        except DataError as error:
            return str(error)

    pool = ThreadPoolExecutor(min(16, os.cpu_count() or 1))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", Image.DecompressionBombWarning
            )  # decode refuses these itself
            for done, found in enumerate(pool.map(attempt, paths), 1):
                if isinstance(found, str):
                    bad.append(found)
                elif not bad:
                    yield found
                advance(done)
    finally:
        pool.shutdown(cancel_futures=True)
    if bad:
        raise DataError(f"{len(bad)} of {len(paths)} image files cannot be read: {listed(bad)}.")


def decode(
    path: Path, *, size: int, channels: int, crop_border: bool = False
) -> tuple[np.ndarray, str]:
    """One image file as :func:`limbeck._base.bundle_runtime.decode_with_digest` has it, where
    exported models run too.

    Raises:
        DataError: it is missing, damaged, too large or no image.
    """
    try:
        return runtime.decode_with_digest(
            path, size=(size, size), channels=channels, crop_border=crop_border
        )
    except runtime.PictureError as error:
        raise DataError(str(error)) from None


def check_size(size: int, channels: int) -> None:
    """Check what images are made to be.

    Raises:
        ConfigError: a size or number of channels is out of range.
    """
    check_count("data.size", size)
    if size > MOST_SIDE:
        raise ConfigError(f"data.size={size} should be at most {MOST_SIDE} pixels.")
    if isinstance(channels, bool) or channels not in (1, 3):
        raise ConfigError(f"data.channels={channels!r} should be 1 (grey) or 3 (RGB).")


def listed(items: Sequence[str]) -> str:
    """The first ten, and how many more there are."""
    more = [f"and {len(items) - MOST_LISTED} more"] if len(items) > MOST_LISTED else []
    return "; ".join([*items[:MOST_LISTED], *more])
