"""Noise as a transfer set: the student learns from the teacher's answers to noise.

No data is used except for the shape of an input.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck._base.checks import check_count, check_seed
from limbeck._base.errors import ConfigError
from limbeck._base.progress import StageProgress
from limbeck.data.sources.base import Source, SourceTeacher

IMAGES_AT_ONCE = 5000
REFERENCE_SIDE = 28
"""Image size in pixels to which the lengths below refer; they are scaled to other sizes."""
MIN_SIDE = 4


@dataclass(frozen=True, kw_only=True)
class Noise(Source):
    """Random images, which depend only on the settings.

    Attributes:
        samples: Number of images.
        seed: Seed of the random numbers.

    Raises:
        ConfigError: If a setting is out of range.
    """

    samples: int = 100_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("transfer.source.samples", self.samples)
        check_seed("transfer.source.seed", self.seed)

    def make(
        self,
        *,
        shape: Sequence[int],
        classes: int,
        teacher: SourceTeacher | None,
        progress: StageProgress,
    ) -> Tensor:
        """Draw the images, uint8 ``[samples, *shape]``. Classes and teacher are not used.

        Raises:
            ConfigError: If this noise cannot have that shape.
        """
        self.check(shape)
        random = torch.Generator().manual_seed(self.seed)
        images = torch.empty((self.samples, *shape), dtype=torch.uint8)
        done = 0
        with progress.stage("noise", self.samples) as advance:
            for part in images.split(IMAGES_AT_ONCE):
                values = self.draw((len(part), *shape), random)
                part.copy_(values.mul_(255).round_())
                done += len(part)
                advance(done)
        return images

    @abstractmethod
    def draw(self, shape: Sequence[int], random: torch.Generator) -> Tensor:
        """Draw the next images of a stream of random numbers.

        Args:
            shape: Shape of the result, ``[N, ...]``.
            random: Stream of random numbers.

        Returns:
            float32 from 0 to 1.
        """


@dataclass(frozen=True, kw_only=True)
class UniformNoise(Noise):
    """Independent pixels, uniform from black to white."""

    @property
    def name(self) -> str:
        """Short name for tables."""
        return "uniform noise"

    def draw(self, shape: Sequence[int], random: torch.Generator) -> Tensor:
        """See :meth:`Noise.draw`."""
        return torch.rand(shape, generator=random)


@dataclass(frozen=True, kw_only=True)
class SparseNoise(Noise):
    """Independent pixels, white or black, with a random share of white pixels in each image.

    The share is uniform from 0 to ``density``. Teachers give more varied answers to images of many
    densities than to images of a single density.

    Attributes:
        density: Largest share of white pixels, above 0 and at most 1.
    """

    density: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        is_number = isinstance(self.density, (int, float)) and not isinstance(self.density, bool)
        if not is_number or not 0 < self.density <= 1:
            raise ConfigError(
                f"transfer.source.density={self.density!r} should be above 0 and at most 1."
            )

    @property
    def name(self) -> str:
        """Short name for tables."""
        return f"sparse noise to {self.density:g}"

    def draw(self, shape: Sequence[int], random: torch.Generator) -> Tensor:
        """See :meth:`Noise.draw`."""
        by_image = (shape[0], *[1] * (len(shape) - 1))
        density = torch.rand(by_image, generator=random) * self.density
        return (torch.rand(shape, generator=random) < density).float()


@dataclass(frozen=True, kw_only=True)
class StrokeNoise(Noise):
    """Random lines near the centre of an image: level lines of smooth noise in an oval window.

    White noise is blurred, and the pixels near one of its level lines are white. Width and
    curvature of the lines, and position and size of the window, are drawn for each image. The only
    knowledge about the data is that objects are light lines on a dark ground, near the centre.
    """

    @property
    def name(self) -> str:
        """Short name for tables."""
        return "stroke noise"

    def check(self, shape: Sequence[int]) -> None:
        """Check that inputs are images of at least 4 x 4 pixels.

        Raises:
            ConfigError: If they are not.
        """
        if len(shape) != 3 or min(shape[1:]) < MIN_SIDE:
            raise ConfigError(
                "transfer.source: stroke noise needs images [C, H, W] of 4 x 4 pixels or more, "
                f"but the dataset has inputs of shape {list(shape)}. Choose UniformNoise or "
                "SparseNoise."
            )

    def draw(self, shape: Sequence[int], random: torch.Generator) -> Tensor:
        """See :meth:`Noise.draw`."""
        count, _, height, width = shape
        scale = min(height, width) / REFERENCE_SIDE

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand((count, 1, 1, 1), generator=random)

        field = smooth_field(shape, uniform(1.5, 4.0) * scale, random)
        level = uniform(-0.8, 0.8)
        thickness = uniform(1.0, 2.5) * scale
        down, across = torch.gradient(field, dim=(2, 3))
        distance = (field - level).abs() / (down**2 + across**2).sqrt().clamp_min(0.05 / scale)
        lines = ((thickness - distance) / scale).clamp(0, 1)
        rows = torch.arange(height).view(-1, 1) - (height - 1) / 2
        y = (rows - uniform(-2, 2) * scale) / uniform(7, 11)
        columns = torch.arange(width) - (width - 1) / 2
        x = (columns - uniform(-2, 2) * scale) / uniform(4, 11)
        window = ((1.15 - (x**2 + y**2) / scale**2) * 4).clamp(0, 1)
        return lines * window


def smooth_field(shape: Sequence[int], sigma: Tensor, random: torch.Generator) -> Tensor:
    """Draw Gaussian noise blurred by a Gaussian, each image with mean square 1.

    Args:
        shape: Shape of the result, ``[N, C, H, W]``.
        sigma: Standard deviation of the blur in pixels, ``[N, 1, 1, 1]``.
        random: Stream of random numbers.

    Returns:
        float32 ``[N, C, H, W]``.
    """
    height, width = shape[-2:]
    # A discrete Fourier transform is periodic: without a margin, opposite edges would match.
    margin = math.ceil(float(sigma.max()) * 2)
    high, wide = height + margin, width + margin
    spectrum = torch.fft.rfft2(torch.randn((*shape[:-2], high, wide), generator=random))
    squared = torch.fft.fftfreq(high).view(-1, 1) ** 2 + torch.fft.rfftfreq(wide) ** 2
    blur = torch.exp(-2 * (math.pi * sigma) ** 2 * squared)
    field = torch.fft.irfft2(spectrum * blur, s=(high, wide))[..., :height, :width]
    return field / field.square().mean((-2, -1), keepdim=True).sqrt()
