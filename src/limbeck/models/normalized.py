"""Models that normalise their inputs, and helpers for names and sizes of models."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalized(nn.Module):
    """A model that normalises its inputs.

    Teacher and student can then use different normalisations.

    Args:
        net: Model that takes normalised inputs.
        mean: Values to subtract, one per channel or one for all.
        std: Values to divide by, one per channel or one for all.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    @property
    def name(self) -> str:
        """Name of the model inside."""
        return model_name(self.net)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[B, classes]`` of inputs ``[B, ...]`` before normalisation.

        Images have values from 0 to 1.
        """
        channels = self.mean.numel()
        if channels == 1:
            return self.net((x - self.mean.view(())).div_(self.std.view(())))
        images = x.unflatten(1, (channels, -1)) if x.ndim == 2 else x
        shape = (-1, *[1] * (images.ndim - 2))
        return self.net((images - self.mean.view(shape)).div_(self.std.view(shape)).view_as(x))


def without_normalization(model: nn.Module) -> nn.Module:
    """Return the network inside a :class:`Normalized` model, or the model itself."""
    return model.net if isinstance(model, Normalized) else model


def model_name(model: nn.Module) -> str:
    """Return the ``name`` of a model, or the name of its class."""
    name = getattr(model, "name", None)
    return name if isinstance(name, str) else type(model).__name__


def count_parameters(model: nn.Module) -> int:
    """Count the parameters of a model; shared parameters count once."""
    return sum(parameter.numel() for parameter in model.parameters())
