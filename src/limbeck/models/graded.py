"""Graded classes, one after the other on one scale: a network of one score that answers with
logits.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError


class Graded(nn.Module):
    """Regression on grades, in the form of a classifier.

    An encoder gives one score s. The logit of grade k is ``k s - (t_1 + ... + t_k)`` with
    thresholds ``t_k = k - 1/2``: neighbouring logits cross where s passes their threshold, and the
    top class is the grade nearest to s. This is the adjacent-categories model for ordinal data
    (Agresti, "Analysis of Ordinal Categorical Data", 2010) with fixed thresholds. All losses,
    stores and metrics for logits serve it.

    Args:
        encoder: gives ``[B, 1]`` or ``[B]``; or makes such a module from ``shape`` and
            ``classes=1``; or a mapping of ``builder`` and ``arguments``, as ``model.json`` keeps
            them.
        classes: number of grades.
        shape: of one input; needed where the encoder is made here.

    Raises:
        ConfigError: there are less than two grades, or the encoder cannot be made.
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
        self.encoder = _made(encoder, shape)
        self.classes = classes
        grades = torch.arange(classes, dtype=torch.float32)
        self.register_buffer(
            "intercepts", -grades.square() / 2
        )  # less the sum of the thresholds up to each grade

    @property
    def thresholds(self) -> Tensor:
        """Scores at which one grade gives way to the next, ``[classes - 1]``."""
        return -self.intercepts.diff()

    @property
    def arguments(self) -> dict[str, Any] | None:
        """What rebuilds it; None where the encoder is of a user's own class."""
        from limbeck.models.files.rebuild import describe

        inside = describe(self.encoder)
        if inside["builder"] is None:
            return None
        return {
            "classes": self.classes,
            "encoder": {key: inside[key] for key in ("builder", "arguments")},
        }

    @property
    def name(self) -> str:
        """The encoder, as in ``graded resnet18``."""
        own = getattr(self.encoder, "name", None)
        return f"graded {own if isinstance(own, str) else type(self.encoder).__name__}"

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, classes]`` of inputs ``[B, ...]``."""
        score = self.encoder(x).reshape(-1, 1)
        grades = torch.arange(self.classes, device=score.device, dtype=score.dtype)
        return score * grades + self.intercepts.to(score.dtype)


def _made(encoder: Any, shape: Any) -> nn.Module:
    if isinstance(encoder, nn.Module):
        return encoder
    if isinstance(encoder, Mapping):
        from limbeck.models.files.rebuild import BUILDERS

        return BUILDERS[encoder["builder"]](**encoder["arguments"])
    if not callable(encoder) or shape is None:
        raise ConfigError(
            f"Graded: encoder={encoder!r} should be a module, or a function of shape and classes "
            "that makes one (in a "
            "configuration: _target_ and _partial_: true)."
        )
    made = encoder(shape=shape, classes=1)
    if not isinstance(made, nn.Module):
        raise ConfigError(
            f"Graded: the encoder should be a torch.nn.Module, found {type(made).__name__}."
        )
    return made
