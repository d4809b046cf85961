"""Images with more than 8 bits: the range of their values, which becomes 0 to 255."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from .errors import InputError

FULL_RANGE = (0.0, 65535.0)
"""Range of images that use all values of 16 bits."""


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


def limits_of(values: np.ndarray) -> ValueLimits:
    """Return the limits of the values of an image.

    Raises:
        ValueError: If a value is infinite or not a number.
    """
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
    return range_of(deep_images) if deep_images else None


def range_of(limits: Sequence[ValueLimits]) -> tuple[float, float]:
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


def has_deep_values(image: Image.Image) -> bool:
    """Whether the values of an image have more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def to_8_bits(image: Image.Image, value_range: Sequence[float] | None, name: str) -> Image.Image:
    """Convert an image to 8 bits per channel, on a black background if it is transparent."""
    if has_deep_values(image):
        return Image.fromarray(_scale_values(np.asarray(image), value_range, name))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, "black")
        return Image.alpha_composite(black, rgba).convert("RGB")
    return image


def _scale_values(values: np.ndarray, value_range: Sequence[float] | None, name: str) -> np.ndarray:
    """Scale values so that the ends of a range become 0 and 255."""
    try:
        limits = limits_of(values)
    except ValueError as error:
        raise InputError(f"{name} ({error})") from None
    low, high = range_of([limits]) if value_range is None else value_range
    width = (high - low) or 1.0
    if limits.low < low - width or limits.high > high + width:
        raise InputError(
            f"{name} (values from {limits.low:g} to {limits.high:g}; expected {low:g} to {high:g})"
        )
    scaled = np.empty(values.shape, np.uint8)
    for row, numbers in enumerate(values):
        scaled[row] = np.rint((numbers.astype(np.float64) - low) * 255 / width).clip(0, 255)
    return scaled
