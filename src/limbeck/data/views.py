"""Views: replayable augmentations.

Which view a sample gets is a pure function of (seed, epoch, sample index), so that it can be drawn again by another
process, on another device and in batches of another size, and a teacher's answer to it can be kept.
"""

import copy
from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import ConfigError


def _signed(value: int) -> int:
    """The 64-bit pattern ``value`` as the signed integer that int64 tensors hold."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _scramble(z: Tensor) -> Tensor:
    """The finaliser of SplitMix64 on int64 (Steele, Lea and Flood 2014)."""
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * _FIRST
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * _SECOND
    return z ^ ((z >> 31) & ((1 << 33) - 1))


def replayable_integers(seed: int, epoch: int, index: Tensor) -> Tensor:
    """Pseudo-random integers from 0 to 2^63 - 1, a pure function of their arguments on every device.

    Args:
        seed: any integer.
        epoch: any integer.
        index: int64 sample indices, any shape.

    Returns:
        int64, the shape of ``index``.
    """
    z = torch.full_like(index, _GOLDEN)
    for part in (_signed(seed % (1 << 64)), _signed(epoch % (1 << 64)), index):
        z = _scramble(z + part + _GOLDEN)
    return z & ((1 << 63) - 1)


ENDLESS = 1 << 31
"""The ``count`` of a continuous family that is not limited to some views."""


class Views(ABC):
    """A family of ``count`` views of an input.

    Attributes:
        count: number of views of one sample; :data:`ENDLESS` for a continuous family.
        mixes: whether a view of one sample shows another one too.
    """

    count: int
    mixes: bool = False

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for tables."""

    @property
    @abstractmethod
    def plain(self) -> int:
        """The view that leaves an input as it is."""

    @abstractmethod
    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Show each input in its view.

        Args:
            inputs: ``[N, ...]``.
            view: int64, ``[N]``, from 0 to ``count - 1``.
            sample: row number of each in the training split, int64 ``[N]``; a continuous family draws the view's
                parameters from it and from ``view``, an enumerable one does not need it.

        Returns:
            The shape of ``inputs``; uint8 images may become floats from 0 to 1.
        """

    def show(self, inputs: Tensor, sample: Tensor, view: Tensor, pool: Tensor) -> Tensor:
        """Pick samples of a split and show each in its view.

        Args:
            inputs: of the whole split, ``[M, ...]``.
            sample: rows of it, int64 ``[N]``.
            view: int64 ``[N]``.
            pool: rows that a view may mix in, int64 ``[P]``.

        Returns:
            ``[N, ...]``, as :meth:`apply` gives it.
        """
        return self.apply(inputs[sample], view, sample)

    def limited(self, count: int) -> "Views":
        """The same family with ``count`` views of each sample where it is endless; itself where it is not."""
        if self.count != ENDLESS:
            return self
        limited = copy.copy(self)
        limited.count = count
        return limited

    def settings(self) -> dict[str, Any]:
        """What tells these views from others, as plain values for JSON."""
        return {"kind": f"{type(self).__module__}.{type(self).__qualname__}", **vars(self)}

    def __eq__(self, other: object) -> bool:
        """Views of one kind with the same settings are the same."""
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self).__qualname__, self.count))

    def draw(self, seed: int, epoch: int, index: Tensor) -> Tensor:
        """The view of each sample in one epoch, int64 of the shape of ``index``, uniform over the views."""
        return replayable_integers(seed, epoch, index) % self.count


class NoViews(Views):
    """Every input as it is."""

    count = 1
    name = "none"
    plain = 0

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """The inputs themselves."""
        return inputs


class Shift(Views):
    """Images shifted by up to ``pixels`` along each axis, the rim filled with zeros: (2 pixels + 1)^2 views.

    View ``(dy + pixels) * (2 * pixels + 1) + (dx + pixels)`` moves the content down by ``dy`` and right by ``dx``.

    Raises:
        ConfigError: ``pixels`` is not a whole number from 1 to 64.
    """

    def __init__(self, pixels: int = 2):
        if isinstance(pixels, bool) or not isinstance(pixels, int) or not 1 <= pixels <= 64:
            raise ConfigError(f"views.pixels={pixels!r} should be a whole number from 1 to 64.")
        self.pixels = pixels
        self.side = 2 * pixels + 1
        self.count = self.side**2

    @property
    def name(self) -> str:
        """Short name for tables."""
        return f"shifts of {self.pixels}"

    @property
    def plain(self) -> int:
        """The view without a shift."""
        return self.count // 2

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Shift images ``[N, C, H, W]``, each by its own view ``[N]``."""
        if inputs.ndim != 4:
            raise ConfigError(f"views: shifts need images [N, C, H, W]; found inputs of shape {list(inputs.shape)}.")
        height, width = inputs.shape[-2:]
        padded = F.pad(inputs, (self.pixels,) * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        row = 2 * self.pixels - torch.div(view, self.side, rounding_mode="floor")
        column = 2 * self.pixels - view % self.side
        return windows[torch.arange(len(inputs), device=inputs.device), :, row, column]
