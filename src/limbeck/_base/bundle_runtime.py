"""Runtime of a bundle: runs an exported model with NumPy, Pillow and ONNX Runtime, without PyTorch.

This file is copied into every bundle as ``run.py``. It does not import limbeck, reads no pickle,
and runs no code that comes with a model::

    python BUNDLE/run.py verify
    python BUNDLE/run.py predict photo.png folder --top 3
    python BUNDLE/run.py predict --text "a lovely film"
    python BUNDLE/run.py predict rows.csv

Exit codes: 0 success, 2 wrong arguments, 3 some inputs cannot be read, 6 ONNX Runtime is missing,
or memory or disk is exhausted, 7 the bundle is damaged, 8 the model's outputs differ from the
exported ones.
"""

import os
import sys

if __name__ == "__main__":  # a bundle is data: no other file in its folder is imported
    _here = os.path.dirname(os.path.realpath(__file__))
    sys.path = [path for path in sys.path if os.path.realpath(path or ".") != _here]

import argparse
import base64
import codecs
import contextlib
import csv
import errno
import functools
import hashlib
import importlib.util
import io
import itertools
import json
import logging
import math
import re
import stat
import threading
import time
import unicodedata
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, TextIO

import numpy as np
from PIL import Image, ImageFile, ImageOps, PngImagePlugin, UnidentifiedImageError

FORMAT = 1
SUMS, METADATA, LABELS = "SHA256SUMS", "bundle.json", "labels.json"
PREPROCESS, GOLDEN = "preprocess.json", "golden.npz"
CARD = "model_card.md"
"""The model card. It has no checksum, because users edit it."""
SIGNATURE = f"{SUMS}.sig"
"""Signature of the checksums by OpenSSH, which whoever signs a bundle adds."""
KINDS = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
MAX_MODEL_BYTES, MAX_GOLDEN_BYTES, MAX_TEXT_BYTES = 2 << 30, 256 << 20, 4 << 20
"""Largest sizes of a model, of the unpacked golden arrays, and of any other file."""
MAX_RATIO = 200
"""Largest ratio of a file's size to its compressed size in a zip file."""
MAX_FILES = 64
"""Largest number of files in a bundle."""
BATCH_SIZE, MAX_VALUES = 64, 1 << 26
"""Largest number of inputs in a batch, and of values in an input or a batch of inputs."""
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
MAX_DEPTH, MAX_PATHS = 64, 1000
"""Largest depth of folders to search, and number of paths by which links lead to one folder."""
FULL_RANGE = (0.0, 65535.0)
"""Range of images that use all values of 16 bits."""
LEFTOVER_SECONDS = 2.0
"""Age at which the temporary file of a process that has ended is removed."""
SYSTEM_FILES = ("__macosx", "__pycache__", "desktop.ini", "thumbs.db", "dicomdir")
_BLACK, _BRIGHT_SHARE = 8, 0.02
"""A row or column is border unless more than 2 % of its pixels are brighter than 8."""
_HARMFUL = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)
"""Control characters, and characters that hide or turn the text around them."""
_FORMULA = re.compile(r"[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""Beginnings of a formula in spreadsheets; the last four are their full-width forms."""
_NO_MEMORY = ("bad_alloc", "Failed to allocate memory", "bad allocation")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SUM = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>[^/\\\x00-\x1f\x7f]{1,255})")
"""One line of ``SHA256SUMS``: the checksum and the name of a file in the bundle itself."""
_EXTERNAL = re.compile(rb"[\x00\x08]location")
"""The key ``location``, under which a tensor names an external data file. ONNX files store the
length of a string before its bytes: 8, which may be padded to end in 0.
"""


# Colour profiles and other metadata may be larger than 1 MiB, the default, which refuses the image.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


MAX_GAPS = 1 << 30
"""Largest size of the parts of a file that are not on the disk, in bytes."""
SHORTAGES = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""Errors of the system that no file is to blame for."""
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""Errors of writing a file that its name is not to blame for."""


class RuntimeFailure(Exception):
    """An error that a user can correct, with the exit code of the command line."""

    exit_code = 2


class InputError(RuntimeFailure):
    """An input file is missing, damaged, too large or of another kind."""

    exit_code = 3


class MissingLibraryError(RuntimeFailure):
    """A library or memory is missing."""

    exit_code = 6


class BundleError(RuntimeFailure):
    """A bundle is damaged, incomplete or cannot be trusted."""

    exit_code = 7


class DifferentOutputsError(RuntimeFailure):
    """The outputs of a model on this device differ from the exported ones."""

    exit_code = 8


# Files --------------------------------------------------------------------------------------------


class GapError(ValueError):
    """A file claims to be much larger than what is on the disk."""


def open_file(path: Path, *, allow_gaps: bool = False) -> io.BufferedReader:
    """Open a file for reading, but no pipe or device, from which a read may wait forever.

    A small file can claim terabytes that are not on the disk, and take as long to read.

    Args:
        path: Path of the file.
        allow_gaps: Whether the file may have large gaps, because it is not read from end to end.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is not a file, or has large gaps.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    stream = open(path, "rb", opener=opener)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise ValueError("neither a file nor a folder")
    if not allow_gaps and _has_large_gaps(stream.fileno()):
        stream.close()
        raise GapError("most of it is a gap that is not on the disk")
    return stream


def _has_large_gaps(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    blocks = getattr(status, "st_blocks", None)
    if blocks is None or status.st_size - 512 * blocks <= MAX_GAPS:
        return False
    # Some network file systems count no blocks. They report no gap either.
    first_gap = os.lseek(descriptor, 0, os.SEEK_HOLE)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return first_gap < status.st_size


def check_archive(archive: zipfile.ZipFile, max_bytes: int, max_ratio: int = MAX_RATIO) -> None:
    """Check the sizes of the files in a zip file before they are read.

    Args:
        archive: Open zip file.
        max_bytes: Largest size of all files together.
        max_ratio: Largest ratio of the size of a file above 4 MiB to its compressed size.

    Raises:
        ValueError: If the files are too large.
    """
    total = 0
    for entry in archive.infolist():
        total += entry.file_size
        ratio_is_high = entry.file_size > max_ratio * entry.compress_size
        if ratio_is_high and entry.file_size > MAX_TEXT_BYTES:
            raise ValueError(f"{entry.filename} in it unpacks to {entry.file_size:,} bytes")
    if total > max_bytes:
        raise ValueError(f"it unpacks to {total:,} bytes; at most {max_bytes:,} are read")


# Images -------------------------------------------------------------------------------------------

_LARGE_IMAGE = threading.Lock()


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
        image = _to_8_bits(original, value_range, name)
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
        image = _to_8_bits(original, None, name)
        # The digest must not depend on the range of the other images.
        content = original.tobytes() if original.mode == "F" else image.convert("RGB").tobytes()
        digest = hashlib.sha256(repr(image.size).encode())
        digest.update(content)
        del content
        if _is_deep(original) and value_range is not None:
            image = _to_8_bits(original, value_range, name)
        return _prepare(image, size, channels, crop_border=crop_border), digest.hexdigest()


@contextlib.contextmanager
def _open_image(file: Path | BinaryIO, name: str) -> Iterator[Image.Image]:
    """Open the first image in a file and rotate it by its EXIF orientation.

    Only one thread at a time has a large image open.
    """
    with contextlib.ExitStack() as stack:
        with _explain_errors(file, name), _open_stream(file) as stream:
            if is_dicom(stream):
                scan = _read_header(stream)
                if scan.Rows * scan.Columns > SMALL_PIXELS:
                    stack.enter_context(_LARGE_IMAGE)
                upright = _read_scan(stream)
            else:
                upright = _read_picture(stream, name, stack)
        yield upright


def _read_picture(stream: BinaryIO, name: str, stack: contextlib.ExitStack) -> Image.Image:
    with _open_picture(stream) as image:
        if image.width * image.height > SMALL_PIXELS:
            stack.enter_context(_LARGE_IMAGE)
        has_16_bits = any(";16" in str(tile) for tile in image.tile)
        image.load()
        if has_16_bits and not _is_deep(image):
            _check_upper_bits(image, name)
        return _upright(image)


@contextlib.contextmanager
def _explain_errors(file: Path | BinaryIO, name: str) -> Iterator[None]:
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
        reason = getattr(error, "strerror", None) or _one_line(error)
    raise InputError(f"{name} ({reason})")


@contextlib.contextmanager
def _open_stream(file: Path | BinaryIO) -> Iterator[BinaryIO]:
    """Open an image file of any kind for reading.

    Pillow maps files that it opens itself into memory, and then confuses height and width of TIFF
    files that are stored on their side.
    """
    with open_file(file) if isinstance(file, Path) else contextlib.nullcontext(file) as stream:
        if _size_of(stream) > MAX_IMAGE_BYTES:
            raise ValueError(f"larger than {MAX_IMAGE_BYTES >> 30} GiB")
        yield stream


def _size_of(stream: BinaryIO) -> int:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return size


@contextlib.contextmanager
def _open_picture(stream: BinaryIO) -> Iterator[ImageFile.ImageFile]:
    """Open an image file for Pillow without decoding it."""
    size = _size_of(stream)
    with Image.open(stream, formats=FORMATS) as image:
        tags = getattr(image, "tag_v2", {})  # of TIFF files, whose tiles may be larger
        _check_pixels([image.size, (tags.get(322, 1), tags.get(323, 1))], size)
        _check_scans(image, stream)
        yield image


def is_image(file: Path) -> bool:
    """Whether the content of a file is that of an image, damaged or not.

    A file that cannot be read counts as an image, so that whoever decodes it reports it.
    """
    try:
        with _open_stream(file) as stream:
            if not is_dicom(stream):
                Image.open(stream, formats=FORMATS).close()
    except UnidentifiedImageError:
        return False
    except Exception:  # decoders may raise anything on a damaged file
        return True
    return True


def _check_pixels(sizes: Iterable[tuple[int, int]], file_size: int) -> None:
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


def _upright(image: Image.Image) -> Image.Image:
    """Rotate an image by its EXIF orientation, if its EXIF data can be read."""
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data, which says nothing about the pixels
        upright = image.copy()
    # Pillow converts LAB to RGB, but not to grey.
    return upright.convert("RGB") if upright.mode == "LAB" else upright


def _check_upper_bits(image: Image.Image, name: str) -> None:
    """Check that a colour image of 16 bits per channel is not dark because it uses 12 or fewer.

    Pillow reads only the upper 8 bits of such images.
    """
    brightest = int(np.asarray(image.convert("RGB")).max())
    if 0 < brightest < 16:
        raise InputError(
            f"{name} (colour of 16 bits per channel with values up to {brightest << 8 | 255}, of "
            "which Pillow reads only the upper 8 bits; convert it to 8 bits per channel)"
        )


class ValueLimits(NamedTuple):
    """Limits of the values of an image with more than 8 bits.

    Attributes:
        low: Lowest value.
        high: Highest value.
        is_whole: Whether all values are whole numbers.
    """

    low: float
    high: float
    is_whole: bool


def value_limits(file: Path | BinaryIO) -> ValueLimits | None:
    """Return the limits of the values in an image file.

    Returns:
        None if the image has at most 8 bits per channel or cannot be read.
    """
    try:
        with _open_stream(file) as stream:
            if is_dicom(stream):
                return _limits_of_scan(stream)
            with _open_picture(stream) as image:
                if not _is_deep(image):
                    return None
                is_large = image.width * image.height > SMALL_PIXELS
                with _LARGE_IMAGE if is_large else contextlib.nullcontext():
                    return _limits_of(np.asarray(image))
    except Exception:  # decode reports files that cannot be read
        return None


def _limits_of(values: np.ndarray) -> ValueLimits:
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(low) or not math.isfinite(high):
        raise ValueError("values that are infinite or not a number")
    is_whole = values.dtype.kind != "f" or bool((values == np.rint(values)).all())
    return ValueLimits(low, high, is_whole)


def common_range(limits: Iterable[ValueLimits | None]) -> tuple[float, float] | None:
    """Return the range of a set of images that is scaled to 0 to 255.

    Args:
        limits: Limits of each image from :func:`value_limits`.

    Returns:
        Lowest and highest value; None if all images have at most 8 bits per channel.
    """
    deep_images = [one for one in limits if one is not None]
    return _range_of(deep_images) if deep_images else None


def _range_of(limits: Sequence[ValueLimits]) -> tuple[float, float]:
    """Return the range of images with more than 8 bits.

    Whole numbers from 0 have the range of the smallest number of bits that holds them, such as 0 to
    4095, so that the range hardly depends on single images.
    """
    low = min(one.low for one in limits)
    high = max(one.high for one in limits)
    if low >= 0 and all(one.is_whole for one in limits):
        bits = next(n for n in (1, *range(8, 129)) if high < 2.0**n)
        high = 2.0**bits - 1
    return min(low, 0.0), high


def describe_range(value_range: Sequence[float]) -> str:
    """Return a sentence about the range of a set of images."""
    low, high = value_range
    return f"Images with more than 8 bits: values from {low:g} to {high:g} become 0 to 255."


def _is_deep(image: Image.Image) -> bool:
    """Whether the values of an image have more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def _to_8_bits(image: Image.Image, value_range: Sequence[float] | None, name: str) -> Image.Image:
    """Convert an image to 8 bits per channel, on a black background if it is transparent."""
    if _is_deep(image):
        return Image.fromarray(_scale(np.asarray(image), value_range, name))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, "black")
        return Image.alpha_composite(black, rgba).convert("RGB")
    return image


def _scale(values: np.ndarray, value_range: Sequence[float] | None, name: str) -> np.ndarray:
    """Scale values so that the ends of a range become 0 and 255."""
    try:
        limits = _limits_of(values)
    except ValueError as error:
        raise InputError(f"{name} ({error})") from None
    low, high = _range_of([limits]) if value_range is None else value_range
    width = (high - low) or 1.0
    if limits.low < low - width or limits.high > high + width:
        raise InputError(
            f"{name} (values from {limits.low:g} to {limits.high:g}; expected {low:g} to {high:g})"
        )
    scaled = np.empty(values.shape, np.uint8)
    for row, numbers in enumerate(values):
        scaled[row] = np.rint((numbers.astype(np.float64) - low) * 255 / width).clip(0, 255)
    return scaled


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


# DICOM --------------------------------------------------------------------------------------------

_SCAN_TAGS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "RescaleIntercept",
    "RescaleSlope",
    "ModalityLUTSequence",
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
)
"""Elements of a DICOM file that are read: those of the image, none of the patient."""
_ROWS = 256
"""Number of rows of a DICOM image that are computed at once."""
_DEFLATED = b"1.2.840.10008.1.2.1.99"
"""Transfer syntax of files that are compressed as a whole, and may unpack to any size."""
_LIBJPEG, _OPENJPEG = "pylibjpeg pylibjpeg-libjpeg", "pylibjpeg pylibjpeg-openjpeg"
_PLUGINS = {
    "1.2.840.10008.1.2.4.50": _LIBJPEG,
    "1.2.840.10008.1.2.4.51": _LIBJPEG,
    "1.2.840.10008.1.2.4.57": _LIBJPEG,
    "1.2.840.10008.1.2.4.70": _LIBJPEG,
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": _OPENJPEG,
    "1.2.840.10008.1.2.4.91": _OPENJPEG,
    "1.2.840.10008.1.2.4.201": _OPENJPEG,
    "1.2.840.10008.1.2.4.202": _OPENJPEG,
    "1.2.840.10008.1.2.4.203": _OPENJPEG,
}
"""Packages with which pydicom reads compressed images, by transfer syntax."""


def is_dicom(stream: BinaryIO) -> bool:
    """Whether an open file is a DICOM file, as its first bytes tell."""
    stream.seek(128)
    is_scan = stream.read(4) == b"DICM"
    stream.seek(0)
    return is_scan


def _read_header(stream: BinaryIO, *, with_pixels: bool = False) -> Any:
    """Read the elements of a DICOM file that describe its image, as pydicom's ``Dataset``.

    Messages of pydicom may quote the header, which contains the patient's name. So none is passed
    on.

    Raises:
        ValueError: If the file is damaged, or contains no image of one frame, or a too large one.
        MissingLibraryError: If pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError:
        raise MissingLibraryError(
            "DICOM files are read with pydicom, which is not installed: pip install pydicom"
        ) from None
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    size = _size_of(stream)
    is_deflated = _DEFLATED in stream.read(1024)
    stream.seek(0)
    if is_deflated:
        raise ValueError("a deflated DICOM file; convert it, as with DCMTK's 'dcmconv +te'")
    try:
        scan = pydicom.dcmread(
            stream, stop_before_pixels=not with_pixels, specific_tags=list(_SCAN_TAGS)
        )
        frames = int(scan.get("NumberOfFrames") or 1)
        rows, columns = int(scan.get("Rows") or 0), int(scan.get("Columns") or 0)
    except MemoryError:
        raise
    except Exception:  # pydicom may raise anything on a damaged file
        raise ValueError("a damaged DICOM file") from None
    finally:
        stream.seek(0)
    if not rows or not columns:
        raise ValueError("a DICOM file without an image")
    if frames > 1:
        raise ValueError(f"a DICOM file of {frames} frames; save each frame to use as a file")
    _check_pixels([(columns, rows)], size)
    return scan


def _read_scan(stream: BinaryIO) -> Image.Image:
    """Read the image of a DICOM file: 8 bits, or the values of one that has no window."""
    scan = _read_header(stream, with_pixels=True)
    syntax: Any = getattr(scan.file_meta, "TransferSyntaxUID", None)
    package = _PLUGINS.get(str(syntax))
    try:
        return _image_of_scan(scan)
    except (MemoryError, _WindowError):
        raise
    except Exception:  # pydicom and its plugins may raise anything on a damaged file
        reason = "a DICOM file whose pixels are damaged, or compressed in an unknown way"
        if package is not None and not _has_package(package):
            reason = f"a DICOM file compressed as {syntax.name}; to read it, pip install {package}"
    raise ValueError(reason)


def _has_package(package: str) -> bool:
    modules = {_LIBJPEG: "libjpeg", _OPENJPEG: "openjpeg", "pyjpegls": "jpeg_ls"}
    return importlib.util.find_spec(modules[package]) is not None


class _WindowError(ValueError):
    """The window of a DICOM file cannot be applied."""


def _image_of_scan(scan: Any) -> Image.Image:
    """Return the image of a DICOM file: RGB, 8 bits of grey, or values (mode ``I`` or ``F``)."""
    from pydicom.pixels import apply_color_lut, pixel_array

    pixels = pixel_array(scan, index=0)
    kind = scan.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        colours = apply_color_lut(pixels, scan)
        return Image.fromarray((colours >> 8 * (colours.itemsize - 1)).astype(np.uint8))
    if scan.get("SamplesPerPixel", 1) != 1:
        return Image.fromarray((pixels >> max(scan.BitsStored - 8, 0)).astype(np.uint8))
    return Image.fromarray(_grey_values(pixels, scan))


def _grey_values(pixels: np.ndarray, scan: Any) -> np.ndarray:
    """Return the grey values of a DICOM file: uint8, or int32 or float32 if it has no window."""
    low, high = _value_ends(pixels, scan)
    has_window, is_inverted = _has_window(scan), scan.PhotometricInterpretation == "MONOCHROME1"
    is_8_bits = has_window or not _has_deep_values(scan)
    dtype = np.uint8 if is_8_bits else _dtype_of_values(pixels, scan, max(abs(low), abs(high)))
    result = np.empty(pixels.shape, dtype)
    for first in range(0, len(pixels), _ROWS):  # in float64, the whole image may be too large
        rows = slice(first, first + _ROWS)
        values = _modality_values(pixels[rows], scan)
        if has_window:
            values, low, high = _through_window(values, scan), 0.0, 1.0
        if is_inverted:
            values = low + high - values
        if is_8_bits:
            values = np.rint(values * (255 / high))
        result[rows] = values
    return result


def _dtype_of_values(pixels: np.ndarray, scan: Any, largest: float) -> type[np.generic]:
    """Return int32 for values that are whole numbers, and else float32."""
    numbers = [float(scan.get(name) or 0) for name in ("RescaleSlope", "RescaleIntercept")]
    is_whole = pixels.dtype.kind != "f" and all(number.is_integer() for number in numbers)
    return np.int32 if is_whole and largest < 2**31 else np.float32


def _value_ends(pixels: np.ndarray, scan: Any) -> tuple[float, float]:
    """Return the values of the lowest and the highest number that a DICOM file can store."""
    if pixels.dtype.kind == "f":
        return float(pixels.min()), float(pixels.max())
    if scan.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** int(scan.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    low = -(2.0 ** (scan.BitsStored - 1)) if scan.PixelRepresentation == 1 else 0.0
    low, high = _modality_values(np.array([low, low + 2.0**scan.BitsStored - 1]), scan).tolist()
    return low, high


def _modality_values(pixels: np.ndarray, scan: Any) -> np.ndarray:
    """Return the values that the pixels stand for, such as Hounsfield units, in float64."""
    if scan.get("ModalityLUTSequence"):
        return _look_up(pixels, scan.ModalityLUTSequence[0], scan)
    values = pixels.astype(np.float64)
    if scan.get("RescaleSlope") is None or scan.get("RescaleIntercept") is None:
        return values
    return values * float(scan.RescaleSlope) + float(scan.RescaleIntercept)


def _through_window(values: np.ndarray, scan: Any) -> np.ndarray:
    """Apply the first window of a DICOM file, as its standard defines it (PS3.3 C.11.2).

    Returns:
        Brightness from 0 to 1.

    Raises:
        _WindowError: If the window is none.
    """
    if scan.get("VOILUTSequence"):
        table = scan.VOILUTSequence[0]
        highest = 2.0 ** int(table.LUTDescriptor[2]) - 1
        return (_look_up(values, table, scan) / highest).clip(0, 1)
    centre, width = _first_number(scan.WindowCenter), _first_number(scan.WindowWidth)
    function = str(scan.get("VOILUTFunction") or "LINEAR").upper()
    least = 1 if function == "LINEAR" else 1e-9
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID") or not width >= least:
        raise _WindowError(f"a DICOM file with a window of width {width:g} ({function})")
    if function == "SIGMOID":
        return 1 / (1 + np.exp((-4 * (values - centre) / width).clip(-700, 700)))
    if function == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, 1e-9)
    return ((values - centre) / width + 0.5).clip(0, 1)


def _look_up(values: np.ndarray, item: Any, scan: Any) -> np.ndarray:
    """Return the entries of a table of a DICOM file for some values."""
    count, first = (int(number) for number in item.LUTDescriptor[:2])
    entries = item.LUTData
    if isinstance(entries, bytes):
        is_little = scan.file_meta.TransferSyntaxUID.is_little_endian
        entries = np.frombuffer(entries, "<u2" if is_little else ">u2")
    table = np.asarray(entries, np.float64)[: count or 1 << 16]
    index = np.rint(values).astype(np.int64) - first
    return table[index.clip(0, len(table) - 1)]


def _has_window(scan: Any) -> bool:
    centre, width = scan.get("WindowCenter"), scan.get("WindowWidth")
    has_numbers = centre not in (None, "") and width not in (None, "")
    return bool(scan.get("VOILUTSequence")) or has_numbers


def _first_number(value: Any) -> float:
    return float(value[0] if hasattr(value, "__getitem__") else value)


def _has_deep_values(scan: Any) -> bool:
    """Whether the values of a grey DICOM image are more than 8 bits, or no brightness."""
    has_scale = scan.get("RescaleSlope", 1) not in (None, 1) or scan.get("RescaleIntercept", 0)
    is_other = "BitsStored" not in scan or scan.PixelRepresentation == 1
    return bool(has_scale or is_other or scan.get("ModalityLUTSequence") or scan.BitsStored > 8)


def _limits_of_scan(stream: BinaryIO) -> ValueLimits | None:
    """Return the limits of the values of a DICOM file; None if it is not scaled by them."""
    scan = _read_header(stream)
    is_colour = scan.get("SamplesPerPixel", 1) != 1 or "PALETTE" in scan.PhotometricInterpretation
    if is_colour or _has_window(scan) or not _has_deep_values(scan):
        return None
    is_large = scan.Rows * scan.Columns > SMALL_PIXELS
    with _LARGE_IMAGE if is_large else contextlib.nullcontext():
        return _limits_of(np.asarray(_read_scan(stream)))


# Tables -------------------------------------------------------------------------------------------

MAX_EMPTY_LINES = 100
"""Largest number of lines before the one with the names of the columns."""
MAX_HEADER = 1 << 20
"""Largest number of characters of the line with the names of the columns."""
DELIMITERS = (",", ";", "\t")
MISSING_VALUES = ("", "nan", "-nan", "nat", "null", "<na>", "#n/a", "na", "n/a", "none", "?")
"""Cells without a number or a known category, in lower case."""
MAX_FLOAT = float(np.finfo(np.float32).max)
"""Largest number of float32."""
MAX_LISTED = 10
"""Largest number of lines, columns or categories that a message lists."""
_SEPARATOR_LINE = re.compile(r"sep=.", re.IGNORECASE)
"""First line that tells Excel the separator of the columns."""


class CsvFile:
    """A CSV file in UTF-8 or UTF-16, separated by commas, semicolons or tabs.

    Args:
        file: Path of the file.
        names: Columns that it should have, by which the separator is recognised.

    Attributes:
        file: Path of the file.
        columns: Names of the columns, those of the first line that is not empty.
        decimal: Decimal separator of numbers: a comma where semicolons separate columns.

    Raises:
        InputError: If it cannot be read, or is no CSV file.
    """

    def __init__(self, file: Path, names: Collection[str]):
        self.file = file
        with self.open_text() as content:
            header, _ = _read_first_line(content)
            self._delimiter = _find_delimiter(header, names)
            self.columns = _split_line(header, self._delimiter)
        self.decimal = "," if self._delimiter == ";" else "."

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield the number of each line, and its values in some columns.

        Lines without any value are left out. The file is read twice: once to find out whether its
        rows have numbers that the header does not name.

        Args:
            names: Names of columns that exist.

        Raises:
            InputError: If the file is damaged, or a line has more values than there are columns.
        """
        with self.open_text() as content:
            first = self._first_column(content)
        picks = [self.columns.index(name) + first for name in names]
        last = max(picks, default=0)
        with self.open_text() as content:
            for number, values in self._lines(content):
                if len(values) <= last:
                    values += [""] * (last + 1 - len(values))
                yield number, tuple([values[pick] for pick in picks])

    @contextlib.contextmanager
    def open_text(self) -> Iterator[TextIO]:
        """Open the file as text, and turn errors of reading it into one message."""
        try:
            with open_file(self.file) as stream:
                encoding = _text_encoding(stream.peek(100)[:100])
                with io.TextIOWrapper(stream, encoding, newline="") as content:
                    yield content
        except OSError as error:
            raise InputError(f"{self.file} cannot be read ({error.strerror}).") from None
        except UnicodeError as error:
            raise InputError(
                f"{self.file} is {self._kind(error)}. Spreadsheets save such files as 'CSV UTF-8'."
            ) from None
        except csv.Error as error:
            raise InputError(f"{self.file} is not a valid CSV file ({error}).") from None
        except ValueError as error:
            raise InputError(f"{self.file} cannot be read ({error}).") from None

    def _kind(self, error: UnicodeError) -> str:
        with open_file(self.file) as stream:
            is_workbook = stream.read(4) == b"PK\x03\x04"
        if is_workbook:
            return "an Excel workbook, not a CSV file"
        return f"not a CSV file in UTF-8 or UTF-16 ({error})"

    def _lines(self, content: TextIO) -> Iterator[tuple[int, list[str]]]:
        """Yield the number and the values of each line with a value, after the header."""
        _, header_lines = _read_first_line(content)
        lines = csv.reader(content, delimiter=self._delimiter)
        for values in lines:
            values = [value.strip() for value in values]
            if any(values):
                yield header_lines + lines.line_num, values

    def _first_column(self, content: TextIO) -> int:
        """Return the position of the first column that the header names.

        It is 1 if the header names one column less than there are, as in files of R, whose first
        column contains the numbers of the rows. If instead the last one is always empty, each line
        ends with a separator.
        """
        columns = len(self.columns)
        has_one_more, has_value = True, False
        longer: list[int] = []  # lines with one value more than columns
        too_long: list[int] = []
        for number, values in self._lines(content):
            has_one_more &= len(values) == columns + 1
            count = len(values)
            while count > columns and not values[count - 1]:
                count -= 1
            has_value |= count == columns + 1
            if count > columns:
                lines = longer if count == columns + 1 else too_long
                lines.append(number)
        first = int(has_one_more and has_value)
        if not first:
            too_long = sorted(longer + too_long)
        if too_long:
            lines_text = _list_some([f"line {number}" for number in too_long])
            raise InputError(
                f"{self.file} has {columns} columns, but more values in {lines_text}. Quote values "
                'that contain the separator, as in "a, b".'
            )
        return first


class Text(str):
    """A text to classify, in place of the path of a file."""


class Sample(NamedTuple):
    """One input to predict.

    Attributes:
        file: File that contains it.
        line: Number of its line in a table; None for a file of one input.
        array: The input, ``[...]``; None if it cannot be read.
        error: Reason why it cannot be read, or empty.
    """

    file: Path
    line: int | None
    array: np.ndarray | None
    error: str


def number_in(cell: str, decimal: str = ".") -> float:
    """Return the number in a cell of a table; NaN if the cell stands for a missing value.

    Args:
        cell: Text of the cell without white space around it.
        decimal: Decimal separator: a full stop, or a comma instead.

    Raises:
        ValueError: If it is something else, or too large for float32.
    """
    text = cell
    if decimal == "," and "." not in cell:  # programs write 1.5 in spite of the separator
        text = cell.replace(",", ".")
    if _NUMBER.fullmatch(text):
        value = float(text)
        if abs(value) <= MAX_FLOAT:
            return value
        raise ValueError(f"{_quote(cell)} is too large")
    if cell.lower() in MISSING_VALUES:
        return math.nan
    raise ValueError(f"{_quote(cell)} is not a number")


def category_in(cell: str, categories: Sequence[str], decimal: str = ".") -> float:
    """Return the code of the category in a cell of a table; NaN if its value is missing.

    A whole number may be written as ``3.0``, as programs do if a column lacks values.

    Args:
        cell: Text of the cell without white space around it.
        categories: Categories in the order of their codes.
        decimal: Decimal separator: a full stop, or a comma instead.

    Raises:
        ValueError: If it is another category.
    """
    text = unicodedata.normalize("NFC", cell)
    for form in (cell, text, re.sub(rf"^([+-]?\d+){re.escape(decimal)}0*$", r"\1", text)):
        if form in categories:
            return float(categories.index(form))
    if cell.lower() in MISSING_VALUES:
        return math.nan
    raise ValueError(f"{_quote(cell)} is none of the categories {_list_some(categories)}")


def _reader_of(categories: Sequence[str] | None, decimal: str) -> Callable[[str], float]:
    """Return the function that reads the cells of a column."""
    if categories is None:
        return functools.partial(number_in, decimal=decimal)
    codes = {category: float(code) for code, category in enumerate(categories)}

    def read(cell: str) -> float:
        code = codes.get(cell)
        return category_in(cell, categories, decimal) if code is None else code

    return read


def _quote(cell: str) -> str:
    return repr(cell[:40])


def _list_some(names: Sequence[str]) -> str:
    text = "; ".join(names[:MAX_LISTED])
    return text if len(names) <= MAX_LISTED else f"{text}; and {len(names) - MAX_LISTED:,} more"


def _text_encoding(beginning: bytes) -> str:
    """Return the encoding of a table from its first bytes."""
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for part, encoding in ((slice(1, None, 2), "utf-16-le"), (slice(0, None, 2), "utf-16-be")):
        if len(beginning) > 3 and not any(beginning[part]):  # half of all bytes are zero
            return encoding
    return "utf-8-sig"


def _read_first_line(content: TextIO) -> tuple[str, int]:
    """Return the line with the names of the columns, and its number."""
    header, number = content.readline(MAX_HEADER), 1
    while header and number <= MAX_EMPTY_LINES:
        is_empty = not header.strip(" \t\r\n,;")
        if not is_empty and not _SEPARATOR_LINE.fullmatch(header.strip("\r\n")):
            break
        header, number = content.readline(MAX_HEADER), number + 1
    return header, number


def _find_delimiter(header: str, columns: Collection[str]) -> str:
    """Return the delimiter that gives all columns, or else the most."""
    for delimiter in DELIMITERS:
        if set(columns) <= set(_split_line(header, delimiter)):
            return delimiter
    return max(DELIMITERS, key=lambda delimiter: len(_split_line(header, delimiter)))


def _split_line(line: str, delimiter: str) -> list[str]:
    """Return the values of a line, without the white space around them."""
    return [value.strip() for value in next(csv.reader([line], delimiter=delimiter), [])]


# Texts --------------------------------------------------------------------------------------------

TOKENIZER = "tokenizer.json"
MAX_TOKENIZER_BYTES, MAX_TOKENS = 64 << 20, 1 << 20
"""Largest size of a tokenizer, and largest number of its tokens."""
MAX_STEPS, MAX_GROWTH = 64, 1024
"""Largest number of normalizers, pre-tokenizers or decoders, and largest factor by which all of
them together may lengthen a text.
"""
TEXT_SECONDS, CHARACTERS_PER_SECOND = 10.0, 10_000
"""Time that a tokenizer may take for any text, and rate for longer texts."""
TEXT_SUFFIX = ".txt"
"""Suffix of files that contain one text."""
MAX_TEXT_FILE_BYTES = 64 << 20
MULTIPLE = 8
"""Lengths of batches of texts are multiples of it."""
_TOKENIZER_PARTS = (("normalizer", "pre_tokenizer"), ("decoder",))
"""Parts of a tokenizer that lengthen a text one after the other."""
_INNER_STEPS = ("normalizers", "pretokenizers", "decoders")
Encode = Callable[[Sequence[str]], list[int]]
"""Function from a text, or two, to token ids."""


def tokenizer_fault(content: Any, where: str) -> str | None:
    """Return what may take too much time or memory in a tokenizer; None if nothing does.

    Args:
        content: Content of ``tokenizer.json``.
        where: Path of the file, for messages.
    """
    for names in _TOKENIZER_PARTS:
        steps = [step for name in names for step in _tokenizer_steps(content.get(name))]
        if len(steps) > MAX_STEPS:
            return (
                f"{where} has {len(steps):,} parts in its {' and '.join(names)}; expected at most "
                f"{MAX_STEPS}."
            )
        growth = math.prod(map(_growth_of, steps))
        if growth > MAX_GROWTH:
            return (
                f"The {' and '.join(names)} of {where} may make a text {growth:,.0f} times as "
                f"long; expected at most {MAX_GROWTH:,} times."
            )
    return None


def largest_id(content: Any) -> int:
    """Return the largest id of a token in ``tokenizer.json``, for which the library makes room.

    Args:
        content: Content of the file, of any form.
    """
    model = content.get("model") if isinstance(content, dict) else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    ids = [-1]
    if isinstance(vocabulary, dict):
        ids += [number for number in vocabulary.values() if isinstance(number, int)]
    elif isinstance(vocabulary, list):  # of pairs of a token and its score
        ids.append(len(vocabulary) - 1)
    added = content.get("added_tokens") if isinstance(content, dict) else None
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and isinstance(token.get("id"), int):
            ids.append(token["id"])
    return max(ids)


def byte_encoder(length: int) -> Encode:
    """Return the encoder of texts as bytes, with a byte 0 between two texts."""
    return lambda parts: list(b"\0".join(part.encode() for part in parts)[:length])


def library_encoder(content: bytes, where: str, length: int) -> Encode:
    """Return the encoder of a ``tokenizer.json``, with its special tokens.

    Args:
        content: Content of the file.
        where: Path of the file, for messages.
        length: Largest number of tokens of a text.

    Raises:
        BundleError: If it is damaged, or may take too much time or memory.
        MissingLibraryError: If the package ``tokenizers`` is not installed.
    """
    try:
        import tokenizers
    except ImportError:
        raise MissingLibraryError(
            "Texts are encoded with the package tokenizers, which is not installed: pip install "
            "tokenizers"
        ) from None
    try:
        description = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where} is damaged ({_one_line(error)}).") from None
    if not isinstance(description, dict) or largest_id(description) >= MAX_TOKENS:
        raise BundleError(f"{where} is no {TOKENIZER}, or has more than {MAX_TOKENS:,} tokens.")
    if fault := tokenizer_fault(description, where):
        raise BundleError(f"{fault}")

    def load() -> Any:
        tokenizer = tokenizers.Tokenizer.from_str(content.decode())
        tokenizer.encode_special_tokens = True
        tokenizer.no_padding()
        tokenizer.enable_truncation(length)
        return tokenizer

    tokenizer = _in_time(load, len(content), where)

    def encode(parts: Sequence[str]) -> list[int]:
        size = sum(map(len, parts))
        ids: list[int] = _in_time(lambda: tokenizer.encode(*parts).ids, size, where)
        return ids[:length]

    return encode


def _in_time(function: Callable[[], Any], size: int, where: str) -> Any:
    """Call a function of the package ``tokenizers`` in a thread, which is left if it hangs.

    Its regular expressions may backtrack forever, and Python cannot stop Rust.
    """
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # a panic of Rust is not an Exception in Python
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(TEXT_SECONDS, size / CHARACTERS_PER_SECOND))
    if not results:
        reason = _one_line(errors[0]) if errors else "it takes too long"
        raise BundleError(f"{where} cannot encode a text ({reason}).")
    return results[0]


def read_text_file(file: Path) -> str:
    """Read a file that contains one text in UTF-8.

    Raises:
        InputError: If it cannot be read, is too large or is no text.
    """
    try:
        with open_file(file) as stream:
            content = stream.read(MAX_TEXT_FILE_BYTES + 1)
        if len(content) > MAX_TEXT_FILE_BYTES:
            raise ValueError(f"larger than {MAX_TEXT_FILE_BYTES >> 20} MiB")
        return content.decode("utf-8-sig").strip()
    except FileNotFoundError:
        raise InputError(f"{file} (missing)") from None
    except OSError as error:
        if error.errno in SHORTAGES:
            raise
        raise InputError(f"{file} ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{file} (no text in UTF-8: {_one_line(error)})") from None


def _tokenizer_steps(part: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a part of a tokenizer, those of sequences included."""
    if isinstance(part, list):
        for step in part:
            yield from _tokenizer_steps(step)
    elif isinstance(part, dict):
        yield part
        for name in _INNER_STEPS:
            yield from _tokenizer_steps(part.get(name))


def _growth_of(step: Mapping[str, Any]) -> float:
    """Compute the largest factor by which a step lengthens a text, in bytes."""
    kind = step.get("type")
    if kind == "Replace":
        return _replacement_growth(step.get("pattern"), _size_of_text(step.get("content")))
    if kind == "Prepend":
        return max(1, _size_of_text(step.get("prepend")))
    if kind == "Metaspace":
        return max(1, _size_of_text(step.get("replacement")))
    if kind == "Precompiled":
        return _charsmap_growth(step.get("precompiled_charsmap"))
    return 2 if kind == "ByteLevel" else 1


def _replacement_growth(pattern: Any, size: int) -> float:
    literal = pattern.get("String") if isinstance(pattern, dict) else pattern
    if isinstance(literal, str) and literal:
        return max(1.0, size / _size_of_text(literal))
    return 1 + size  # a regular expression may match the empty text before each character


def _charsmap_growth(charsmap: Any) -> float:
    """Compute the length of the longest replacement of SentencePiece's table of characters.

    The table is the size of a search tree, the tree, and the replacements, which end with 0.
    """
    try:
        content = base64.b64decode(charsmap)
    except (ValueError, TypeError):
        return 1  # the library refuses it
    replacements = content[4 + int.from_bytes(content[:4], "little") :].split(b"\0")
    return max(1, *map(len, replacements))


def _size_of_text(text: Any) -> int:
    return len(text.encode("utf-8", "replace")) if isinstance(text, str) else 0


# Folders ------------------------------------------------------------------------------------------


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders, sorted, without hidden and system files.

    Links to folders are followed, except for those that lead back to a folder above them. Links to
    missing files are returned too, so that whoever reads them reports them.

    Raises:
        InputError: If a folder cannot be read, lies too deep, or is the target of too many links.
    """
    return list(_walk(folder, (), Counter()))


def _walk(folder: Path, folders_above: tuple[Path, ...], paths_to: Counter[Path]) -> Iterator[Path]:
    try:
        resolved = folder.resolve()
        if resolved in folders_above:
            return
        paths_to[resolved] += 1
        if paths_to[resolved] > MAX_PATHS:
            raise InputError(f"{folder} (more than {MAX_PATHS} paths of links lead to this folder)")
        if len(folders_above) > MAX_DEPTH:
            raise InputError(f"{folder} (more than {MAX_DEPTH} folders deep)")
        paths = sorted(folder.iterdir())
        is_folder = {path: path.is_dir() for path in paths}
    except OSError as error:
        if error.errno in SHORTAGES:
            raise
        raise InputError(f"{folder} (the folder cannot be read: {error.strerror})") from None
    for path in paths:
        if is_system_file(path.name):
            continue
        if is_folder[path]:
            yield from _walk(path, (*folders_above, resolved), paths_to)
        else:
            yield path


def is_system_file(name: str) -> bool:
    """Whether a file or folder is hidden, or left by an operating system or program."""
    return name.startswith(".") or name.lower() in SYSTEM_FILES


# Bundles ------------------------------------------------------------------------------------------


class Bundle:
    """An exported model with everything needed to run it.

    Each file is checked against ``SHA256SUMS`` before it is used.

    Args:
        path: Folder of the bundle, or its zip file, which is read without unpacking.

    Attributes:
        name: Name of the model.
        labels: Names of the classes in the order of the logits; for a regression of its targets.
        scale: Unit of each target of a regression in which differences are measured; None for
            others.
        label_thresholds: Probability from which each of several labels is predicted; None for
            others.
        sums: Content of ``SHA256SUMS``.
        preprocess: Settings for preparing inputs, from ``preprocess.json``.
        temperature: Divisor of the logits for calibrated confidences.
        default_kind: Kind of the model that is used unless another is named.
        thresholds: Smallest confidence for each error rate that answers may have, by kind of model.
        tolerances: Largest difference of golden logits that is allowed on another device, by kind
            of model (``fp32``, ``int8``).

    Raises:
        BundleError: If it is not a bundle, or is damaged.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._is_zip = _is_zip(self.path)
        self.sums = self._read(SUMS)
        self._sums = self._read_sums()
        metadata = self._read_json(METADATA)
        if metadata.get("format") != FORMAT:
            raise self._error(
                f"{METADATA} has format {metadata.get('format')!r}; expected {FORMAT}"
            )
        self.name = str(metadata.get("name"))
        self.temperature = self._positive(metadata, "temperature")
        tolerances = metadata.get("tolerances", {})
        self.tolerances = {kind: self._positive(tolerances, kind) for kind in self.kinds}
        self.default_kind = metadata.get("default", self.kinds[-1])
        if self.default_kind not in self.kinds:
            raise self._error(
                f"{METADATA}: default={self.default_kind!r} is no model of the bundle"
            )
        self.thresholds = metadata.get("thresholds", {})
        if not _is_thresholds(self.thresholds):
            raise self._error(f"{METADATA}: thresholds should map error rates to confidences")
        names = self._read_json(LABELS)
        labels = names.get("targets", names.get("several_labels", names.get("labels")))
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise self._error(f"{LABELS} should list the names of the classes")
        self.labels: list[str] = labels
        self.scale: list[float] | None = None
        if "targets" in names:
            self.scale = self._numbers(metadata, "scale")
        self.label_thresholds: list[float] | None = None
        if "several_labels" in names:
            self.label_thresholds = self._numbers(metadata, "label_thresholds")
        self.preprocess = self._read_json(PREPROCESS)
        if not _is_preprocess(self.preprocess):
            raise self._error(f"{PREPROCESS} has no valid settings for preparing inputs")
        if math.prod(self.shape) > MAX_VALUES:
            raise self._error(
                f"{PREPROCESS} has inputs of shape {self.shape}; at most {MAX_VALUES:,} values are "
                "read"
            )

    @property
    def kinds(self) -> list[str]:
        """Kinds of model in the bundle: ``fp32``, and ``int8`` if there is one."""
        return [kind for kind, file in KINDS.items() if file in self._sums]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.preprocess["shape"])

    def files(self) -> list[str]:
        """Return the names of all files in ``SHA256SUMS``."""
        return list(self._sums)

    def unexpected_files(self) -> list[str]:
        """Return the names of files in the folder that do not belong to the bundle."""
        if self._is_zip:
            return []
        expected = (*self._sums, SUMS, CARD, SIGNATURE)
        return sorted(path.name for path in self.path.iterdir() if path.name not in expected)

    def read(self, name: str) -> bytes:
        """Read a file of the bundle and check it against its checksum.

        Raises:
            BundleError: If the file is missing or was changed.
        """
        if name not in self._sums:
            raise self._error(f"{SUMS} does not list {name}")
        content = self._read(name)
        if hashlib.sha256(content).hexdigest() != self._sums[name]:
            raise self._error(
                f"{name} is damaged or was changed: its SHA-256 differs from the one in {SUMS}"
            )
        return content

    def read_signature(self) -> bytes:
        """Read the signature of the checksums.

        Raises:
            BundleError: If it is missing or cannot be read.
        """
        return self._read(SIGNATURE)

    def golden(self) -> dict[str, np.ndarray]:
        """Return the golden ``inputs``, and the logits of each model for them at export.

        Raises:
            BundleError: If the arrays are damaged or do not fit the bundle.
        """
        content = io.BytesIO(self.read(GOLDEN))
        try:
            with zipfile.ZipFile(content) as archive:
                check_archive(archive, MAX_GOLDEN_BYTES)
            with np.load(content, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except Exception as error:  # readers may raise anything on a damaged file
            raise self._error(f"{GOLDEN} is damaged ({_one_line(error)})") from None
        inputs = arrays.get("inputs")
        if inputs is None or not len(inputs) or inputs.shape[1:] != self.shape:
            raise self._error(f"{GOLDEN} contains no inputs of shape {self.shape}")
        for kind in self.kinds:
            if kind not in arrays or arrays[kind].dtype.kind != "f":
                raise self._error(f"{GOLDEN} contains no logits of {kind}")
        return arrays

    def load(self, kind: str | None = None) -> "Model":
        """Load a model of the bundle.

        Args:
            kind: Kind of model, ``fp32`` or ``int8``; None for ``int8`` if there is one.

        Raises:
            BundleError: If the model is missing, or reads other files.
            MissingLibraryError: If ONNX Runtime is not installed.
        """
        kind = kind or self.default_kind
        if kind not in self.kinds:
            raise self._error(f"it contains no {kind} model, only {', '.join(self.kinds)}")
        name = f"{self.path}: {KINDS[kind]}"
        return Model(self.read(KINDS[kind]), name, self.labels, self.temperature)

    @property
    def value_range(self) -> Sequence[float] | None:
        """Range of the training images with more than 8 bits; None if there were none."""
        return self.preprocess.get("value_range")

    @property
    def reads_tables(self) -> bool:
        """Whether inputs are the rows of CSV files."""
        return self.preprocess["kind"] in ("table", "text")

    @property
    def reads_texts(self) -> bool:
        """Whether inputs are texts."""
        return self.preprocess["kind"] == "text"

    def text_encoder(self) -> Encode:
        """Return the function from a text, or the texts of a pair, to token ids.

        Raises:
            BundleError: If the tokenizer is damaged.
            MissingLibraryError: If the package ``tokenizers`` is needed and not installed.
        """
        (length,) = self.shape
        if self.preprocess["tokenizer"] == "bytes":
            return byte_encoder(length)
        return library_encoder(self.read(TOKENIZER), f"{self.path}: {TOKENIZER}", length)

    def texts(self, texts: Sequence[str], files: Sequence[Path]) -> Iterator["Sample"]:
        """Encode texts, files of one text each (``.txt``) and the rows of CSV files.

        Args:
            texts: Texts of the command line, each a sample.
            files: Files to read.

        Raises:
            InputError: If a table is damaged or lacks a column.
            RuntimeFailure: If the bundle reads pairs, and there is a single text.
        """
        encode = self.text_encoder()
        names = [column["name"] for column in self.preprocess["columns"]]
        singles = [file for file in files if file.suffix.lower() == TEXT_SUFFIX]
        if len(names) > 1 and (texts or singles):
            raise RuntimeFailure(
                f"The model reads pairs of texts. Put them into a CSV file with the columns "
                f"{_list_some(names)}."
            )
        tables = {file: self.open_table(file) for file in files if file not in singles}
        for number, text in enumerate(texts, 1):
            yield self._sample_of([text], Path("text"), number, encode)
        for file in files:
            if file in tables:
                for line, cells in tables[file].rows(names):
                    yield self._sample_of(cells, file, line, encode)
                continue
            try:
                text = read_text_file(file)
            except InputError as error:
                yield Sample(file, None, None, str(error))
            else:
                yield self._sample_of([text], file, None, encode)

    def _sample_of(
        self, parts: Sequence[str], file: Path, line: int | None, encode: Encode
    ) -> "Sample":
        """Encode one text, or a pair."""
        place = str(file) if line is None else f"{file}, line {line}"
        try:
            if not all(part.strip() for part in parts):
                raise ValueError("an empty text")
            ids = encode([part.encode("utf-8", "replace").decode() for part in parts])
            if not ids:
                raise ValueError("the tokenizer finds no token in it")
            return Sample(file, line, np.array(ids, np.int32), "")
        except ValueError as error:
            return Sample(file, line, None, f"{place} ({_one_line(error)})")

    def stack(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Stack inputs to a batch; texts are padded to the longest."""
        if not self.reads_texts:
            return np.stack(arrays)
        longest = max(map(len, arrays))
        width = min(self.shape[0], -(-longest // MULTIPLE) * MULTIPLE)
        rows = np.full((len(arrays), width), self.preprocess["padding"], np.int32)
        for row, ids in zip(rows, arrays, strict=True):
            row[: len(ids)] = ids
        return rows

    def open_table(self, path: Path) -> CsvFile:
        """Open a CSV file that has the columns of the bundle, in any order and among others.

        Raises:
            InputError: If the file cannot be read, or lacks a column.
        """
        names = [column["name"] for column in self.preprocess["columns"]]
        table = CsvFile(path, names)
        missing = [name for name in names if name not in table.columns]
        if missing:
            columns = "column" if len(missing) == 1 else "columns"
            raise InputError(
                f"{path} lacks the {columns} {_list_some(missing)}. Its columns are "
                f"{_list_some(table.columns)}."
            )
        repeated = [name for name in names if table.columns.count(name) > 1]
        if repeated:
            raise InputError(f"{path} has several columns {_list_some(repeated)}.")
        return table

    def rows(self, table: CsvFile) -> Iterator["Sample"]:
        """Read the rows of a CSV file.

        A row with a value that is no number, or no category that the model knows, has an error.

        Args:
            table: File from :meth:`open_table`.

        Raises:
            InputError: If the file is damaged.
        """
        names = [column["name"] for column in self.preprocess["columns"]]
        readers = [
            _reader_of(column.get("categories"), table.decimal)
            for column in self.preprocess["columns"]
        ]
        for line, cells in table.rows(names):
            values, error = [], ""
            for cell, name, read in zip(cells, names, readers, strict=True):
                try:
                    values.append(read(cell))
                except ValueError as reason:
                    error = error or f"{table.file}, line {line}: {name}: {reason}"
            array = None if error else np.array(values, np.float32)
            yield Sample(table.file, line, array, error)

    def array(
        self, path: Path, *, invert: bool = False, value_range: Sequence[float] | None = None
    ) -> np.ndarray:
        """Read an input from a file: an image, or an ``.npy`` array if the inputs are not images.

        Args:
            path: File to read.
            invert: Whether to invert the brightness of an image.
            value_range: Range of images with more than 8 bits for bundles that have none.

        Raises:
            InputError: If the file cannot be read, or the input has a different shape.
        """
        if self.preprocess["kind"] == "image":
            channels, height, width = self.shape
            return decode(
                path,
                size=(height, width),
                channels=channels,
                crop_border=self.preprocess["crop_border"],
                invert=invert,
                value_range=self.value_range or value_range,
            )
        try:
            array = self._load_array(path)
        except FileNotFoundError:
            raise InputError(f"{path} (missing)") from None
        except Exception as error:  # readers may raise anything on a damaged file
            if getattr(error, "errno", None) in SHORTAGES:
                raise
            reason = _one_line(error)
            raise InputError(f"{path} (not an array in NumPy's format: {reason})") from None
        if not isinstance(array, np.ndarray) or array.shape != self.shape:
            shape = getattr(array, "shape", "?")
            raise InputError(f"{path} (an array of shape {shape}; expected {self.shape})")
        return _as_type(array, self.preprocess["dtype"], path)

    def _load_array(self, path: Path) -> Any:
        with open_file(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            # NumPy stores at most 16 bytes for each number, and about 100 bytes of settings.
            if size > 16 * math.prod(self.shape) + (1 << 16):
                raise ValueError(f"{size:,} bytes for an input of shape {self.shape}")
            return np.load(stream, allow_pickle=False)

    def _error(self, fault: str) -> BundleError:
        return BundleError(f"{self.path}: {fault}.")

    def _read(self, name: str) -> bytes:
        try:
            if self._is_zip:
                return self._read_zipped(name)
            with open_file(self.path / name) as stream:
                self._check_size(name, os.fstat(stream.fileno()).st_size)
                return stream.read()
        except BundleError:
            raise
        except FileNotFoundError:
            hint = "the bundle is incomplete"
            if name == SUMS:
                hint = "it is not a bundle written by 'limbeck export'"
            elif name == SIGNATURE:
                hint = "the bundle is not signed"
            raise self._error(f"{name} is missing; {hint}") from None
        except Exception as error:  # readers may raise anything on a damaged file
            if getattr(error, "errno", None) in SHORTAGES:
                raise
            raise self._error(f"{name} cannot be read ({_one_line(error)})") from None

    def _read_zipped(self, name: str) -> bytes:
        with zipfile.ZipFile(self.path) as archive:
            entries = [e for e in archive.infolist() if os.path.basename(e.filename) == name]
            if not entries:
                raise FileNotFoundError
            if len(entries) > 1:
                raise self._error(f"{name} occurs twice")
            size, compressed_size = entries[0].file_size, entries[0].compress_size
            self._check_size(name, size)
            if size > max(MAX_TEXT_BYTES, MAX_RATIO * compressed_size):
                raise self._error(f"{name} unpacks from {compressed_size:,} to {size:,} bytes")
            return archive.read(entries[0])

    def _check_size(self, name: str, size: int) -> None:
        max_bytes = MAX_MODEL_BYTES if name.endswith((".onnx", ".npz")) else MAX_TEXT_BYTES
        if name == TOKENIZER:
            max_bytes = MAX_TOKENIZER_BYTES
        if size > max_bytes:
            raise self._error(f"{name} is larger than {max_bytes >> 20} MiB")

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise self._error(f"{name} is damaged ({error})") from None
        if not isinstance(content, dict):
            raise self._error(f"{name} should contain an object")
        return content

    def _read_sums(self) -> dict[str, str]:
        sums = {}
        lines = self.sums.decode("utf-8", "backslashreplace").split("\n")
        for number, line in enumerate(lines, 1):
            if not line and number == len(lines):
                continue
            entry = _SUM.fullmatch(line.removesuffix("\r"))
            if entry is None or entry["name"] in (".", "..", SUMS) or entry["name"] in sums:
                is_link = not self._is_zip and (self.path / SUMS).is_symlink()
                # A link may lead to a file of the user, whose content is nobody else's business.
                content = "something else behind a link" if is_link else repr(line[:80])
                raise self._error(
                    f"{SUMS} is damaged in line {number}: expected a checksum, two spaces and the "
                    f"name of a file, found {content}"
                )
            sums[entry["name"]] = entry["digest"]
        if len(sums) > MAX_FILES:
            raise self._error(f"{SUMS} lists more than {MAX_FILES} files")
        required = (METADATA, LABELS, PREPROCESS, GOLDEN, KINDS["fp32"])
        missing = [name for name in required if name not in sums]
        if missing:
            raise self._error(f"{SUMS} does not list {', '.join(missing)}")
        return sums

    def _numbers(self, metadata: dict[str, Any], key: str) -> list[float]:
        numbers = metadata.get(key)
        if not isinstance(numbers, list) or len(numbers) != len(self.labels) or not numbers:
            raise self._error(f"{METADATA}: {key} should be a number for each output")
        return [self._positive({key: number}, key) for number in numbers]

    def _positive(self, numbers: Any, key: str) -> float:
        value = numbers.get(key) if isinstance(numbers, dict) else None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e30:
            raise self._error(f"{METADATA}: {key} should be a number above 0, found {value!r}")
        return float(value)


class Model:
    """An ONNX model, run by ONNX Runtime on the CPU.

    Args:
        content: Bytes of the file.
        name: Name of the model, for messages.
        labels: Names of the classes.
        temperature: Divisor of the logits for calibrated confidences.
        threads: Number of threads; None for all cores.

    Raises:
        BundleError: If it is not an ONNX model, or if it reads other files.
        MissingLibraryError: If ONNX Runtime is not installed.
    """

    def __init__(
        self,
        content: bytes,
        name: str,
        labels: Sequence[str],
        temperature: float = 1.0,
        threads: int | None = None,
    ):
        # If a model is loaded from bytes, ONNX Runtime reads external files from the working
        # directory, and old versions from anywhere.
        if _EXTERNAL.search(content):
            raise BundleError(
                f"{name} contains the key 'location', with which a model reads other files. Models "
                "of a bundle must not read other files."
            )
        try:
            import onnxruntime
        except ImportError:
            raise MissingLibraryError(
                "ONNX Runtime is not installed: pip install onnxruntime"
            ) from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry("session.load_model_format", "ONNX")
        if threads is not None:
            options.intra_op_num_threads = threads
        providers = ["CPUExecutionProvider"]
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=providers)
        except Exception as error:
            _raise_shortage(error)
            raise BundleError(f"{name} cannot be loaded ({_one_line(error)}).") from None
        self._input = self._session.get_inputs()[0].name
        self.name, self.labels, self.temperature = name, labels, temperature

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Compute the logits, float32 ``[N, classes]``, of inputs ``[N, ...]``.

        Raises:
            BundleError: If the model does not accept the inputs, or its output has a wrong shape.
        """
        try:
            (logits,) = self._session.run(None, {self._input: inputs})
        except Exception as error:
            _raise_shortage(error)
            raise BundleError(f"{self.name} cannot be run ({_one_line(error)}).") from None
        shape = getattr(logits, "shape", None)
        if shape != (len(inputs), len(self.labels)):
            counts = f"{len(inputs)} inputs and {len(self.labels)} classes"
            raise BundleError(f"{self.name} outputs logits of shape {shape} for {counts}.")
        return logits

    def confidences(self, inputs: np.ndarray) -> np.ndarray:
        """Compute the softmax of logits divided by the temperature, float64 ``[N, classes]``.

        A row is NaN if its logits are NaN or infinite.
        """
        scaled = self.logits(inputs).astype(np.float64) / self.temperature
        scaled[~np.isfinite(scaled).all(1)] = np.nan
        scaled -= scaled.max(1, keepdims=True)
        weights = np.exp(scaled)
        return weights / weights.sum(1, keepdims=True)


def _raise_shortage(error: Exception) -> None:
    """Raise an error of memory that ONNX Runtime reports as one of its own."""
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in _NO_MEMORY):
        raise MemoryError from None


def _is_zip(path: Path) -> bool:
    try:
        if path.is_dir():
            return False
        exists = path.exists()
        is_zip = path.is_file() and zipfile.is_zipfile(path)
    except OSError as error:
        if error.errno in SHORTAGES:
            raise
        raise BundleError(f"{path} cannot be read ({error.strerror}).") from None
    if not exists:
        advice = "Choose a bundle: a folder or zip file written by 'limbeck export'."
        raise BundleError(f"{path} does not exist. {advice}")
    if not is_zip:
        raise BundleError(f"{path} is not a bundle; expected a folder or a zip file.")
    return True


def _is_thresholds(content: Any) -> bool:
    """Whether the content maps kinds of model to error rates, and those to confidences."""
    if not isinstance(content, dict):
        return False
    if not all(isinstance(rates, dict) for rates in content.values()):
        return False
    values = [value for rates in content.values() for value in rates.values()]
    if not all(type(value) in (int, float) for value in values):
        return False
    return all(0 <= value <= 1 for value in values)


def _is_preprocess(content: dict[str, Any]) -> bool:
    shape = content.get("shape")
    if not isinstance(shape, list):
        return False
    if not all(type(side) is int and 1 <= side <= 1 << 16 for side in shape):
        return False
    if len(shape) > 32:
        return False
    if content.get("kind") == "array":
        return content.get("dtype") in ("uint8", "float32")
    if content.get("kind") == "text":
        return _is_texts(content, shape)
    if content.get("kind") == "table":
        return _is_columns(content.get("columns")) and shape == [len(content["columns"])]
    if content.get("kind") != "image" or not isinstance(content.get("crop_border"), bool):
        return False
    if not _is_range(content.get("value_range")):
        return False
    return len(shape) == 3 and shape[0] in (1, 3)


def _is_texts(content: dict[str, Any], shape: list[int]) -> bool:
    """Whether settings describe texts: their length, padding, tokenizer and columns."""
    columns, padding = content.get("columns"), content.get("padding")
    if not isinstance(columns, list) or not all(isinstance(column, dict) for column in columns):
        return False
    if not _is_names([column.get("name") for column in columns]) or len(columns) not in (1, 2):
        return False
    if content.get("tokenizer") not in ("bytes", TOKENIZER) or len(shape) != 1:
        return False
    return type(padding) is int and 0 <= padding <= MAX_TOKENS


def _is_columns(columns: Any) -> bool:
    """Whether columns have different names, and a list of categories each or null."""
    if not isinstance(columns, list) or not all(isinstance(column, dict) for column in columns):
        return False
    names = [column.get("name") for column in columns]
    if not _is_names(names) or len(set(names)) < len(names):
        return False
    kinds = [column.get("categories") for column in columns]
    return all(kind is None or (_is_names(kind) and len(kind) > 0) for kind in kinds)


def _is_names(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _is_range(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, list) or len(value) != 2:
        return False
    are_numbers = all(type(end) in (int, float) and abs(end) < 1e300 for end in value)
    return are_numbers and value[0] < value[1]


def _as_type(array: np.ndarray, dtype: str, path: Path) -> np.ndarray:
    """Convert an array to the model's input type, if no value is lost."""
    whole = array.dtype.kind in "iub"
    if dtype == "uint8" and not (whole and array.min() >= 0 and array.max() <= 255):
        expected = "whole numbers from 0 to 255"
    elif not whole and (array.dtype.kind != "f" or not np.isfinite(array).all()):
        expected = "finite numbers"
    else:
        return array.astype(dtype)
    raise InputError(f"{path} (of type {array.dtype}; expected {expected})")


def _one_line(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:300]


# Output -------------------------------------------------------------------------------------------


def printable(text: object) -> str:
    """Return a text on one line, with escapes such as ``\\x1b`` in place of harmful characters."""
    return _HARMFUL.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def csv_cell(text: str) -> str:
    """Return a cell of a CSV file that spreadsheets show as text, or as a number.

    A name such as ``=1+1.png`` would be computed as a formula, so an apostrophe is put before it.
    """
    text = printable(text)
    is_formula = _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None
    return f"'{text}" if is_formula else text


def json_line(row: dict[str, Any]) -> str:
    """Return a JSON object on one line, with escapes that JSON readers turn back."""
    return _HARMFUL.sub(_json_escape, json.dumps(row, ensure_ascii=False))


def _json_escape(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


# Verbs --------------------------------------------------------------------------------------------


def verify(
    bundle_path: str | Path, check_signature: Callable[[Bundle], str] | None = None
) -> list[str]:
    """Check the files of a bundle against their checksums, and its outputs on this device.

    Args:
        bundle_path: Folder or zip file of the bundle.
        check_signature: Function that checks who signed the checksums, and returns a line; None for
            no check.

    Returns:
        Lines that describe the checks.

    Raises:
        BundleError: If a file is missing or was changed.
        DifferentOutputsError: If the outputs of a model differ from the exported ones.
    """
    bundle = Bundle(bundle_path)
    lines = [check_signature(bundle)] if check_signature else []
    for name in bundle.files():
        bundle.read(name)
    unexpected_files = bundle.unexpected_files()
    if unexpected_files:
        names = ", ".join(unexpected_files[:5])
        raise BundleError(
            f"{bundle_path}: {names}: not part of this bundle (not listed in {SUMS})."
        )
    lines.append(f"{len(bundle.files())} files are unchanged (SHA-256)")
    golden = bundle.golden()
    for kind in bundle.kinds:
        logits, expected = bundle.load(kind).logits(golden["inputs"]), golden[kind]
        if logits.shape != expected.shape:
            shape = expected.shape
            raise BundleError(
                f"{bundle_path}: {GOLDEN} has logits of shape {shape} for {KINDS[kind]}."
            )
        if not np.isfinite(logits).all():
            raise DifferentOutputsError(
                f"{bundle_path}: {KINDS[kind]}: its logits for the golden inputs are NaN or "
                "infinite. Do not use it on this device."
            )
        distances, outputs = np.abs(logits - expected), "logits"
        if bundle.scale is not None:
            distances, outputs = distances / np.array(bundle.scale), "standardised values"
        difference, tolerance = float(distances.max()), bundle.tolerances[kind]
        line = (
            f"{KINDS[kind]}: {len(expected)} golden inputs, {outputs} differ by at most "
            f"{difference:.2g}"
        )
        if not difference <= tolerance:
            raise DifferentOutputsError(
                f"{bundle_path}: {line}; {tolerance:.2g} is allowed. Do not use it on this device."
            )
        lines.append(f"{line} ({tolerance:.2g} is allowed)")
    return lines


def predict(
    bundle_path: str | Path,
    paths: Sequence[str | Path],
    *,
    model: str | None = None,
    top: int = 1,
    table_format: str = "csv",
    abstain: float | str = 0.0,
    invert: bool = False,
    out: TextIO | None = None,
) -> int:
    """Answer images, texts or the rows of tables, and write a table of classes or values.

    Args:
        bundle_path: Folder or zip file of the bundle.
        paths: Image files, or CSV files if the bundle reads tables or texts (of texts also ``.txt``
            files of one text), and folders of them, with their subfolders. Every file in a folder,
            or every row of its files, has a row of the table; see :func:`files_below` for those
            that are skipped. A :class:`Text` is classified itself.
        model: Kind of model, ``fp32`` or ``int8``; None for the bundle's default.
        top: Number of classes to list for each input.
        table_format: Format of the table: ``csv``, or ``jsonl`` for one JSON object per line.
        abstain: Smallest confidence for which a class is returned, from 0 to 1, or the error rate
            that answers may have at most, such as ``1%``: one that the model card lists.
        invert: Whether to invert the brightness, for dark objects on a light ground.
        out: Stream to write to; None for standard output.

    Returns:
        Number of inputs that cannot be read; the column ``error`` has the reasons.

    Raises:
        RuntimeFailure: If there is no file, or an argument is out of range.
        InputError: If a table cannot be read.
        BundleError: If the bundle is damaged.
    """
    bundle = Bundle(bundle_path)
    if bundle.scale is not None or bundle.label_thresholds is not None:
        _check_no_classes(top, abstain)
    elif not 1 <= top <= len(bundle.labels):
        classes = len(bundle.labels)
        raise RuntimeFailure(f"--top {top} should be from 1 to {classes}, the number of classes.")
    least_confidence = _least_confidence(bundle, model or bundle.default_kind, abstain)
    texts = [path for path in paths if isinstance(path, Text)]
    paths = [path for path in paths if not isinstance(path, Text)]
    if texts and not bundle.reads_texts:
        kind = bundle.preprocess["kind"]
        raise RuntimeFailure(f"--text is for a model of texts, but this one reads {kind} files.")
    files = _input_files(paths) if paths or not texts else []
    session = bundle.load(model)
    samples: Iterator[Sample]
    if bundle.reads_texts:
        samples = bundle.texts(texts, files)
    elif bundle.reads_tables:
        tables = [bundle.open_table(file) for file in files]
        samples = itertools.chain.from_iterable(map(bundle.rows, tables))
    else:
        samples = _samples_of(bundle, files, invert=invert)
    out = sys.stdout if out is None else out
    table: _Table
    if bundle.scale is not None:
        table = _ValueTable(table_format, bundle.labels, out, has_lines=bundle.reads_tables)
    elif bundle.label_thresholds is not None:
        table = _LabelTable(table_format, bundle, out)
    else:
        table = _Table(table_format, top, out, has_lines=bundle.reads_tables)
    total = "" if bundle.reads_tables else f" of {len(files)}"
    shows_progress = sys.stderr.isatty() and (bundle.reads_tables or len(files) > BATCH_SIZE)
    batch_size = max(1, min(BATCH_SIZE, MAX_VALUES // math.prod(bundle.shape)))
    count = 0
    while batch := list(itertools.islice(samples, batch_size)):
        has_classes = not isinstance(table, _ValueTable)
        answer_batch = session.confidences if has_classes else session.logits
        answers = _answers(bundle, batch, answer_batch)
        for sample, answer in zip(batch, answers, strict=True):
            if answer is None:
                table.write_error(sample)
                continue
            if isinstance(table, _ValueTable):
                table.write_values(sample, answer)
                continue
            order = np.argsort(-answer, kind="stable")[:top]
            confidences = [float(answer[k]) for k in order]
            names = [bundle.labels[k] if confidences[0] >= least_confidence else "" for k in order]
            table.write(sample, names, confidences)
        count += len(batch)
        if shows_progress:
            print(f"\r{count}{total}", end="", file=sys.stderr)
    if shows_progress:
        print(file=sys.stderr)
    return table.errors


def _samples_of(bundle: Bundle, files: Sequence[Path], *, invert: bool) -> Iterator[Sample]:
    """Read files of one input each."""
    value_range = None
    if bundle.preprocess["kind"] == "image" and bundle.value_range is None:
        value_range = _range_of_files(files)
    for file in files:
        try:
            array = bundle.array(file, invert=invert, value_range=value_range)
            yield Sample(file, None, array, "")
        except InputError as error:
            yield Sample(file, None, None, str(error))


def _check_no_classes(top: int, abstain: float | str) -> None:
    """Check that no option of classes is given for a regression, or for several labels."""
    options = {"--top": top != 1, "--abstain": str(abstain).strip() not in ("0", "0.0")}
    for option, is_given in options.items():
        if is_given:
            raise RuntimeFailure(
                f"{option} is for classes, of which one is the answer, but this model predicts "
                "values or several labels. Leave it out."
            )


def _answers(
    bundle: Bundle, batch: list[Sample], answer: Callable[[np.ndarray], np.ndarray]
) -> list[np.ndarray | None]:
    """Return the answer to each sample; None where there is none, with the reason in it."""
    rows = [row for row, sample in enumerate(batch) if sample.array is not None]
    answers: list[np.ndarray | None] = [None] * len(batch)
    if not rows:
        return answers
    arrays = [array for sample in batch if (array := sample.array) is not None]
    for row, outputs in zip(rows, answer(bundle.stack(arrays)), strict=True):
        if np.isfinite(outputs).all():
            answers[row] = outputs
        else:
            error = f"{batch[row].file} (the model's outputs for it are NaN or infinite)"
            batch[row] = batch[row]._replace(array=None, error=error)
    return answers


def _least_confidence(bundle: Bundle, kind: str, abstain: float | str) -> float:
    """Return the confidence that ``--abstain`` asks for.

    Raises:
        RuntimeFailure: If it is no confidence, and no error rate that the bundle knows.
    """
    text = str(abstain).strip()
    thresholds = bundle.thresholds.get(kind, {})
    if text in thresholds:
        return float(thresholds[text])
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if 0 <= value <= 1:
        return value
    rates = ", ".join(thresholds) or "none for this model"
    raise RuntimeFailure(
        f"--abstain {printable(text)} should be a confidence from 0 to 1, or an error rate that "
        f"the bundle guarantees: {rates}."
    )


def _input_files(paths: Sequence[str | Path]) -> list[Path]:
    """Return the files in ``paths``, with those of its folders and their subfolders."""
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        inside = files_below(path)
        if not inside:
            raise RuntimeFailure(f"{path}: the folder contains no files.")
        files += inside
    if not files:
        raise RuntimeFailure("Pass at least one file or folder.")
    return files


def _range_of_files(files: Sequence[Path]) -> tuple[float, float] | None:
    """Return the range of the images with more than 8 bits, and print it."""
    value_range = common_range(value_limits(file) for file in files)
    if value_range not in (None, FULL_RANGE):
        print(f"note: {describe_range(value_range)}", file=sys.stderr)
    return value_range


class _Table:
    """A table of predictions: CSV, or one JSON object per line."""

    def __init__(self, table_format: str, top: int, out: TextIO, *, has_lines: bool):
        if table_format not in ("csv", "jsonl"):
            raise RuntimeFailure(f"--format {table_format} is unknown; choose csv or jsonl.")
        self.top, self.out, self.errors = top, out, 0
        self._names = ["file", "line"] if has_lines else ["file"]
        self._csv = csv.writer(out, lineterminator="\n") if table_format == "csv" else None
        if self._csv is not None:
            self._csv.writerow([*self._names, *self._columns(), "error"])

    def _columns(self) -> list[str]:
        """Names of the columns of an answer."""
        suffixes = ["", *(f"_{k}" for k in range(2, self.top + 1))]
        return [f"{name}{suffix}" for suffix in suffixes for name in ("label", "confidence")]

    def write(self, sample: Sample, names: Sequence[str], confidences: Sequence[float]) -> None:
        """Write the classes of an input; an empty name means no class."""
        pairs = list(zip(names, confidences, strict=True))
        if self._csv is not None:
            cells = [cell for name, value in pairs for cell in (csv_cell(name), f"{value:.6f}")]
            self._csv.writerow([*self._place(sample).values(), *cells, ""])
            return
        answers = [{"label": name or None, "confidence": value} for name, value in pairs]
        row: dict[str, Any] = {**self._place(sample), **answers[0]}
        if self.top > 1:
            row["top"] = answers
        print(json_line(row), file=self.out)

    def write_error(self, sample: Sample) -> None:
        """Write the reason why an input cannot be read."""
        self.errors += 1
        place, error = self._place(sample), sample.error
        if self._csv is not None:
            self._csv.writerow([*place.values(), *[""] * len(self._columns()), csv_cell(error)])
            return
        print(json_line({**place, **self._empty(), "error": error}), file=self.out)

    def _empty(self) -> dict[str, Any]:
        """Return the keys of an answer where there is none."""
        return {"label": None, "confidence": None}

    def _place(self, sample: Sample) -> dict[str, Any]:
        file = str(sample.file)
        place = {"file": file if self._csv is None else csv_cell(file)}
        return {**place, "line": sample.line} if "line" in self._names else place


class _ValueTable(_Table):
    """A table of predicted values: a column for each target."""

    def __init__(self, table_format: str, targets: Sequence[str], out: TextIO, *, has_lines: bool):
        self.targets = targets
        super().__init__(table_format, 1, out, has_lines=has_lines)

    def _columns(self) -> list[str]:
        return [csv_cell(name) for name in self.targets]

    def write_values(self, sample: Sample, values: np.ndarray) -> None:
        """Write the values of an input."""
        if self._csv is not None:
            cells = [f"{value:.7g}" for value in values]
            self._csv.writerow([*self._place(sample).values(), *cells, ""])
            return
        by_name = dict(zip(self.targets, map(float, values), strict=True))
        print(json_line({**self._place(sample), "values": by_name}), file=self.out)

    def _empty(self) -> dict[str, Any]:
        return {"values": None}


class _LabelTable(_ValueTable):
    """A table of several labels: those that apply, and the probability of each."""

    def __init__(self, table_format: str, bundle: Bundle, out: TextIO):
        assert bundle.label_thresholds is not None
        self.thresholds = bundle.label_thresholds
        super().__init__(table_format, bundle.labels, out, has_lines=bundle.reads_tables)

    def _columns(self) -> list[str]:
        return ["labels", *super()._columns()]

    def write_values(self, sample: Sample, values: np.ndarray) -> None:
        """Write the labels of an input from its logits."""
        p = [float(value) for value in 1 / (1 + np.exp(-values.astype(np.float64).clip(-700, 700)))]
        rows = zip(self.targets, p, self.thresholds, strict=True)
        names = [name for name, value, threshold in rows if value >= threshold]
        if self._csv is not None:
            cells = [csv_cell("; ".join(names)), *(f"{value:.6f}" for value in p)]
            self._csv.writerow([*self._place(sample).values(), *cells, ""])
            return
        by_name = dict(zip(self.targets, p, strict=True))
        place = self._place(sample)
        print(json_line({**place, "labels": names, "confidences": by_name}), file=self.out)

    def _empty(self) -> dict[str, Any]:
        return {"labels": None, "confidences": None}


def _is_same(file: Path, other: Path | None) -> bool:
    return other is not None and file.exists() and other.exists() and file.samefile(other)


@contextlib.contextmanager
def _open_table(file: Path | None, inputs: Sequence[str | Path]) -> Iterator[TextIO]:
    """Open standard output, or a file that appears only when it is complete."""
    if file is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    if any(_is_same(Path(path), file) for path in inputs):
        raise RuntimeFailure(f"--out {file} is one of the files to classify. Choose another file.")
    if not file.parent.is_dir():
        raise RuntimeFailure(f"--out {file}: the folder {file.parent} does not exist.")
    temporary, flags = file, os.O_WRONLY  # a device or a pipe cannot be replaced
    if file.is_file() or not file.exists():
        _remove_leftovers(file)
        temporary = file.with_name(f".{file.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
        flags |= os.O_CREAT | os.O_EXCL  # an existing file or link would be another user's
    try:
        handle = os.open(temporary, flags, 0o666)
        with open(handle, "w", encoding="utf-8", newline="", errors="backslashreplace") as out:
            yield out
            if temporary != file:
                out.flush()
                os.fsync(handle)
        if temporary != file:
            os.replace(temporary, file)
    finally:
        if temporary != file:
            temporary.unlink(missing_ok=True)


def _remove_leftovers(file: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote a table.

    A recent one may belong to a process on another machine that shares the folder.
    """
    if os.name != "posix":  # elsewhere nothing tells whether a process runs
        return
    name = re.compile(rf"\.{re.escape(file.name)}\.([1-9][0-9]{{0,8}})-[0-9a-f]{{8}}\.tmp")
    with contextlib.suppress(OSError):
        for path in file.parent.iterdir():
            match = name.fullmatch(path.name)
            if match and time.time() - path.lstat().st_mtime > LEFTOVER_SECONDS:
                try:
                    os.kill(int(match[1]), 0)
                except ProcessLookupError:
                    path.unlink(missing_ok=True)
                except PermissionError:
                    pass  # it runs, as another user


class _Parser(argparse.ArgumentParser):
    """Parser whose messages hold no control characters of the arguments, such as file names."""

    def error(self, message: str) -> NoReturn:
        """Print a message and exit with code 2."""
        super().error(printable(message))


SignatureCheck = Callable[[argparse.Namespace], Callable[[Bundle], str] | None]


def parser(program: str, *, inside: bool) -> argparse.ArgumentParser:
    """Create the parser of the command line.

    Args:
        program: Name of the program.
        inside: Whether the program is in a bundle, so that no bundle has to be named.
    """
    descriptions = {
        "verify": "check the files of a bundle and its outputs on this device",
        "predict": "classify images, texts or the rows of tables with a bundle",
    }
    top = _Parser(program, description="Check or use an exported model.")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    parsers = {
        verb: verbs.add_parser(verb, help=text, description=text)
        for verb, text in descriptions.items()
    }
    if not inside:
        for verb in parsers.values():
            text = "folder or zip file written by 'limbeck export'"
            verb.add_argument("bundle", type=Path, metavar="BUNDLE", help=text)
        add = parsers["verify"].add_argument
        text = "check the signature, with this file of the signers that you trust"
        add("--allowed-signers", type=Path, metavar="FILE", help=text)
        add("--identity", metavar="NAME", help="signer that you expect (default: any in the file)")
        text = f"file of the signature (default: {SIGNATURE} in the bundle)"
        add("--signature", type=Path, metavar="FILE", help=text)
    add = parsers["predict"].add_argument
    text = "image files, or CSV files for a model of tables or texts, and folders of them"
    add("paths", nargs="*", metavar="FILE", help=text)
    text = "a text to classify; may be repeated"
    add("--text", action="append", default=[], metavar="TEXT", dest="texts", help=text)
    help_model = "kind of model; by default the one that was best at export"
    add("--model", choices=list(KINDS), help=help_model)
    add("--top", type=int, default=1, metavar="K", help="list the K most likely classes")
    add("--format", choices=["csv", "jsonl"], default="csv", help="format of the table")
    help_abstain = "return no class below this confidence (0.9), or so that at most 1%% are wrong"
    add("--abstain", default="0", metavar="P", help=help_abstain)
    help_invert = "invert the brightness, for dark objects on a light ground"
    add("--invert", action="store_true", help=help_invert)
    add("--out", type=Path, metavar="FILE", help="write the table to a file")
    return top


def _execute(
    bundle_path: Path, arguments: argparse.Namespace, check_signature: SignatureCheck | None
) -> None:
    if arguments.verb == "verify":
        check = None
        if check_signature is not None:
            check = check_signature(arguments)
        print("\n".join(map(printable, verify(bundle_path, check))), flush=True)
        return
    has_files = arguments.paths or not arguments.texts
    files = _input_files(arguments.paths) if has_files else []
    with _open_table(arguments.out, arguments.paths) as out:
        failures = predict(
            bundle_path,
            [
                *map(Text, arguments.texts),
                *[file for file in files if not _is_same(file, arguments.out)],
            ],
            model=arguments.model,
            top=arguments.top,
            table_format=arguments.format,
            abstain=arguments.abstain,
            invert=arguments.invert,
            out=out,
        )
    if failures:
        raise InputError(f"{failures} of the inputs cannot be read. See the column error.")


def main(
    argv: Sequence[str] | None = None,
    *,
    program: str = "run.py",
    inside: bool = True,
    check_signature: SignatureCheck | None = None,
) -> int:
    """Run ``run.py verify | predict FILE...`` of a bundle, or ``limbeck predict BUNDLE FILE...``.

    Args:
        argv: Arguments of the command line; None for those of the process.
        program: Name of the program.
        inside: Whether the program is in a bundle.
        check_signature: Function that returns the check that the arguments of ``verify`` ask for,
            or None.

    Returns:
        Exit code.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    # file names may contain characters that a terminal cannot show
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # decode has its own limit on the size, and damaged EXIF data is of no importance
    warnings.filterwarnings("ignore", module="PIL")
    warnings.filterwarnings("ignore", module="pydicom")  # it quotes headers of patients
    arguments = parser(program, inside=inside).parse_args(argv)
    bundle_path = Path(__file__).resolve().parent if inside else arguments.bundle
    try:
        _execute(bundle_path, arguments, check_signature)
        return 0
    except RuntimeFailure as error:
        message, code = str(error), error.exit_code
    except BrokenPipeError:  # the reader of the table has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        file = error.filename or getattr(arguments, "out", None) or "the table"
        message, code = f"{file}: {error.strerror}.", RuntimeFailure.exit_code
        if error.errno in SHORTAGES + DISK_ERRORS:
            code = MissingLibraryError.exit_code
    except MemoryError:
        message, code = "out of memory.", MissingLibraryError.exit_code
    except KeyboardInterrupt:
        message, code = "interrupted.", 130
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    print(f"error: {printable(message)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
