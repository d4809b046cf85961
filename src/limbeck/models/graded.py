"""Regression on grades, in the form of a classifier."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck.models.builders import BUILDERS, describe_network


class Graded(nn.Module):
    """Regression on grades, in the form of a classifier.

    An encoder gives one score s. The logit of grade k is ``k s - (t_1 + ... + t_k)`` with
    thresholds ``t_k = k - 1/2``: neighbouring logits cross where s passes their threshold, and the
    top class is the grade nearest to s. This is the adjacent-categories model for ordinal data
    (Agresti, "Analysis of Ordinal Categorical Data", 2010) with fixed thresholds. All losses,
    stores and metrics for logits apply to it.

    Args:
        encoder: Module that gives ``[B, 1]`` or ``[B]``; or a function that makes such a module
            from ``shape`` and ``classes=1``; or a mapping of ``builder`` and ``arguments``, as
            ``model.json`` holds them.
        classes: Number of grades.
        shape: Shape of one input; needed if the encoder is made here.

    Raises:
        ConfigError: If there are less than two grades, or the encoder cannot be made.
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
            raise ConfigError(f"Graded needs at least two grades; the data has {classes}.")
        self.encoder = _build_encoder(encoder, shape)
        self.classes = classes
        grades = torch.arange(classes, dtype=torch.float32)
        # minus the sum of the thresholds up to each grade
        self.register_buffer("intercepts", -grades.square() / 2)

    @property
    def thresholds(self) -> Tensor:
        """Scores at which one grade gives way to the next, ``[classes - 1]``."""
        return -self.intercepts.diff()

    @property
    def arguments(self) -> dict[str, Any] | None:
        """Arguments that rebuild the model; None if the encoder is of a user's own class."""
        encoder = describe_network(self.encoder)
        if encoder is None:
            return None
        return {"classes": self.classes, "encoder": encoder}

    @property
    def name(self) -> str:
        """Name of the encoder, as in ``graded resnet18``."""
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
            "that makes one (in a configuration: _target_ and _partial_: true)."
        )
    module = encoder(shape=shape, classes=1)
    if not isinstance(module, nn.Module):
        raise ConfigError(
            f"Graded: the encoder should be a torch.nn.Module, found {type(module).__name__}."
        )
    return module
