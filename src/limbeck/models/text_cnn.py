"""A convolutional network for texts."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck._base.checks import check_count, check_counts
from limbeck._base.errors import ConfigError
from limbeck.models.bag import STD
from limbeck.models.mlp import check_probability
from limbeck.models.text_inputs import TextModel, mask_of


class TextCNN(TextModel):
    """A classifier of texts that looks for phrases of a few tokens (Kim 2014).

    Convolutions of several sizes slide over the embeddings of the tokens. The largest output of
    each channel in a text goes to a linear layer.

    Args:
        shape: Shape of one input, ``(L,)``: the largest number of tokens of a text.
        classes: Number of classes.
        vocabulary: Number of token ids, with that of the padding.
        padding: Id of the padding at the end of texts.
        width: Number D of features of a token.
        channels: Number of output channels of each convolution.
        sizes: Number of tokens that each convolution covers.
        dropout: Dropout probability of the features before the last layer.

    Raises:
        ConfigError: If the inputs are not texts, or if a number is out of range.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        vocabulary: int = 0,
        padding: int = 0,
        width: int = 128,
        channels: int = 128,
        sizes: Sequence[int] = (2, 3, 4),
        dropout: float = 0.0,
    ):
        check_count("channels", channels)
        check_probability("dropout", dropout)
        sizes = check_counts("sizes", sizes)
        if not sizes or len(set(sizes)) < len(sizes):
            raise ConfigError(f"sizes={sizes} should list at least one number, each once.")
        super().__init__(
            shape,
            classes,
            vocabulary=vocabulary,
            padding=padding,
            width=width,
            channels=channels,
            sizes=sizes,
            dropout=dropout,
        )
        nn.init.normal_(self.tokens.weight, std=STD)
        self.convolutions = nn.ModuleList([nn.Conv1d(width, channels, size) for size in sizes])
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels * len(sizes), classes)

    @property
    def name(self) -> str:
        """Name with the number of channels and the sizes, such as ``text-cnn-128x2-3-4``."""
        sizes = "-".join(map(str, self.arguments["sizes"]))
        return f"text-cnn-{self.arguments['channels']}x{sizes}"

    def forward(self, ids: Tensor) -> Tensor:
        """Compute logits ``[B, classes]`` of token ids ``[B, l]`` (int32 or int64), ``l <= L``."""
        x = self.tokens(ids)
        mask = mask_of(ids, self.padding, x)
        x, mask = (x * mask).transpose(-2, -1), mask.transpose(-2, -1)
        features = []
        for convolution, size in zip(self.convolutions, self.arguments["sizes"], strict=True):
            # The outputs are at the last token of each phrase. After ReLU none is below those of
            # the padding, which are set to 0.
            outputs = F.relu(convolution(F.pad(x, (size - 1, 0)))) * mask
            features.append(outputs.amax(-1))
        return self.head(self.dropout(torch.cat(features, -1)))
