"""Networks whose outputs are values in their own units."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck.models.builders import BUILDERS, describe_network
from limbeck.models.protocols import CustomFiles


class Regressor(nn.Module):
    """A network for regression: its outputs are scaled to the units of the targets.

    The network inside learns standardised values, mean 0 and standard deviation 1. The values of
    the model are ``mean + std * net(x)``, in the units of the labels, so the scale travels with the
    model and its ONNX file.

    Args:
        net: Network with an output for each target; or a mapping of ``builder`` and ``arguments``,
            as in ``model.json``.
        mean: Mean of each target, ``[D]``.
        std: Standard deviation of each target, ``[D]``.

    Raises:
        ConfigError: If there are not as many means as standard deviations, or if the network has
            files of its own.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, net: nn.Module | Mapping[str, Any], mean: Sequence[float], std: Sequence[float]
    ):
        super().__init__()
        if len(mean) != len(std) or not mean:
            raise ConfigError(
                f"Regressor needs a mean and a standard deviation for each target, got {len(mean)} "
                f"and {len(std)}."
            )
        if isinstance(net, Mapping):
            net = BUILDERS[net["builder"]](**net["arguments"])
        if isinstance(net, CustomFiles):  # they cannot hold the scale of the values
            raise ConfigError(
                f"{type(net).__name__} predicts classes and labels, not values. For texts "
                "choose bag, text_cnn or encoder."
            )
        self.net = net
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    @property
    def arguments(self) -> dict[str, Any] | None:
        """Arguments that rebuild the model; None if the network is a user's own class."""
        net = describe_network(self.net)
        if net is None:
            return None
        return {"net": net, "mean": self.mean.tolist(), "std": self.std.tolist()}

    @property
    def name(self) -> str:
        """Name of the network inside."""
        name = getattr(self.net, "name", None)
        return name if isinstance(name, str) else type(self.net).__name__

    def forward(self, x: Tensor) -> Tensor:
        """Compute values ``[B, D]`` of inputs ``[B, ...]``."""
        return torch.addcmul(self.mean, self.std, self.net(x))
