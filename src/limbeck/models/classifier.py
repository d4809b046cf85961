"""A linear classifier on the features of an encoder."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck.models.eval_mode import eval_mode
from limbeck.models.zoo import LIBRARIES

HEADS = ("fc", "classifier", "heads", "head")
"""Names of the layers that turn features into classes in models of torchvision."""


class Classifier(nn.Module):
    """An encoder and a linear layer on its features.

    Args:
        encoder: ``torchvision/NAME`` or ``timm/NAME``; or a model of either library, whose last
            layer is removed; or your own module that returns features ``[B, F]``, or maps
            ``[B, F, H, W]``, which are averaged.
        classes: Number of classes.
        shape: Shape of one input; needed for an encoder by name, and to infer the number of
            features.
        features: Number F of features; None to infer it with an input of zeros.
        pretrained: Whether an encoder by name starts from its ImageNet weights.
        stem: Stem of an encoder by name: ``auto``, ``small`` or ``imagenet``, see
            :class:`~limbeck.models.TorchvisionModel`.

    Raises:
        ConfigError: If the encoder is unknown, cannot read inputs of that shape, or returns no
            features.
        ResourceError: If pretrained weights could not be downloaded.
    """

    def __init__(
        self,
        encoder: str | nn.Module,
        classes: int,
        *,
        shape: Sequence[int] = (3, 224, 224),
        features: int | None = None,
        pretrained: bool = False,
        stem: str = "auto",
    ):
        super().__init__()
        self.arguments: dict[str, Any] | None = None
        if isinstance(encoder, str):
            self.arguments = {
                "encoder": encoder,
                "classes": classes,
                "shape": list(shape),
                "stem": stem,
            }
            encoder = _library_model(encoder, shape, pretrained, stem)
        self.encoder = _remove_head(encoder)
        self.head = nn.Linear(
            self._count_features(shape) if features is None else features, classes
        )

    @property
    def name(self) -> str:
        """Name of the encoder, as in ``resnet18 + linear``."""
        name = type(self.encoder).__name__
        if self.arguments:
            name = self.arguments["encoder"].partition("/")[2]
        return f"{name} + linear"

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[B, classes]`` of inputs ``[B, *shape]``."""
        return self.head(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Compute features ``[B, F]`` of inputs ``[B, *shape]``."""
        features = self.encoder(x)
        return features.mean((2, 3)) if features.ndim == 4 else features

    @torch.no_grad()
    def _count_features(self, shape: Sequence[int]) -> int:
        """Return the number of features for an input of zeros."""
        name = type(self.encoder).__name__
        first = next(self.encoder.parameters(), torch.empty(0))
        # a single input has no batch statistics, and must not change the running statistics
        zeros = torch.zeros(1, *shape, device=first.device, dtype=first.dtype)
        try:
            with eval_mode(self.encoder):
                features = self.features(zeros)
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise ConfigError(
                f"The encoder {name} cannot read inputs of shape {list(shape)} "
                f"({str(error).splitlines()[0]}). Set shape to the input shape of the encoder, or "
                "set features."
            ) from None
        if features.ndim != 2 or len(features) != 1:
            raise ConfigError(
                f"The encoder {name} returns {list(features.shape)} for one input; expected "
                "features [1, F] or maps [1, F, H, W]."
            )
        return features.shape[1]


def _library_model(name: str, shape: Sequence[int], pretrained: bool, stem: str) -> nn.Module:
    library, _, model = name.partition("/")
    if library not in LIBRARIES or not model:
        raise ConfigError(
            f"encoder={name!r} should be torchvision/NAME or timm/NAME, or your own module."
        )
    return LIBRARIES[library](shape, 1000, name=model, pretrained=pretrained, stem=stem)


def _remove_head(encoder: nn.Module) -> nn.Module:
    """Remove the last layer of a torchvision or timm model; other modules are not changed."""
    if isinstance(encoder, tuple(LIBRARIES.values())):
        encoder.net = _remove_head(encoder.get_submodule("net"))
    elif type(encoder).__module__.startswith("timm."):
        encoder.reset_classifier(0)  # type: ignore[operator]
    elif type(encoder).__module__.startswith("torchvision.models."):
        for name in HEADS:
            head = getattr(encoder, name, None)
            if isinstance(head, nn.Linear):
                setattr(encoder, name, nn.Identity())
            elif isinstance(head, nn.Sequential) and len(head) and isinstance(head[-1], nn.Linear):
                head[-1] = nn.Identity()
            elif type(encoder).__name__ == "SqueezeNet" and name == "classifier":
                setattr(encoder, name, nn.AdaptiveAvgPool2d(1))  # its head is a convolution
    return encoder
