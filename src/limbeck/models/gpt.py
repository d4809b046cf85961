"""A small GPT: a decoder-only transformer that predicts the next token."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError
from limbeck.models.mlp import check_probability
from limbeck.models.protocols import LastLayer

STD = 0.02
"""Standard deviation of initial embeddings (Radford et al. 2019)."""
MAX_PLAIN_LENGTH = 512
"""Longest block for which attention is computed with plain matrix products, in bfloat16 on a CPU,
where the gradient of PyTorch's attention is slow.
"""


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute causal scaled dot-product attention (Vaswani et al. 2017).

    A position attends to itself and to earlier positions.

    Args:
        q: Queries, ``[B, H, t, d]``.
        k: Keys, ``[B, H, t, d]``.
        v: Values, ``[B, H, t, d]``.

    Returns:
        ``[B, H, t, d]``.
    """
    length = q.shape[-2]
    if q.dtype is not torch.bfloat16 or q.device.type != "cpu" or length > MAX_PLAIN_LENGTH:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    shape, (q, k, v) = q.shape, (part.flatten(0, 1) for part in (q, k, v))
    later = torch.full((length, length), -math.inf, dtype=q.dtype).triu(1)
    scores = torch.baddbmm(later.expand(len(q), -1, -1), q, k.mT, alpha=1 / math.sqrt(shape[-1]))
    return torch.bmm(scores.softmax(-1), v).view(shape)


class Block(nn.Module):
    """Causal self-attention and a GELU MLP of four times the width, as pre-norm residual layers."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def extra_repr(self) -> str:
        """Return the settings that cannot be seen in the weights."""
        return f"heads={self.heads}"

    def forward(self, x: Tensor) -> Tensor:
        """Compute features ``[B, t, D]`` of features ``[B, t, D]``."""
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        x = x + self.dropout(self.out(causal_attention(q, k, v).transpose(1, 2).flatten(2)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))


class GPT(nn.Module):
    """A decoder-only transformer (Vaswani et al. 2017) like GPT-2 (Radford et al. 2019).

    It has no biases. Position embeddings are learned, norms come before attention and MLP, and the
    last layer shares its weights with the token embedding (Press and Wolf 2017).

    Args:
        shape: Shape of one input, ``(T,)``: the length of a block in tokens.
        classes: Size V of the vocabulary.
        width: Number D of features per token.
        layers: Number of blocks.
        heads: Number of attention heads, which share the width.
        dropout: Dropout probability, after the embedding and in both halves of a block.

    Raises:
        ConfigError: If the inputs are not blocks of tokens, or a size is out of range.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        width: int = 64,
        layers: int = 2,
        heads: int = 2,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_tokens("GPT", shape, classes)
        check_count("width", width)
        check_count("layers", layers)
        check_count("heads", heads)
        if width % heads:
            raise ConfigError(
                f"width={width} should be a multiple of heads={heads}, which share it evenly."
            )
        check_probability("dropout", dropout)
        self.arguments: dict[str, Any] = {
            "shape": list(shape),
            "classes": classes,
            "width": width,
            "layers": layers,
            "heads": heads,
            "dropout": dropout,
        }
        self.tokens = nn.Embedding(classes, width)
        self.positions = nn.Embedding(shape[0], width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList([Block(width, heads, dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(width, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        """Draw weights from normal distributions.

        The variance preserves the variance of the inputs (LeCun et al. 1998), because small models
        learn several times more slowly with GPT-2's standard deviation of 0.02. It is smaller for
        weights whose output is added to the residual stream (Radford et al. 2019).
        """
        for name, weight in self.named_parameters():
            if name.startswith("blocks.") and weight.ndim == 2:
                is_residual = name.endswith(("out.weight", "down.weight"))
                layers = 2 * len(self.blocks) if is_residual else 1
                nn.init.normal_(weight, std=1 / math.sqrt(weight.shape[1] * layers))
            elif weight.ndim == 2:
                nn.init.normal_(weight, std=STD)

    @property
    def name(self) -> str:
        """Name with layers and width, such as ``gpt-2x64``."""
        return f"gpt-{self.arguments['layers']}x{self.arguments['width']}"

    def last_layer(self) -> LastLayer:
        """Return the last layer: logits are ``hidden(ids) @ weight.T``."""
        return LastLayer(self.tokens.weight, None)

    def forward(self, ids: Tensor) -> Tensor:
        """Compute logits ``[B, t, V]`` of token ids ``[B, t]`` (int32 or int64), ``t <= T``.

        The logits at position i predict token i + 1.

        Raises:
            ConfigError: If the block is longer than T.
        """
        return F.linear(self.hidden(ids), self.tokens.weight)

    def hidden(self, ids: Tensor) -> Tensor:
        """Compute the features ``[B, t, D]`` before the last layer, of token ids ``[B, t]``."""
        check_length(ids, self.positions.num_embeddings)
        x = self.dropout(self.tokens(ids) + self.positions.weight[: ids.shape[-1]])
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def check_tokens(name: str, shape: Sequence[int], classes: int) -> None:
    """Check that a dataset's inputs are blocks of tokens.

    Raises:
        ConfigError: If they are not.
    """
    if len(shape) != 1 or not _is_count(shape[0]):
        raise ConfigError(
            f"{name} needs blocks of tokens [T], but the dataset has inputs of shape "
            f"{list(shape)}. Choose text (data=text) or another model."
        )
    if not _is_count(classes):
        raise ConfigError(
            f"classes={classes!r} should be a whole number of at least 1, the size of the "
            "vocabulary."
        )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def check_length(ids: Tensor, positions: int) -> None:
    """Check that blocks ``[..., t]`` are not longer than a model's positions.

    Raises:
        ConfigError: If they are longer.
    """
    if ids.shape[-1] > positions:
        raise ConfigError(
            f"A block of {ids.shape[-1]} tokens is longer than the model's {positions} positions. "
            "Shorten it, or build the model for longer ones (data.block, for texts data.length)."
        )
