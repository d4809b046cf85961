"""Images of DICOM files, read with pydicom if it is installed."""

import importlib.util
import logging
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from .errors import MissingLibraryError
from .image_files import check_pixels, lock_if_large, size_of
from .value_range import ValueLimits, limits_of

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


def read_header(stream: BinaryIO, *, with_pixels: bool = False) -> Any:
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
    size = size_of(stream)
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
    check_pixels([(columns, rows)], size)
    return scan


def read_scan(stream: BinaryIO) -> Image.Image:
    """Read the image of a DICOM file: 8 bits, or the values of one that has no window."""
    scan = read_header(stream, with_pixels=True)
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


def limits_of_scan(stream: BinaryIO) -> ValueLimits | None:
    """Return the limits of the values of a DICOM file; None if it is not scaled by them."""
    scan = read_header(stream)
    is_colour = scan.get("SamplesPerPixel", 1) != 1 or "PALETTE" in scan.PhotometricInterpretation
    if is_colour or _has_window(scan) or not _has_deep_values(scan):
        return None
    with lock_if_large(scan.Rows * scan.Columns):
        return limits_of(np.asarray(read_scan(stream)))


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
