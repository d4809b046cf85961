"""Files of one input each: images, or arrays in NumPy's format."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import SHORTAGES, InputError, one_line
from .files import open_file
from .images import decode


def read_input(
    path: Path,
    preprocess: Mapping[str, Any],
    *,
    invert: bool = False,
    value_range: Sequence[float] | None = None,
) -> np.ndarray:
    """Read an input from a file: an image, or an ``.npy`` array if the inputs are not images.

    Args:
        path: File to read.
        preprocess: Settings for preparing inputs.
        invert: Whether to invert the brightness of an image.
        value_range: Range of images with more than 8 bits if the settings have none.

    Raises:
        InputError: If the file cannot be read, or the input has a different shape.
    """
    shape = tuple(preprocess["shape"])
    if preprocess["kind"] != "image":
        return _read_array(path, shape, preprocess["dtype"])
    channels, height, width = shape
    return decode(
        path,
        size=(height, width),
        channels=channels,
        crop_border=preprocess["crop_border"],
        invert=invert,
        value_range=preprocess.get("value_range") or value_range,
    )


def _read_array(path: Path, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    try:
        array = _load_array(path, shape)
    except FileNotFoundError:
        raise InputError(f"{path} (missing)") from None
    except Exception as error:  # readers may raise anything on a damaged file
        if getattr(error, "errno", None) in SHORTAGES:
            raise
        reason = one_line(error)
        raise InputError(f"{path} (not an array in NumPy's format: {reason})") from None
    if not isinstance(array, np.ndarray) or array.shape != shape:
        other = getattr(array, "shape", "?")
        raise InputError(f"{path} (an array of shape {other}; expected {shape})")
    return _as_type(array, dtype, path)


def _load_array(path: Path, shape: tuple[int, ...]) -> Any:
    with open_file(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        # NumPy stores at most 16 bytes for each number, and about 100 bytes of settings.
        if size > 16 * math.prod(shape) + (1 << 16):
            raise ValueError(f"{size:,} bytes for an input of shape {shape}")
        return np.load(stream, allow_pickle=False)


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
