"""Views that only move pixels: flips, padded crops, shifts.

They are enumerable, and uint8 images stay uint8.
"""

import torch
from torch import Tensor

from limbeck._base.errors import ConfigError
from limbeck.data.views.base import Views, check_images

FILLS = ("zeros", "reflect", "edge")
MAX_PADDING = 64
"""Largest number of pixels on each side."""


class Flip(Views):
    """Unchanged images (view 0) and images mirrored left to right (view 1).

    Do not use it for digits or letters.
    """

    count = 2
    name = "flips"
    plain = 0

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Mirror the images ``[N, C, H, W]`` whose view is 1.

        Raises:
            ConfigError: If the inputs are not images.
        """
        check_images(inputs, self.name)
        return torch.where(view.view(-1, 1, 1, 1) == 1, inputs.flip(-1), inputs)


class Crop(Views):
    """Padded images, cropped to their size at any position: (2 padding + 1)^2 views.

    View ``(down + padding) * (2 padding + 1) + (right + padding)`` moves the content by ``down``
    and ``right`` pixels.

    Args:
        padding: Number of pixels added on each side.
        fill: Values of the padding: ``zeros``, the image mirrored without repeating its edge
            (``reflect``), or the nearest pixel (``edge``).

    Raises:
        ConfigError: If ``padding`` is not a whole number from 1 to 64, or if ``fill`` is unknown.
    """

    def __init__(self, padding: int = 4, fill: str = "zeros"):
        _check_pixels("padding", padding)
        if fill not in FILLS:
            raise ConfigError(f"views.fill={fill!r} is unknown; choose one of {', '.join(FILLS)}.")
        self.padding = padding
        self.fill = fill
        self.count = (2 * padding + 1) ** 2

    @property
    def name(self) -> str:
        """Short name for tables."""
        name = f"crops with padding {self.padding}"
        return name if self.fill == "zeros" else f"{name} ({self.fill})"

    @property
    def plain(self) -> int:
        """The crop from the middle."""
        return self.count // 2

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Crop images ``[N, C, H, W]``, each by its own view.

        Raises:
            ConfigError: If the inputs are not images, or are not larger than the padding.
        """
        check_images(inputs, self.name)
        samples, channels, height, width = inputs.shape
        side = min(height, width)
        if self.padding >= side:
            raise ConfigError(
                f"views: {self.name} is too large for images of {height} x {width} pixels. "
                f"Use at most {side - 1}."
            )
        if samples == 0:
            return inputs
        padded = self._pad(inputs)
        rows, columns = padded.shape[-2:]
        steps = 2 * self.padding + 1
        top = steps - 1 - torch.div(view, steps, rounding_mode="floor")
        left = steps - 1 - view % steps
        image = torch.arange(samples * channels, device=inputs.device).view(samples, channels)
        first = (image * rows + top[:, None]) * columns + left[:, None]
        start = first[..., None] + torch.arange(height, device=inputs.device) * columns
        # Every row of a crop is contiguous in its padded image. Copying whole rows is ten times
        # faster than copying single pixels.
        runs = padded.view(-1).unfold(0, width, 1)
        return runs.index_select(0, start.view(-1)).view(inputs.shape)

    def _pad(self, inputs: Tensor) -> Tensor:
        padding = self.padding
        samples, channels, height, width = inputs.shape
        padded = inputs.new_zeros(samples, channels, height + 2 * padding, width + 2 * padding)
        padded[:, :, padding:-padding, padding:-padding] = inputs
        if self.fill == "zeros":
            return padded
        step = torch.arange(padding, device=inputs.device)
        # Rows are padded last, since they include the corners.
        for axis, size in ((3, width), (2, height)):
            last = padding + size - 1
            if self.fill == "reflect":
                before, after = 2 * padding - step, last - 1 - step
            else:
                before, after = step.new_full((padding,), padding), step.new_full((padding,), last)
            padded.narrow(axis, 0, padding).copy_(padded.index_select(axis, before))
            padded.narrow(axis, last + 1, padding).copy_(padded.index_select(axis, after))
        return padded


class Shift(Crop):
    """Images shifted by up to ``pixels`` along each axis, with zeros outside.

    These are the (2 pixels + 1)^2 views of :class:`Crop` with this padding, under the name that is
    usual for digits.

    Args:
        pixels: Largest shift along each axis, in pixels.

    Raises:
        ConfigError: If ``pixels`` is not a whole number from 1 to 64.
    """

    def __init__(self, pixels: int = 2):
        _check_pixels("pixels", pixels)
        super().__init__(padding=pixels)

    @property
    def name(self) -> str:
        """Short name for tables."""
        return f"shifts of {self.padding}"


def _check_pixels(name: str, pixels: int) -> None:
    is_count = isinstance(pixels, int) and not isinstance(pixels, bool)
    if not is_count or not 1 <= pixels <= MAX_PADDING:
        raise ConfigError(
            f"views.{name}={pixels!r} should be a whole number from 1 to {MAX_PADDING}."
        )
