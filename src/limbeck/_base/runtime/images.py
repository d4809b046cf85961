"""Images as inputs of a model: decoded, cropped and resized."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .dicom import is_dicom, limits_of_scan, read_header, read_scan
from .image_files import (
    FORMATS,
    check_upper_bits,
    explain_errors,
    lock_if_large,
    open_image_file,
    open_picture,
    turn_upright,
)
from .value_range import ValueLimits, has_deep_values, limits_of, to_8_bits

_BLACK, _BRIGHT_SHARE = 8, 0.02
"""A row or column is border unless more than 2 % of its pixels are brighter than 8."""


def decode(
    file: Path | BinaryIO,
    *,
    size: tuple[int, int],
    channels: int,
    crop_border: bool = False,
    invert: bool = False,
    value_range: Sequence[float] | None = None,
    name: str | None = None,
) -> np.ndarray:
    """Read an image file and prepare it as model input.

    The image is rotated by its EXIF orientation. Transparent parts become black. Values of more
    than 8 bits are scaled to 8 bits, those of a DICOM file by the window that it contains. The
    image is cropped about its centre to the aspect ratio of ``size`` and resized.

    Args:
        file: PNG, JPEG, TIFF, BMP, WebP, GIF or PPM file, of which only the first picture is read,
            or a DICOM file with one frame.
        size: Height and width in pixels.
        channels: Number of channels: 1 for grey, 3 for RGB.
        crop_border: Whether to crop a black border first.
        invert: Whether to invert the brightness, for dark objects on a light ground.
        value_range: Lowest and highest value of images with more than 8 bits, which become 0 and
            255; None for the range of this image.
        name: Name of the file for messages; the path by default.

    Returns:
        Pixels, uint8 ``[channels, height, width]``.

    Raises:
        InputError: If the file is missing, damaged, too large or not an image.
        MissingLibraryError: If it is a DICOM file, and pydicom is not installed.
    """
    name = name or str(file)
    with _open_image(file, name) as original:
        image = to_8_bits(original, value_range, name)
        return _prepare(image, size, channels, crop_border=crop_border, invert=invert)


def decode_with_digest(
    file: Path | BinaryIO,
    *,
    size: tuple[int, int],
    channels: int,
    crop_border: bool = False,
    value_range: Sequence[float] | None = None,
    name: str | None = None,
) -> tuple[np.ndarray, str]:
    """Read an image file as :func:`decode` does, and compute a digest of its content.

    The digest is the SHA-256 of the upright image in RGB, in hexadecimal. It does not depend on
    the other arguments.
    """
    name = name or str(file)
    with _open_image(file, name) as original:
        image = to_8_bits(original, None, name)
        # The digest must not depend on the range of the other images.
        content = original.tobytes() if original.mode == "F" else image.convert("RGB").tobytes()
        digest = hashlib.sha256(repr(image.size).encode())
        digest.update(content)
        del content
        if has_deep_values(original) and value_range is not None:
            image = to_8_bits(original, value_range, name)
        return _prepare(image, size, channels, crop_border=crop_border), digest.hexdigest()


def is_image(file: Path) -> bool:
    """Whether the content of a file is that of an image, damaged or not.

    A file that cannot be read counts as an image, so that whoever decodes it reports it.
    """
    try:
        with open_image_file(file) as stream:
            if not is_dicom(stream):
                Image.open(stream, formats=FORMATS).close()
    except UnidentifiedImageError:
        return False
    except Exception:  # decoders may raise anything on a damaged file
        return True
    return True


def value_limits(file: Path | BinaryIO) -> ValueLimits | None:
    """Return the limits of the values in an image file.

    Returns:
        None if the image has at most 8 bits per channel or cannot be read.
    """
    try:
        with open_image_file(file) as stream:
            if is_dicom(stream):
                return limits_of_scan(stream)
            with open_picture(stream) as image:
                if not has_deep_values(image):
                    return None
                with lock_if_large(image.width * image.height):
                    return limits_of(np.asarray(image))
    except Exception:  # decode reports files that cannot be read
        return None


@contextlib.contextmanager
def _open_image(file: Path | BinaryIO, name: str) -> Iterator[Image.Image]:
    """Open the first image in a file and rotate it by its EXIF orientation.

    Only one thread at a time has a large image open.
    """
    with contextlib.ExitStack() as stack:
        with explain_errors(file, name), open_image_file(file) as stream:
            if is_dicom(stream):
                scan = read_header(stream)
                stack.enter_context(lock_if_large(scan.Rows * scan.Columns))
                upright = read_scan(stream)
            else:
                upright = _read_picture(stream, name, stack)
        yield upright


def _read_picture(stream: BinaryIO, name: str, stack: contextlib.ExitStack) -> Image.Image:
    with open_picture(stream) as image:
        stack.enter_context(lock_if_large(image.width * image.height))
        has_16_bits = any(";16" in str(tile) for tile in image.tile)
        image.load()
        if has_16_bits and not has_deep_values(image):
            check_upper_bits(image, name)
        return turn_upright(image)


def _prepare(
    image: Image.Image,
    size: tuple[int, int],
    channels: int,
    *,
    crop_border: bool = False,
    invert: bool = False,
) -> np.ndarray:
    image = image.convert("RGB" if channels == 3 else "L")
    if invert:
        image = ImageOps.invert(image)
    if crop_border:
        image = _crop_border(image)
    height, width = size
    box = largest_box(image.size, size)
    image = image.resize((width, height), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
    pixels = np.asarray(image, np.uint8)
    return np.array(pixels.reshape(height, width, channels).transpose(2, 0, 1), order="C")


def _crop_border(image: Image.Image) -> Image.Image:
    """Crop black rows and columns at the edges; an image that is all black stays whole."""
    bright = np.asarray(image.convert("L")) > _BLACK
    rows, columns = (np.flatnonzero(bright.mean(axis) > _BRIGHT_SHARE) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return image
    return image.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def largest_box(
    image_size: tuple[int, int], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return the largest centred box of an image that has the aspect ratio of ``size``.

    Args:
        image_size: Width and height of the image.
        size: Height and width that set the aspect ratio.

    Returns:
        Left, top, right and bottom edge in pixels, inside the image.
    """
    image_width, image_height = image_size
    height, width = size
    scale = min(image_width / width, image_height / height)
    box_width, box_height = scale * width, scale * height
    left, top = (image_width - box_width) / 2, (image_height - box_height) / 2
    # The products are rounded, so an edge may be 1e-14 outside, which Pillow refuses.
    return (
        max(left, 0.0),
        max(top, 0.0),
        min(left + box_width, float(image_width)),
        min(top + box_height, float(image_height)),
    )
