"""Models that normalise their inputs, and helpers for names and sizes of models."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck._base.errors import ConfigError

MAX_SIDE = 2048
"""Largest height or width to which a model resizes its inputs."""


class InputWrapper(nn.Module):
    """A model that brings its inputs into another form before its network takes them.

    Args:
        net: Network.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    @property
    def name(self) -> str:
        """Name of the network."""
        return model_name(self.net)

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what the model does to its inputs, as ``normalize`` in ``model.json``."""


class Normalized(InputWrapper):
    """A model that normalises its inputs, and may resize them first.

    Teacher and student can then use different normalisations and sizes.

    Args:
        net: Model that takes normalised inputs.
        mean: Values to subtract, one per channel or one for all.
        std: Values to divide by, one per channel or one for all.
        size: Height and width, or the side of a square, to which images are resized; None for the
            size of the data. With a size, grey images get as many channels as ``mean`` has values.

    Raises:
        ConfigError: If the size is not one of images.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        net: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        size: int | Sequence[int] | None = None,
    ):
        super().__init__(net)
        self.size = None if size is None else image_size(size)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def settings(self) -> dict[str, Any]:
        """Return ``mean`` and ``std``, and ``size`` if the inputs are resized."""
        settings: dict[str, Any] = {"mean": self.mean.tolist(), "std": self.std.tolist()}
        if self.size is not None:
            settings["size"] = list(self.size)
        return settings

    def extra_repr(self) -> str:
        """Return the size of the inputs, if the model resizes them; it is part of a store's key."""
        return "" if self.size is None else f"size={self.size}"

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[B, classes]`` of inputs ``[B, ...]`` before normalisation.

        Images have values from 0 to 1.
        """
        channels = self.mean.numel()
        if self.size is not None:
            x = resize(x, self.size)
            if x.shape[1] == 1:
                x = x.expand(-1, channels, -1, -1)
        if channels == 1:
            return self.net((x - self.mean.view(())).div_(self.std.view(())))
        images = x.unflatten(1, (channels, -1)) if x.ndim == 2 else x
        shape = (-1, *[1] * (images.ndim - 2))
        return self.net((images - self.mean.view(shape)).div_(self.std.view(shape)).view_as(x))


def image_size(size: Any) -> tuple[int, int]:
    """Check a size of images, and return its height and width.

    Args:
        size: Height and width, or the side of a square.

    Raises:
        ConfigError: If it is none.
    """
    sides = [size, size] if isinstance(size, int) else size
    is_pair = isinstance(sides, Sequence) and not isinstance(sides, str) and len(sides) == 2
    if not is_pair or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in sides):
        raise ConfigError(
            f"size={size!r} should be a side in pixels, or height and width, as in [224, 224]; "
            f"each at most {MAX_SIDE:,}."
        )
    return sides[0], sides[1]


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images ``[B, C, H, W]`` to a height and width; those of that size stay the same."""
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)


def with_size(model: nn.Module, size: int | Sequence[int]) -> Normalized:
    """Return a model that resizes images first, with the normalisation that it has."""
    if isinstance(model, Normalized):
        return Normalized(model.net, model.mean.tolist(), model.std.tolist(), size=size)
    return Normalized(model, [0.0], [1.0], size=size)


def without_normalization(model: nn.Module) -> nn.Module:
    """Return the network inside an :class:`InputWrapper`, or the model itself."""
    return model.net if isinstance(model, InputWrapper) else model


def model_name(model: nn.Module) -> str:
    """Return the ``name`` of a model, or the name of its class."""
    name = getattr(model, "name", None)
    return name if isinstance(name, str) else type(model).__name__


def count_parameters(model: nn.Module) -> int:
    """Count the parameters of a model; shared parameters count once.

    A model of another library says how many it has, if it knows, in ``parameter_count``.
    """
    net = without_normalization(model)
    count = getattr(net, "parameter_count", None)
    if type(count) is int:
        return count
    return sum(parameter.numel() for parameter in model.parameters())
