"""Noise as a transfer set: no data at all, only the shape of an input; the teacher says what it
sees in it.
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
from limbeck.data.sources.base import Answering, Source

CHUNK = 5000
"""Inputs that are drawn at once."""
REFERENCE_SIDE = 28
"""Lengths in pixels below are for images of this side, and scaled to others."""


@dataclass(frozen=True, kw_only=True)
class Noise(Source):
    """Random images, the same for the same settings.

    Attributes:
        samples: how many.
        seed: of the random numbers.

    Raises:
        ConfigError: a setting is out of range.
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
        teacher: Answering | None,
        progress: StageProgress,
    ) -> Tensor:
        """The images, uint8 ``[samples, *shape]``; neither classes nor teacher matter.

        Raises:
            ConfigError: such noise has no inputs of the shape.
        """
        self.check(shape)
        random = torch.Generator().manual_seed(self.seed)
        images = torch.empty((self.samples, *shape), dtype=torch.uint8)
        with progress.stage("noise", self.samples) as advance:
            for part in images.split(CHUNK):
                drawn = self.draw((len(part), *shape), random)
                part.copy_(drawn.mul_(255).round_())
                advance(part.storage_offset() // math.prod(shape) + len(part))
        return images

    @abstractmethod
    def draw(self, shape: Sequence[int], random: torch.Generator) -> Tensor:
        """Images from 0 to 1, float32 of a shape ``[N, ...]``, the next ones of a stream of random
        numbers.
        """


@dataclass(frozen=True, kw_only=True)
class UniformNoise(Noise):
    """Independent pixels, each evenly from black to white."""

    @property
    def name(self) -> str:
        """Short name for tables."""
        return "uniform noise"

    def draw(self, shape: Sequence[int], random: torch.Generator) -> Tensor:
        """See :class:`Noise`."""
        return torch.rand(shape, generator=random)


@dataclass(frozen=True, kw_only=True)
class SparseNoise(Noise):
    """Independent pixels, white or black; the share of white ones is drawn for each image, evenly
    from 0 to a most.

    Images of all densities draw more different answers from a teacher than those of one density do.

    Attributes:
        density: the largest share of white pixels.
    """

    density: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if (
            isinstance(self.density, bool)
            or not isinstance(self.density, (int, float))
            or not 0 < self.density <= 1
        ):
            raise ConfigError(
                f"transfer.source.density={self.density!r} should be above 0 and at most 1."
            )

    @property
    def name(self) -> str:
        """Short name for tables."""
        return f"sparse noise to {self.density:g}"

    def draw(self, shape: Sequence[int], random: torch.Generator) -> Tensor:
        """See :class:`Noise`."""
        density = torch.rand((shape[0], *[1] * (len(shape) - 1)), generator=random) * self.density
        return (torch.rand(shape, generator=random) < density).float()


@dataclass(frozen=True, kw_only=True)
class StrokeNoise(Noise):
    """Random lines about the middle of an image: level lines of smooth noise, seen through an oval
    window.

    White noise is blurred; the pixels near one of its level lines are white. Width and tightness of
    the lines, and the window's place and size, are drawn for each image. That objects are lines,
    light on dark and about the middle is all that is known of the data.
    """

    @property
    def name(self) -> str:
        """Short name for tables."""
        return "stroke noise"

    def check(self, shape: Sequence[int]) -> None:
        """Check that inputs are images of at least 4 x 4 pixels.

        Raises:
            ConfigError: they are not.
        """
        if len(shape) != 3 or min(shape[1:]) < 4:
            raise ConfigError(
                "transfer.source: stroke noise is for images [C, H, W] of 4 x 4 pixels or more; "
                "the data has inputs "
                f"of shape {list(shape)}."
            )

    def draw(self, shape: Sequence[int], random: torch.Generator) -> Tensor:
        """See :class:`Noise`."""
        count, _, height, width = shape
        scale = min(height, width) / REFERENCE_SIDE

        def between(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand((count, 1, 1, 1), generator=random)

        field = smooth_field(shape, between(1.5, 4.0) * scale, random)
        level, thickness = between(-0.8, 0.8), between(1.0, 2.5) * scale
        down, across = torch.gradient(field, dim=(2, 3))
        distance = (field - level).abs() / (down**2 + across**2).sqrt().clamp_min(0.05 / scale)
        lines = ((thickness - distance) / scale).clamp(0, 1)
        y = (
            torch.arange(height).view(-1, 1) - (height - 1) / 2 - between(-2, 2) * scale
        ) / between(7, 11)
        x = (torch.arange(width) - (width - 1) / 2 - between(-2, 2) * scale) / between(4, 11)
        window = ((1.15 - (x**2 + y**2) / scale**2) * 4).clamp(0, 1)
        return lines * window


def smooth_field(shape: Sequence[int], sigma: Tensor, random: torch.Generator) -> Tensor:
    """Gaussian noise blurred by a Gaussian, each image with mean square 1.

    Args:
        shape: ``[N, C, H, W]``.
        sigma: of the blur in pixels, ``[N, 1, 1, 1]``.
        random: where the noise comes from.

    Returns:
        float32 ``[N, C, H, W]``.
    """
    height, width = shape[-2:]
    margin = math.ceil(
        float(sigma.max()) * 2
    )  # a discrete Fourier transform wraps around: opposite edges would agree
    high, wide = height + margin, width + margin
    spectrum = torch.fft.rfft2(torch.randn((*shape[:-2], high, wide), generator=random))
    squared = torch.fft.fftfreq(high).view(-1, 1) ** 2 + torch.fft.rfftfreq(wide) ** 2
    blurred = torch.fft.irfft2(
        spectrum * torch.exp(-2 * (math.pi * sigma) ** 2 * squared), s=(high, wide)
    )
    field = blurred[..., :height, :width]
    return field / field.square().mean((-2, -1), keepdim=True).sqrt()
