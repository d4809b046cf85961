"""Affine and elastic distortions of images.

They are continuous families, and return floats.
"""

import math
from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from limbeck.data.dataset import as_float
from limbeck.data.randomness import purpose_number, replayable_bits
from limbeck.data.views.base import ENDLESS, Views, check_images, check_number

ANGLES = 4096
"""Number of angles in a table. An entry of the table is the same on every device and in every
batch; a computed sine may be rounded differently."""
SIDE = 29
"""Pixels per side of the images for which Simard et al. specify elastic distortions."""
_NOISE_BITS = 16
_WEIGHT_BITS = 18
_IMAGES_AT_ONCE = 128
"""Number of images per step on a CPU, so that the data stays in its cache."""


class _Distortion(Views):
    """A continuous family: view 0 is plain, the others draw parameters from (sample, view)."""

    count = ENDLESS
    plain = 0

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Distort images ``[N, C, H, W]``.

        Returns:
            Floats of the shape of ``inputs``; uint8 images become floats from 0 to 1.

        Raises:
            ConfigError: If the inputs are not images.
        """
        check_images(inputs, self.name)
        images = as_float(inputs)
        size = _IMAGES_AT_ONCE if images.device.type == "cpu" else max(1, len(images))
        parts = zip(images.split(size), view.split(size), sample.split(size), strict=True)
        return torch.cat([self._distort(*part) for part in parts])

    def _distort(self, images: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        grid = self._grid(height, width, view, sample).to(images.dtype)
        distorted = functional.grid_sample(
            images, grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        return torch.where((view == self.plain).view(-1, 1, 1, 1), images, distorted)

    @abstractmethod
    def _grid(self, height: int, width: int, view: Tensor, sample: Tensor) -> Tensor:
        """Return the input position that each output pixel is read from.

        Returns:
            float32 ``[N, H, W, 2]``: to the right and down from the middle, with the edges of the
            image at -1 and 1.
        """


class AffineParameters(NamedTuple):
    """Parameters of affine distortions, each float32 ``[N]``.

    Attributes:
        cos: Cosine of the rotation, clockwise.
        sin: Sine of the rotation.
        tan: Tangent of the slant of the vertical.
        factor: Factor of size.
        right: Translation to the right, as a share of the width.
        down: Translation down, as a share of the height.
    """

    cos: Tensor
    sin: Tensor
    tan: Tensor
    factor: Tensor
    right: Tensor
    down: Tensor


class Affine(_Distortion):
    """Small rotations, translations, scalings and shears about the centre of an image.

    All are applied at once, and each is drawn uniformly from its range, as in torchvision's
    ``RandomAffine``. Interpolation is bilinear, and pixels from outside the image are 0. View 0 is
    plain.

    Args:
        degrees: Largest rotation in degrees, either way; 0 to 180.
        translate: Largest translation as a share of height and width; 0 to 0.5.
        scale: Largest change of size: factors run from ``1 - scale`` to ``1 + scale``; 0 to 0.9.
        shear: Largest slant of the vertical in degrees, either way; 0 to 60.

    Raises:
        ConfigError: If a value is out of range.
    """

    def __init__(
        self, degrees: float = 10.0, translate: float = 0.05, scale: float = 0.1, shear: float = 5.0
    ):
        self.degrees = check_number("degrees", degrees, 0, 180)
        self.translate = check_number("translate", translate, 0, 0.5)
        self.scale = check_number("scale", scale, 0, 0.9)
        self.shear = check_number("shear", shear, 0, 60)
        uniform = (torch.arange(ANGLES, dtype=torch.float64) + 0.5) / ANGLES * 2 - 1
        turn = torch.deg2rad(uniform * self.degrees)
        slant = torch.deg2rad(uniform * self.shear)
        self._angles = torch.stack((turn.cos(), turn.sin(), slant.tan()), dim=1).float()

    @property
    def name(self) -> str:
        """Short name for tables."""
        return "affine distortions"

    def parameters(self, view: Tensor, sample: Tensor) -> AffineParameters:
        """Draw the parameters of each (sample, view), int64 ``[N]``."""
        kind = torch.arange(5, device=view.device)
        bits = replayable_bits(purpose_number("affine"), sample[:, None], view[:, None], kind)
        if self._angles.device != view.device:
            self._angles = self._angles.to(view.device)
        angle = (bits[:, :2] >> 52) & (ANGLES - 1)
        turn = self._angles.index_select(0, angle[:, 0])
        slant = self._angles.index_select(0, angle[:, 1])
        uniform = ((bits >> 40) & ((1 << 24) - 1)).float() * 2.0**-23 - 1
        return AffineParameters(
            cos=turn[:, 0],
            sin=turn[:, 1],
            tan=slant[:, 2],
            factor=1 + self.scale * uniform[:, 2],
            right=self.translate * uniform[:, 3],
            down=self.translate * uniform[:, 4],
        )

    def _grid(self, height: int, width: int, view: Tensor, sample: Tensor) -> Tensor:
        parameters = self.parameters(view, sample)
        cos, sin, tan, factor, right, down = (value.view(-1, 1, 1) for value in parameters)
        # Pixels from the middle, moved back; then the inverses of rotation, slant and factor.
        x = torch.arange(width, device=view.device) - (width - 1) / 2 - right * width
        y = torch.arange(height, device=view.device).view(-1, 1) - (height - 1) / 2 - down * height
        cos, sin = cos / factor, sin / factor
        x_by_x, x_by_y = (cos - tan * sin) * 2 / width, (sin + tan * cos) * 2 / width
        y_by_x, y_by_y = -sin * 2 / height, cos * 2 / height
        grid = torch.empty(len(view), height, width, 2, device=view.device)
        torch.add(x_by_x * x, x_by_y * y, out=grid[..., 0])
        torch.add(y_by_x * x, y_by_y * y, out=grid[..., 1])
        return grid


class Elastic(_Distortion):
    """Elastic distortions: every pixel moves a little, and neighbours move together.

    The displacement of each pixel along each axis is drawn uniformly from -1 to 1. The field of
    displacements is smoothed with a Gaussian of standard deviation ``sigma`` (the field is 0
    outside the image) and multiplied by ``alpha``. Interpolation is bilinear, and pixels from
    outside the image are 0. View 0 is plain.

    Args:
        alpha: Strength in pixels of an image of 29 x 29 pixels, as in the paper; 0.01 to 1000.
            It grows with the square of the shorter side, so that images of all sizes are distorted
            equally.
        sigma: Smoothness in the same pixels; 0.5 to 29. It grows with the shorter side.

    Raises:
        ConfigError: If a value is out of range.

    References:
        Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural Networks Applied to
        Visual Document Analysis", 2003. Their best values on MNIST, padded to 29 x 29, were alpha
        34 and sigma 4.
    """

    def __init__(self, alpha: float = 34.0, sigma: float = 4.0):
        self.alpha = check_number("alpha", alpha, 0.01, 1000)
        self.sigma = check_number("sigma", sigma, 0.5, SIDE)
        self._weights: dict[tuple[int, float, torch.device], Tensor] = {}

    @property
    def name(self) -> str:
        """Short name for tables."""
        return "elastic distortions"

    def displacements(self, height: int, width: int, view: Tensor, sample: Tensor) -> Tensor:
        """Return the displacement at which each pixel is read, in pixels to the right and down.

        Returns:
            float32 ``[N, 2, H, W]``.
        """
        # Sums and products of integers below 2^53 are exact in float64, in any order. So the result
        # is the same bit for bit in every batch.
        size = min(height, width) / SIDE
        noise = self._noise(height, width, view, sample)
        rows = self._gaussian(height, self.sigma * size, noise)
        columns = self._gaussian(width, self.sigma * size, noise)
        smooth = rows @ (noise @ columns)
        return smooth.float().mul_(self.alpha * size**2 * 2.0 ** -(_NOISE_BITS + 2 * _WEIGHT_BITS))

    def _noise(self, height: int, width: int, view: Tensor, sample: Tensor) -> Tensor:
        """Draw odd integers uniformly from -2^16 to 2^16, float64 ``[N, 2, H, W]``."""
        numbers = 2 * height * width
        key = replayable_bits(purpose_number("elastic"), sample, view)
        block = torch.arange((numbers + 3) // 4, device=view.device)  # 64 bits give four of 16
        bits = replayable_bits(key[:, None], block).view(torch.int16)[:, :numbers]
        exact = torch.float32 if view.device.type == "mps" else torch.float64  # MPS has no float64
        return bits.to(exact).mul_(2).add_(1).view(-1, 2, height, width)

    def _gaussian(self, side: int, sigma: float, like: Tensor) -> Tensor:
        """Return the smoothing along an axis as a matrix ``[side, side]`` of integers.

        A row sums to 2^18, without the part outside the image. Matrices are cached.
        """
        key = (side, sigma, like.device)
        if key not in self._weights:
            reach = math.floor(4 * sigma + 0.5)
            offset = torch.arange(reach + 1, dtype=torch.float64)
            bell = torch.exp(-0.5 * (offset / sigma).square())
            bell = (bell / (2 * bell.sum() - 1) * 2**_WEIGHT_BITS).round()
            pixel = torch.arange(side)
            distance = (pixel[:, None] - pixel).abs()
            weights = torch.where(distance <= reach, bell[distance.clamp(max=reach)], 0.0)
            self._weights[key] = weights.to(like.dtype).to(like.device)
        return self._weights[key]

    def _grid(self, height: int, width: int, view: Tensor, sample: Tensor) -> Tensor:
        offset = self.displacements(height, width, view, sample)
        x = (2 * torch.arange(width, device=view.device) + 1) / width - 1
        y = (2 * torch.arange(height, device=view.device) + 1) / height - 1
        grid = torch.empty(len(view), height, width, 2, device=view.device)
        torch.add(offset[:, 0].mul_(2 / width), x, out=grid[..., 0])
        torch.add(offset[:, 1].mul_(2 / height), y[:, None], out=grid[..., 1])
        return grid
