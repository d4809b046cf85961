"""Multilayer perceptrons."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from limbeck._base.checks import check_counts
from limbeck._base.errors import ConfigError


class BoundedLinear(nn.Linear):
    """A linear layer with a bound on the norm of each unit's incoming weights.

    The training loop restores the bound after each optimizer step (Srebro and Shraibman 2005; used
    with dropout by Hinton et al. 2012).
    """

    def __init__(self, in_features: int, out_features: int, *, max_norm: float):
        super().__init__(in_features, out_features)
        self.max_norm = max_norm


class MLP(nn.Module):
    """A multilayer perceptron with ReLU; inputs of any shape are flattened.

    Args:
        shape: Shape of one input.
        classes: Number of classes.
        hidden: Widths of the hidden layers.
        dropout: Dropout probability of hidden units.
        input_dropout: Dropout probability of inputs.
        max_norm: Bound on the norm of each hidden unit's incoming weights; None for no bound.

    Raises:
        ConfigError: If a width, a probability or the bound is out of range.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        hidden: Sequence[int] = (800, 800),
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        max_norm: float | None = None,
    ):
        super().__init__()
        hidden = check_counts("hidden", hidden)
        check_probability("dropout", dropout)
        check_probability("input_dropout", input_dropout)
        is_number = isinstance(max_norm, (int, float)) and not isinstance(max_norm, bool)
        if max_norm is not None and not (is_number and 0 < max_norm < math.inf):
            raise ConfigError(
                f"max_norm={max_norm!r} should be a number above 0, or null for no bound."
            )
        self.arguments: dict[str, Any] = {
            "shape": list(shape),
            "classes": classes,
            "hidden": hidden,
            "dropout": dropout,
            "input_dropout": input_dropout,
            "max_norm": max_norm,
        }
        widths = [math.prod(shape), *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        if input_dropout:
            layers.append(nn.Dropout(input_dropout))
        for wide, next_wide in itertools.pairwise(widths):
            if max_norm:
                layers.append(BoundedLinear(wide, next_wide, max_norm=max_norm))
            else:
                layers.append(nn.Linear(wide, next_wide))
            layers.append(nn.ReLU(inplace=True))  # backward does not need the input
            if dropout:
                layers.append(nn.Dropout(dropout))
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], classes))

    @property
    def name(self) -> str:
        """Name with the widths, such as ``784-800-800-10``."""
        widths = [
            math.prod(self.arguments["shape"]),
            *self.arguments["hidden"],
            self.arguments["classes"],
        ]
        return "-".join(map(str, widths))

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[B, classes]`` of inputs ``[B, ...]``."""
        return self.layers(x)


def check_probability(name: str, value: float) -> None:
    """Check that a dropout probability is in [0, 1).

    Raises:
        ConfigError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ConfigError(f"{name}={value!r} should be at least 0 and below 1.")
