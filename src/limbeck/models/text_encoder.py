"""A small transformer encoder for texts."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError
from limbeck.models.blocks import check_init, start_from
from limbeck.models.gpt import check_length
from limbeck.models.mlp import check_probability
from limbeck.models.text_inputs import TextModel, mask_of, masked_mean

STD = 0.02
"""Standard deviation of initial embeddings (Devlin et al. 2019)."""


class FeatureDropout(nn.Module):
    """Dropout of features ``[B, l, D]``, the same for all tokens of a text.

    So the random numbers do not depend on the length of the batch (Gal and Ghahramani 2016).

    Args:
        p: Dropout probability.
    """

    def __init__(self, p: float):
        super().__init__()
        self.dropout = nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        """Drop features."""
        if not self.training or not self.dropout.p:
            return x
        return x * self.dropout(torch.ones_like(x[..., :1, :]))


class EncoderBlock(nn.Module):
    """Self-attention and a GELU MLP of four times the width, as pre-norm residual layers."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.dropout = FeatureDropout(dropout)

    def extra_repr(self) -> str:
        """Return the settings that cannot be seen in the weights."""
        return f"heads={self.heads}"

    def forward(self, x: Tensor, is_token: Tensor) -> Tensor:
        """Compute features ``[B, l, D]`` of features ``[B, l, D]``.

        Args:
            x: Features.
            is_token: Whether a position has a token, bool ``[B, l]``.
        """
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = (part.transpose(-3, -2) for part in qkv.unbind(-3))
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        hidden = ~is_token[..., None, None, :]
        weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(-1)
        x = x + self.dropout(self.out((weights @ v).transpose(-3, -2).flatten(-2)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))


class TextEncoder(TextModel):
    """A classifier of texts: a transformer encoder (Vaswani et al. 2017) like a small BERT.

    Position embeddings are learned, and norms come before attention and MLP. The mean of the
    features of all tokens goes to a linear layer.

    Args:
        shape: Shape of one input, ``(L,)``: the largest number of tokens of a text.
        classes: Number of classes.
        vocabulary: Number of token ids, with that of the padding.
        padding: Id of the padding at the end of texts.
        width: Number D of features of a token.
        layers: Number of blocks.
        heads: Number of attention heads, which share the width.
        dropout: Dropout probability, after the embedding and in both halves of a block. It drops
            the same features of all tokens of a text.
        init: ``teacher`` to start from the ``teacher``, an encoder of the same widths: from blocks
            that are spread evenly from its first to its last.
        teacher: Teacher.

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
        layers: int = 2,
        heads: int = 2,
        dropout: float = 0.0,
        init: str | None = None,
        teacher: nn.Module | None = None,
    ):
        check_count("layers", layers)
        check_count("heads", heads)
        if width % heads:
            raise ConfigError(
                f"width={width} should be a multiple of heads={heads}, which share it evenly."
            )
        check_probability("dropout", dropout)
        super().__init__(
            shape,
            classes,
            vocabulary=vocabulary,
            padding=padding,
            width=width,
            layers=layers,
            heads=heads,
            dropout=dropout,
        )
        self.positions = nn.Embedding(shape[0], width)
        self.dropout = FeatureDropout(dropout)
        self.blocks = nn.ModuleList([EncoderBlock(width, heads, dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        for embedding in (self.tokens, self.positions):
            nn.init.normal_(embedding.weight, std=STD)
        if check_init(init):
            start_from(self, teacher, "blocks", "head")

    @property
    def name(self) -> str:
        """Name with layers and width, such as ``encoder-2x128``."""
        return f"encoder-{self.arguments['layers']}x{self.arguments['width']}"

    def forward(self, ids: Tensor) -> Tensor:
        """Compute logits ``[B, classes]`` of token ids ``[B, l]`` (int32 or int64), ``l <= L``.

        Raises:
            ConfigError: If the texts are longer than L.
        """
        x = self.features(ids)
        return self.head(masked_mean(x, mask_of(ids, self.padding, x)))

    def features(self, ids: Tensor) -> Tensor:
        """Compute the features ``[B, l, D]`` of all tokens after the last norm."""
        check_length(ids, self.positions.num_embeddings)
        x = self.dropout(self.tokens(ids) + self.positions.weight[: ids.shape[-1]])
        for block in self.blocks:
            x = block(x, ids != self.padding)
        return self.norm(x)
