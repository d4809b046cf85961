"""Regression on grades, in the form of a classifier."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck.models.builders import BUILDERS, describe_network


class Graded(nn.Module):
    """Regression on grades, in the form of a classifier.

    An encoder outputs one score s. The logit of grade k is ``k s - (t_1 + ... + t_k)`` with
    thresholds ``t_k = k - 1/2``: neighbouring logits are equal where s is at their threshold, so
    the top class is the grade nearest to s. This is the adjacent-categories model for ordinal data
    (Agresti, "Analysis of Ordinal Categorical Data", 2010) with fixed thresholds. All losses,
    stores and metrics for logits apply to it.

    Args:
        encoder: Module that returns ``[B, 1]`` or ``[B]``; or a function that creates such a module
            from ``shape`` and ``classes=1``; or a mapping of ``builder`` and ``arguments``, as in
            ``model.json``.
        classes: Number of grades.
        shape: Shape of one input; needed if ``encoder`` is a function.

    Raises:
        ConfigError: If there are fewer than two grades, or the encoder cannot be created.
    """

    intercepts: Tensor

    def __init__(
        self,
        encoder: nn.Module | Callable[..., nn.Module] | Mapping[str, Any],
        classes: int,
        *,
        shape: Any = None,
    ):
        super().__init__()
        if classes < 2:
            raise ConfigError(f"Graded needs at least two grades, but the dataset has {classes}.")
        self.encoder = _build_encoder(encoder, shape)
        self.classes = classes
        grades = torch.arange(classes, dtype=torch.float32)
        # each entry is minus the sum of the thresholds up to that grade
        self.register_buffer("intercepts", -grades.square() / 2)

    @property
    def thresholds(self) -> Tensor:
        """Scores between neighbouring grades, ``[classes - 1]``."""
        return -self.intercepts.diff()

    @property
    def arguments(self) -> dict[str, Any] | None:
        """Arguments that rebuild the model; None if the encoder is a user's own class."""
        encoder = describe_network(self.encoder)
        if encoder is None:
            return None
        return {"classes": self.classes, "encoder": encoder}

    @property
    def name(self) -> str:
        """Name with the name of the encoder, such as ``graded resnet18``."""
        name = getattr(self.encoder, "name", None)
        if not isinstance(name, str):
            name = type(self.encoder).__name__
        return f"graded {name}"

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[B, classes]`` of inputs ``[B, ...]``."""
        score = self.encoder(x).reshape(-1, 1)
        grades = torch.arange(self.classes, device=score.device, dtype=score.dtype)
        return score * grades + self.intercepts.to(score.dtype)


def _build_encoder(encoder: Any, shape: Any) -> nn.Module:
    if isinstance(encoder, nn.Module):
        return encoder
    if isinstance(encoder, Mapping):
        return BUILDERS[encoder["builder"]](**encoder["arguments"])
    if not callable(encoder) or shape is None:
        raise ConfigError(
            f"Graded: encoder={encoder!r} should be a module, or a function of shape and classes "
            "that creates one (in a configuration: _target_ and _partial_: true)."
        )
    module = encoder(shape=shape, classes=1)
    if not isinstance(module, nn.Module):
        raise ConfigError(
            f"Graded: the encoder should be a torch.nn.Module, found {type(module).__name__}."
        )
    return module
