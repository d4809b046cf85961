"""A small convolutional network."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.checks import check_counts
from limbeck._base.errors import ConfigError
from limbeck.models.mlp import check_probability


class ConvNet(nn.Module):
    """3 x 3 convolutions with BatchNorm and ReLU, pooling to 3 x 3, dropout and a linear layer.

    Args:
        shape: Shape of one image, channels first.
        classes: Number of classes.
        channels: Output channels of each convolution.
        strides: Stride of each convolution, 1 or 2.
        dropout: Dropout probability of the pooled features.

    Raises:
        ConfigError: If the inputs are not images, or channels and strides do not match.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        channels: Sequence[int] = (24, 32, 48, 64, 96),
        strides: Sequence[int] = (1, 2, 1, 2, 1),
        dropout: float = 0.3,
    ):
        super().__init__()
        if len(shape) != 3:
            raise ConfigError(
                "ConvNet needs images [C, H, W], but the dataset has inputs of shape "
                f"{list(shape)}."
            )
        channels, strides = check_counts("channels", channels), check_counts("strides", strides)
        if len(channels) != len(strides) or not channels:
            raise ConfigError(
                f"channels={channels} and strides={strides} should be lists of the same "
                "length, with at least one number each."
            )
        check_probability("dropout", dropout)
        self.arguments: dict[str, Any] = {
            "shape": list(shape),
            "classes": classes,
            "channels": channels,
            "strides": strides,
            "dropout": dropout,
        }
        blocks: list[nn.Module] = []
        for wide, next_wide, stride in zip([shape[0], *channels], channels, strides, strict=False):
            blocks += [
                nn.Conv2d(wide, next_wide, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(next_wide),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*blocks).to(memory_format=torch.channels_last)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(channels[-1] * 9, classes),
        )

    @property
    def name(self) -> str:
        """Name with the channels, such as ``convnet 24-32-48``."""
        return "convnet " + "-".join(map(str, self.arguments["channels"]))

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[B, classes]`` of images ``[B, C, H, W]``, or flattened ones."""
        images = x.reshape(x.shape[0], *self.arguments["shape"]).contiguous(
            memory_format=torch.channels_last
        )
        return self.head(self.features(images))
