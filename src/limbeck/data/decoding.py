"""Image files as arrays of one size: many at once, and every bad file named."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from limbeck.config import check_count
from limbeck.errors import ConfigError, DataError

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM")
"""Those that Pillow reads by itself; some others start programs."""
MOST_PIXELS = 128 * 1024 * 1024
MOST_SIDE = 4096
MOST_LISTED = 10
_BLACK, _SHARE = 8, 0.02
"""A row or column belongs to the border unless a share of its pixels is brighter than that."""


def read_images(paths: Sequence[str | Path], *, size: int, channels: int, crop_border: bool = False) -> Tensor:
    """Read image files into memory, each resized and cropped about its middle to ``size`` pixels a side.

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
    found = decode_all([Path(path) for path in paths], size=size, channels=channels, crop_border=crop_border)
    return torch.from_numpy(np.stack([pixels for pixels, _ in found]))


def decode_all(
    paths: Sequence[Path], *, size: int, channels: int, crop_border: bool = False,
    advance: Callable[[int], object] = lambda done: None,
) -> Iterator[tuple[np.ndarray, str]]:  # fmt: skip
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
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # decode refuses these itself
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


def decode(path: Path, *, size: int, channels: int, crop_border: bool = False) -> tuple[np.ndarray, str]:
    """One image file, upright, as uint8 ``[channels, size, size]``, and a digest of the whole picture.

    Transparent parts become black. 16 bits become 8 by the range of the type, so that images stay comparable. The
    digest (SHA-256, hexadecimal) is of the upright picture in RGB as it was in the file: no setting changes it.

    Raises:
        DataError: it is missing, damaged, too large or no image.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DataError(f"{path} ({image.width} x {image.height} pixels; at most {MOST_PIXELS:,} are read)")
            whole = _eight_bits(ImageOps.exif_transpose(image), path)
        plain, coloured = whole.convert("RGB" if channels == 3 else "L"), whole.convert("RGB")
        small = _resized(_without_border(plain) if crop_border else plain, size)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path} (missing)") from None
    except UnidentifiedImageError:
        raise DataError(f"{path} (no image of a known kind: {', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path} (more than {MOST_PIXELS:,} pixels)") from None
    except Exception as error:  # a decoder that stumbles over damage raises anything
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{path} ({' '.join(reason.split())})") from None
    pixels = np.asarray(small, np.uint8)
    digest = hashlib.sha256(repr(coloured.size).encode() + coloured.tobytes()).hexdigest()
    return pixels[None].copy() if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1)), digest


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


def _eight_bits(image: Image.Image, path: Path) -> Image.Image:
    """An image whose every channel is of 8 bits, on black where it is transparent."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise DataError(f"{path} (values from {values.min()} to {values.max()}; 8 or 16 bits were expected)")
        return Image.fromarray(((values * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8))
    if image.mode == "F":
        raise DataError(f"{path} (floating-point values; 8 or 16 bits were expected)")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", coloured.size, "black"), coloured).convert("RGB")
    return image


def _without_border(image: Image.Image) -> Image.Image:
    """The image without rows and columns at its edges that are black; whole if all is."""
    bright = np.asarray(image.convert("L")) > _BLACK
    rows, columns = (np.flatnonzero(bright.mean(axis) > _SHARE) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return image
    return image.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def _resized(image: Image.Image, size: int) -> Image.Image:
    """The largest square about the middle, with ``size`` pixels a side."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
