"""Image files, opened by Pillow within limits of their size."""

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps, PngImagePlugin, UnidentifiedImageError

from .errors import SHORTAGES, InputError, RuntimeFailure, one_line
from .files import open_file

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM")
"""Formats that Pillow decodes itself; for some other formats it starts external programs."""
MAX_PIXELS, MAX_IMAGE_SIDE, MAX_IMAGE_BYTES = 128 << 20, 65_535, 1 << 30
"""Largest number of pixels, side in pixels, and file size of an image to read."""
SMALL_PIXELS, PIXELS_PER_BYTE = 32 << 20, 512
"""Number of pixels that any file may have, and for each of its bytes a file with more pixels.
Images with more pixels are decoded one at a time.
"""
MAX_SCANS = 100
"""Largest number of scans in a JPEG file; each takes as long as a whole image."""
_LARGE_IMAGE = threading.Lock()

# Colour profiles and other metadata may be larger than 1 MiB, the default, which refuses the image.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


@contextlib.contextmanager
def open_image_file(file: Path | BinaryIO) -> Iterator[BinaryIO]:
    """Open an image file of any kind for reading.

    Pillow maps files that it opens itself into memory, and then confuses height and width of TIFF
    files that are stored on their side.
    """
    with open_file(file) if isinstance(file, Path) else contextlib.nullcontext(file) as stream:
        if size_of(stream) > MAX_IMAGE_BYTES:
            raise ValueError(f"larger than {MAX_IMAGE_BYTES >> 30} GiB")
        yield stream


def size_of(stream: BinaryIO) -> int:
    """Return the size of an open file in bytes, and go back to its start."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return size


def lock_if_large(pixels: int) -> AbstractContextManager[object]:
    """Return the lock with which one thread at a time has a large image open; none for others."""
    return _LARGE_IMAGE if pixels > SMALL_PIXELS else contextlib.nullcontext()


@contextlib.contextmanager
def open_picture(stream: BinaryIO) -> Iterator[ImageFile.ImageFile]:
    """Open an image file for Pillow without decoding it."""
    size = size_of(stream)
    with Image.open(stream, formats=FORMATS) as image:
        tags = getattr(image, "tag_v2", {})  # of TIFF files, whose tiles may be larger
        check_pixels([image.size, (tags.get(322, 1), tags.get(323, 1))], size)
        _check_scans(image, stream)
        yield image


@contextlib.contextmanager
def explain_errors(file: Path | BinaryIO, name: str) -> Iterator[None]:
    """Turn an error of reading an image file into an ``InputError``."""
    try:
        yield
        return
    except RuntimeFailure:
        raise
    except FileNotFoundError:
        is_link = isinstance(file, Path) and file.is_symlink()
        reason = "a link to a missing file" if is_link else "missing"
    except UnidentifiedImageError:
        reason = f"not an image of a known format: {', '.join(FORMATS)}, DICOM"
    except Image.DecompressionBombError:
        reason = f"more than {MAX_PIXELS:,} pixels"
    except MemoryError:
        reason = "its pixels do not fit into memory"
    except Exception as error:  # decoders may raise anything on a damaged file
        if getattr(error, "errno", None) in SHORTAGES:
            raise
        reason = getattr(error, "strerror", None) or one_line(error)
    raise InputError(f"{name} ({reason})")


def check_pixels(sizes: Iterable[tuple[int, int]], file_size: int) -> None:
    """Check widths and heights of an image that is not decoded yet against its file."""
    max_pixels = min(MAX_PIXELS, max(SMALL_PIXELS, PIXELS_PER_BYTE * file_size))
    for width, height in sizes:
        if width * height > MAX_PIXELS:
            raise ValueError(f"more than {MAX_PIXELS:,} pixels")
        if width * height > max_pixels:
            raise ValueError(f"{width} x {height} pixels in a file of {file_size:,} bytes")
        if max(width, height) > MAX_IMAGE_SIDE:
            raise ValueError(f"a side of more than {MAX_IMAGE_SIDE:,} pixels")


def _check_scans(image: ImageFile.ImageFile, stream: BinaryIO) -> None:
    """Check that a progressive JPEG file has no more scans than encoders write."""
    if not image.info.get("progressive"):
        return
    position = stream.tell()
    stream.seek(0)
    scans = stream.read().count(b"\xff\xda")
    stream.seek(position)
    if scans > MAX_SCANS:
        raise ValueError(f"a progressive JPEG file of {scans} scans; at most {MAX_SCANS} are read")


def turn_upright(image: Image.Image) -> Image.Image:
    """Rotate an image by its EXIF orientation, if its EXIF data can be read."""
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data, which says nothing about the pixels
        upright = image.copy()
    # Pillow converts LAB to RGB, but not to grey.
    return upright.convert("RGB") if upright.mode == "LAB" else upright


def check_upper_bits(image: Image.Image, name: str) -> None:
    """Check that a colour image of 16 bits per channel is not dark because it uses 12 or fewer.

    Pillow reads only the upper 8 bits of such images.
    """
    brightest = int(np.asarray(image.convert("RGB")).max())
    if 0 < brightest < 16:
        raise InputError(
            f"{name} (colour of 16 bits per channel with values up to {brightest << 8 | 255}, of "
            "which Pillow reads only the upper 8 bits; convert it to 8 bits per channel)"
        )
