"""Views that only move pixels: flips, crops with padding, shifts. They can be counted, and uint8
images stay uint8.
"""

import torch
from torch import Tensor

from limbeck._base.errors import ConfigError
from limbeck.data.views.base import Views, check_images

FILLS = ("zeros", "reflect", "edge")
LARGEST = 64
"""Of a padding, in pixels."""


class Flip(Views):
    """Images as they are (view 0) and mirrored left to right (view 1). Not for digits or letters."""

    count = 2
    name = "flips"
    plain = 0

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Mirror those images ``[N, C, H, W]`` whose view is 1.

        Raises:
            ConfigError: the inputs are no images.
        """
        check_images(inputs, self.name)
        return torch.where(view.view(-1, 1, 1, 1) == 1, inputs.flip(-1), inputs)


class Crop(Views):
    """Images with a padding, cropped back to their size anywhere: (2 padding + 1)^2 views.

    View ``(down + padding) * (2 padding + 1) + (right + padding)`` moves the content by ``down``
    and ``right`` pixels.

    Args:
        padding: pixels added on each side.
        fill: with ``zeros``, with the image mirrored at its rim (``reflect``, the rim itself once),
            or with the nearest pixel (``edge``).

    Raises:
        ConfigError: ``padding`` is not a whole number from 1 to 64, or ``fill`` is unknown.
    """

    def __init__(self, padding: int = 4, fill: str = "zeros"):
        _check_pixels("padding", padding)
        if fill not in FILLS:
            raise ConfigError(f"views.fill={fill!r} is unknown; choose one of {', '.join(FILLS)}.")
        self.padding, self.fill = padding, fill
        self.count = (2 * padding + 1) ** 2

    @property
    def name(self) -> str:
        """Short name for tables."""
        return f"crops with padding {self.padding}" + (
            "" if self.fill == "zeros" else f" ({self.fill})"
        )

    @property
    def plain(self) -> int:
        """The crop from the middle."""
        return self.count // 2

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Crop images ``[N, C, H, W]``, each by its own view ``[N]``.

        Raises:
            ConfigError: the inputs are no images, or no larger than the padding.
        """
        check_images(inputs, self.name)
        samples, channels, height, width = inputs.shape
        if self.padding >= min(height, width):
            raise ConfigError(
                f"views: {self.name} would lose images of {height} x {width} pixels altogether; "
                "use at most "
                f"{min(height, width) - 1}."
            )
        if samples == 0:
            return inputs
        padded = self._padded(inputs)
        rows, columns = padded.shape[-2:]
        side = 2 * self.padding + 1
        top, left = side - 1 - torch.div(view, side, rounding_mode="floor"), side - 1 - view % side
        image = torch.arange(samples * channels, device=inputs.device).view(samples, channels)
        first = (image * rows + top[:, None]) * columns + left[:, None]
        start = first[..., None] + torch.arange(height, device=inputs.device) * columns
        # Every row of a crop is a run of its padded image: whole runs are copied, ten times faster
        # than pixels.
        runs = padded.view(-1).unfold(0, width, 1)
        return runs.index_select(0, start.view(-1)).view(inputs.shape)

    def _padded(self, inputs: Tensor) -> Tensor:
        around, shape = self.padding, inputs.shape
        padded = inputs.new_zeros(*shape[:2], *(size + 2 * around for size in shape[2:]))
        padded[:, :, around:-around, around:-around] = inputs
        if self.fill == "zeros":
            return padded
        step = torch.arange(around, device=inputs.device)
        for axis in (3, 2):  # the rows last: theirs have the corners
            last = around + shape[axis] - 1
            before, after = (step.new_full((around,), around), step.new_full((around,), last))
            if self.fill == "reflect":
                before, after = 2 * around - step, last - 1 - step
            padded.narrow(axis, 0, around).copy_(padded.index_select(axis, before))
            padded.narrow(axis, last + 1, around).copy_(padded.index_select(axis, after))
        return padded


class Shift(Crop):
    """Images shifted by up to ``pixels`` along each axis, the rim filled with zeros: (2 pixels +
    1)^2 views.

    The same views as those of :class:`Crop` with this padding, by the name that is usual for
    digits.

    Raises:
        ConfigError: ``pixels`` is not a whole number from 1 to 64.
    """

    def __init__(self, pixels: int = 2):
        _check_pixels("pixels", pixels)
        super().__init__(padding=pixels)

    @property
    def name(self) -> str:
        """Short name for tables."""
        return f"shifts of {self.padding}"


def _check_pixels(name: str, pixels: object) -> None:
    if isinstance(pixels, bool) or not isinstance(pixels, int) or not 1 <= pixels <= LARGEST:
        raise ConfigError(f"views.{name}={pixels!r} should be a whole number from 1 to {LARGEST}.")
