"""Models whose outputs are brought to the classes of a dataset."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.models.normalized import model_name
from limbeck.models.output import logits_of

LOWEST_LOGIT = -30.0
"""Logit of a probability of zero, whose logarithm is infinite."""


class OutputMap(nn.Module):
    """A model whose outputs are brought to the classes of a dataset.

    Args:
        net: Model that outputs ``[B, outputs]``. A single output is that of the second of two
            classes.
        columns: Number of the output for each class of the dataset, ``[C]``. Other outputs are left
            out.
        probabilities: Whether the outputs are probabilities, which become logits: their logarithm,
            at least -30.
    """

    columns: Tensor

    def __init__(self, net: nn.Module, columns: Sequence[int], *, probabilities: bool = False):
        super().__init__()
        self.net = net
        self.probabilities = probabilities
        # derived from the arguments, so it is not among the weights of a file
        self.register_buffer("columns", torch.tensor(list(columns)), persistent=False)

    @property
    def name(self) -> str:
        """Name of the model inside."""
        return model_name(self.net)

    def settings(self) -> dict[str, Any]:
        """Return the arguments besides the model, for ``model.json``."""
        return {"columns": self.columns.tolist(), "probabilities": self.probabilities}

    def extra_repr(self) -> str:
        """Return the arguments besides the model."""
        return f"columns={self.columns.tolist()}, probabilities={self.probabilities}"

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[B, C]`` of inputs ``[B, ...]``."""
        outputs = logits_of(self.net(x), len(x), "teacher")
        if outputs.shape[-1] == 1:  # that of the second of two classes
            first = 1 - outputs if self.probabilities else torch.zeros_like(outputs)
            outputs = torch.cat([first, outputs], -1)
        if self.probabilities:
            outputs = outputs.log().clamp_min(LOWEST_LOGIT)
        return outputs.index_select(-1, self.columns)


def map_from_settings(net: nn.Module, settings: Any) -> OutputMap:
    """Build the map around a model that a ``model.json`` describes.

    Raises:
        ValueError: If the settings are not those of :meth:`OutputMap.settings`.
    """
    columns: Any = settings.get("columns") if isinstance(settings, Mapping) else None
    is_list = isinstance(columns, list) and len(columns) > 0
    if not is_list or not all(type(column) is int and 0 <= column < 1 << 31 for column in columns):
        raise ValueError("outputs.columns should be a list of numbers of outputs")
    if not isinstance(settings.get("probabilities"), bool):
        raise ValueError("outputs.probabilities should be true or false")
    return OutputMap(net, columns, probabilities=settings["probabilities"])
