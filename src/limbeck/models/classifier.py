"""An encoder of any origin and a linear layer on its features."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck.models.zoo import LIBRARIES

HEADS = ("fc", "classifier", "heads", "head")
"""Where models of torchvision keep what turns features into classes."""


class Classifier(nn.Module):
    """Features of an encoder, then one score a class.

    Args:
        encoder: ``torchvision/NAME`` or ``timm/NAME``; a model of either library, whose last layer
            is taken off; or a module of your own that gives features ``[B, F]``, or maps ``[B, F,
            H, W]``, which are averaged.
        classes: number of scores.
        shape: of one input; needed to make an encoder by name and to find out the number of
            features.
        features: F, if known; None to find out by one empty input.
        pretrained: of an encoder by name: begin with its weights for ImageNet.
        stem: of an encoder by name: ``auto``, ``small`` or ``imagenet``, see
            :class:`~limbeck.models.TorchvisionModel`.

    Raises:
        ConfigError: the encoder is unknown, cannot read inputs of that shape, or gives no features.
        ResourceError: pretrained weights could not be downloaded.
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
            encoder = _named(encoder, shape, pretrained, stem)
        self.encoder = _without_head(encoder)
        self.head = nn.Linear(self._width(shape) if features is None else features, classes)

    @property
    def name(self) -> str:
        """The encoder, as in ``resnet18 + linear``."""
        known = (
            self.arguments["encoder"].partition("/")[2]
            if self.arguments
            else type(self.encoder).__name__
        )
        return f"{known} + linear"

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, classes]`` of inputs ``[B, *shape]``."""
        return self.head(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Features ``[B, F]`` of inputs ``[B, *shape]``."""
        found = self.encoder(x)
        return found.mean((2, 3)) if found.ndim == 4 else found

    @torch.no_grad()
    def _width(self, shape: Sequence[int]) -> int:
        """The number of features that one empty input gives."""
        modes = [(part, part.training) for part in self.encoder.modules()]
        name = type(self.encoder).__name__
        first = next(self.encoder.parameters(), torch.empty(0))
        self.encoder.eval()  # one input has no batch statistics, and must not move them
        try:
            found = self.features(torch.zeros(1, *shape, device=first.device, dtype=first.dtype))
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise ConfigError(
                f"The encoder {name} cannot read inputs of shape {list(shape)} "
                f"({str(error).splitlines()[0]}). Give "
                "the shape that it takes, or the number of its features."
            ) from None
        finally:
            for part, training in modes:
                part.training = training
        if found.ndim != 2 or len(found) != 1:
            raise ConfigError(
                f"The encoder {name} gives {list(found.shape)} for one input; features [1, F] or "
                "maps [1, F, H, W] "
                "were expected."
            )
        return found.shape[1]


def _named(name: str, shape: Sequence[int], pretrained: bool, stem: str) -> nn.Module:
    library, _, model = name.partition("/")
    if library not in LIBRARIES or not model:
        raise ConfigError(
            f"encoder={name!r} should be torchvision/NAME or timm/NAME, or a module of your own."
        )
    return LIBRARIES[library](shape, 1000, name=model, pretrained=pretrained, stem=stem)


def _without_head(encoder: nn.Module) -> nn.Module:
    """A model of torchvision or timm without its last layer; any other module as it is."""
    if isinstance(encoder, tuple(LIBRARIES.values())):
        encoder.net = _without_head(encoder.get_submodule("net"))
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
