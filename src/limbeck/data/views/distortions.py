"""Views that bend images: affine and elastic distortions. They are endless, and what they give are
floats.
"""

import math
from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.data.dataset import as_float
from limbeck.data.views.base import ENDLESS, Views, check_images, checked, replayable_bits, stream

ANGLES = 4096
"""Angles in a table: a sine may round otherwise on another device or in another batch, its entry
does not.
"""
SIDE = 29
"""Pixels a side of the images for which Simard et al. give the strength of elastic distortions."""
_NOISE_BITS, _WEIGHT_BITS = 16, 18
_PART = 128
"""Images at a time on a CPU, so that what is computed for each pixel stays in its cache."""


class _Distortion(Views):
    """A continuous family: view 0 is plain, every other draws its parameters from (sample, view)."""

    count = ENDLESS
    plain = 0

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Distort images ``[N, C, H, W]``, uint8 or float; float images of the same shape, uint8 as
        shares of 255.

        Raises:
            ConfigError: the inputs are no images.
        """
        check_images(inputs, self.name)
        images = as_float(inputs)
        part = _PART if images.device.type == "cpu" else max(1, len(images))
        parts = zip(*(whole.split(part) for whole in (images, view, sample)), strict=True)
        return torch.cat([self._distorted(*one) for one in parts])

    def _distorted(self, images: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        grid = self._grid(height, width, view, sample).to(images.dtype)
        seen = F.grid_sample(
            images, grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        return torch.where((view == self.plain).view(-1, 1, 1, 1), images, seen)

    @abstractmethod
    def _grid(self, height: int, width: int, view: Tensor, sample: Tensor) -> Tensor:
        """Where in the input each pixel of the output looks: float32 ``[N, H, W, 2]``, to the right
        and down from the middle, with the edges of the image at -1 and 1.
        """


class Affine(_Distortion):
    """Small rotations, translations, changes of size and slants about the middle of an image, all
    at once.

    Each is drawn evenly from its range, as in torchvision's ``RandomAffine``; pixels between the
    old ones are bilinear, those from outside are 0. View 0 is plain.

    Args:
        degrees: rotation by up to this angle, either way; 0 to 180.
        translate: translation by up to this share of height and width; 0 to 0.5.
        scale: enlargement by a factor from ``1 - scale`` to ``1 + scale``; 0 to 0.9.
        shear: slant of the vertical by up to this angle in degrees, either way; 0 to 60.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self, degrees: float = 10.0, translate: float = 0.05, scale: float = 0.1, shear: float = 5.0
    ):
        self.degrees = checked("degrees", degrees, 0, 180)
        self.translate = checked("translate", translate, 0, 0.5)
        self.scale = checked("scale", scale, 0, 0.9)
        self.shear = checked("shear", shear, 0, 60)
        even = (torch.arange(ANGLES, dtype=torch.float64) + 0.5) / ANGLES * 2 - 1
        turn, slant = torch.deg2rad(even * self.degrees), torch.deg2rad(even * self.shear)
        self._angles = torch.stack((turn.cos(), turn.sin(), slant.tan()), dim=1).float()

    @property
    def name(self) -> str:
        """Short name for tables."""
        return "affine distortions"

    def parameters(self, view: Tensor, sample: Tensor) -> tuple[Tensor, ...]:
        """Cosine and sine of the rotation (clockwise), tangent of the slant, factor of size,
        translation to the right and down as shares of width and height; each float32 ``[N]``.
        """
        kind = torch.arange(5, device=view.device)
        bits = replayable_bits(stream("affine"), sample[:, None], view[:, None], kind)
        turn, slant = ((bits[:, k] >> 52) & (ANGLES - 1) for k in (0, 1))
        if self._angles.device != view.device:
            self._angles = self._angles.to(view.device)
        even = ((bits >> 40) & ((1 << 24) - 1)).float() * 2.0**-23 - 1
        angles = self._angles.index_select(0, turn)
        return (
            angles[:, 0],
            angles[:, 1],
            self._angles.index_select(0, slant)[:, 2],
            1 + self.scale * even[:, 2],
            self.translate * even[:, 3],
            self.translate * even[:, 4],
        )

    def _grid(self, height: int, width: int, view: Tensor, sample: Tensor) -> Tensor:
        cos, sin, tan, factor, right, down = (
            part.view(-1, 1, 1) for part in self.parameters(view, sample)
        )
        # pixels from the middle, moved back; then the inverses of rotation, slant and factor
        x = torch.arange(width, device=view.device) - (width - 1) / 2 - right * width
        y = torch.arange(height, device=view.device).view(-1, 1) - (height - 1) / 2 - down * height
        cos, sin = cos / factor, sin / factor
        grid = torch.empty(len(view), height, width, 2, device=view.device)
        torch.add(
            (cos - tan * sin) * 2 / width * x, (sin + tan * cos) * 2 / width * y, out=grid[..., 0]
        )
        torch.add(-sin * 2 / height * x, cos * 2 / height * y, out=grid[..., 1])
        return grid


class Elastic(_Distortion):
    """Elastic distortions: every pixel moves a little, and neighbours move alike.

    Each pixel's displacement along each axis is drawn evenly from -1 to 1; the field of them is
    smoothed with a Gaussian of standard deviation ``sigma`` (taken as 0 outside the image) and
    multiplied by ``alpha``. Pixels between the old ones are bilinear, those from outside are 0.
    View 0 is plain.

    Args:
        alpha: strength, in pixels of an image of 29 pixels a side, as in the paper; 0.01 to 1000.
            Other images are distorted alike: ``alpha`` grows with the square of the shorter side.
        sigma: smoothness, in such pixels too; 0.5 to 29. It grows with the shorter side.

    Raises:
        ConfigError: a value is out of range.

    References:
        Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural Networks Applied to
        Visual Document Analysis", 2003: alpha 34 and sigma 4 served them best on MNIST, padded to
        29 x 29.
    """

    def __init__(self, alpha: float = 34.0, sigma: float = 4.0):
        self.alpha = checked("alpha", alpha, 0.01, 1000)
        self.sigma = checked("sigma", sigma, 0.5, SIDE)
        self._weights: dict[tuple[int, float, torch.device], Tensor] = {}

    @property
    def name(self) -> str:
        """Short name for tables."""
        return "elastic distortions"

    def displacements(self, height: int, width: int, view: Tensor, sample: Tensor) -> Tensor:
        """How far from itself each pixel looks, to the right and down in pixels, float32 ``[N, 2,
        H, W]``.
        """
        # Integers below 2^53 have exact products and sums in float64, in any order: the same bits
        # in any batch.
        size = min(height, width) / SIDE
        noise = self._noise(height, width, view, sample)
        rows, columns = (self._gaussian(side, self.sigma * size, noise) for side in (height, width))
        smooth = rows @ (noise @ columns)
        return smooth.float().mul_(self.alpha * size**2 * 2.0 ** -(_NOISE_BITS + 2 * _WEIGHT_BITS))

    def _noise(self, height: int, width: int, view: Tensor, sample: Tensor) -> Tensor:
        """Odd integers, evenly from -2^16 to 2^16, float64 ``[N, 2, H, W]``."""
        numbers = 2 * height * width
        block = torch.arange((numbers + 3) // 4, device=view.device)  # each gives four of 16 bits
        key = replayable_bits(stream("elastic"), sample, view)
        bits = replayable_bits(key[:, None], block).view(torch.int16)[:, :numbers]
        exact = (
            torch.float32 if view.device.type == "mps" else torch.float64
        )  # which has no float64
        return bits.to(exact).mul_(2).add_(1).view(-1, 2, height, width)

    def _gaussian(self, side: int, sigma: float, like: Tensor) -> Tensor:
        """Smoothing along an axis as a matrix of integers with sum 2^18 but for what lies outside,
        ``[side, side]``.
        """
        key = (side, sigma, like.device)
        if key not in self._weights:
            reach = math.floor(4 * sigma + 0.5)
            away = torch.arange(reach + 1, dtype=torch.float64)
            bell = torch.exp(-0.5 * (away / sigma).square())
            bell = (bell / (2 * bell.sum() - 1) * 2**_WEIGHT_BITS).round()
            pixel = torch.arange(side)
            distance = (pixel[:, None] - pixel).abs()
            weights = torch.where(distance <= reach, bell[distance.clamp(max=reach)], 0.0)
            self._weights[key] = weights.to(like.dtype).to(like.device)
        return self._weights[key]

    def _grid(self, height: int, width: int, view: Tensor, sample: Tensor) -> Tensor:
        moved = self.displacements(height, width, view, sample)
        x, y = (
            (2 * torch.arange(side, device=view.device) + 1) / side - 1 for side in (width, height)
        )
        grid = torch.empty(len(view), height, width, 2, device=view.device)
        torch.add(moved[:, 0].mul_(2 / width), x, out=grid[..., 0])
        torch.add(moved[:, 1].mul_(2 / height), y[:, None], out=grid[..., 1])
        return grid
