"""Normalisation inside a model, and what a model is called."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalized(nn.Module):
    """A model with the normalisation of its inputs inside, so that teacher and student may differ
    in it.

    Args:
        net: the model behind.
        mean: subtracted, one a channel or one in all.
        std: divided by, likewise.
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
        """The name of the model behind."""
        return model_name(self.net)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, classes]`` of inputs ``[B, ...]`` as the data set holds them (images from 0
        to 1).
        """
        channels = self.mean.numel()
        if channels == 1:
            return self.net((x - self.mean.view(())).div_(self.std.view(())))
        images = x.unflatten(1, (channels, -1)) if x.ndim == 2 else x
        shape = (-1, *[1] * (images.ndim - 2))
        return self.net((images - self.mean.view(shape)).div_(self.std.view(shape)).view_as(x))


def model_name(model: nn.Module) -> str:
    """The model's own ``name``, or that of its class."""
    name = getattr(model, "name", None)
    return name if isinstance(name, str) else type(model).__name__


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())
