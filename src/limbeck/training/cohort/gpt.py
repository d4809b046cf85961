"""Stacked GPTs.

Matrix products are batched over students. Attention has no weights and treats the students as part
of the batch.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.models.gpt import GPT, Block, causal_attention, check_length
from limbeck.training.cohort.randomness import SeedStreams

_PARTS = (GPT, Block, nn.ModuleList, nn.Embedding, nn.Linear, nn.LayerNorm, nn.Dropout)
_LAYERS = ("norm1", "qkv", "out", "norm2", "up", "down")


class StackedGPT:
    """The forward pass of GPTs whose weights are stacked ``[S, A, ...]``, equal to ``vmap``.

    Args:
        model: One of the models, for sizes, dropout rate and mode (training or eval).
    """

    def __init__(self, model: GPT):
        self.model = model

    @staticmethod
    def fits(model: nn.Module) -> bool:
        """Whether a model is an unmodified GPT."""
        plain = type(model) is GPT and all(type(part) in _PARTS for part in model.modules())
        return plain and all(name.endswith(".weight") for name, _ in model.named_parameters())

    def reads(self, x: Tensor) -> bool:
        """Whether inputs are blocks of token ids ``[S, B, t]``."""
        return x.ndim == 3 and not x.is_floating_point()

    def __call__(
        self,
        weights: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: Tensor,
        streams: SeedStreams,
    ) -> Tensor:
        """Logits ``[S, A, B, t, V]`` of token ids ``[S, B, t]``.

        Args:
            weights: Weights stacked ``[S, A, ...]``, by name.
            buffers: Unused; a GPT has no buffers.
            x: Token ids, one batch per seed.
            streams: Random numbers of each seed, for dropout.

        Raises:
            ConfigError: If the blocks are longer than the model's positions.
        """
        features = self._features(weights, x, streams)
        logits = _product(features, weights["tokens.weight"], weights["norm.weight"])
        return logits.unflatten(1, x.shape[1:]).unflatten(0, weights["tokens.weight"].shape[:2])

    @property
    def _width(self) -> int:
        return self.model.tokens.embedding_dim

    def _features(self, weights: Mapping[str, Tensor], x: Tensor, streams: SeedStreams) -> Tensor:
        """Output of the last block, ``[S * A, B * t, D]``."""
        check_length(x, self.model.positions.num_embeddings)
        embedded = _embed(weights["tokens.weight"], weights["positions.weight"], x)
        features = _drop(self.model.dropout, embedded, streams).flatten(1, 2)
        for number, block in enumerate(self.model.blocks):
            own = {name: weights[f"blocks.{number}.{name}.weight"] for name in _LAYERS}
            dropout: nn.Dropout = block.dropout  # type: ignore[assignment]
            attended = _product(self._attend(own, features, x.shape[-1]), own["out"])
            features = features + _drop(dropout, attended, streams)
            wide = F.gelu(_product(features, own["up"], own["norm2"]))
            features = features + _drop(dropout, _product(wide, own["down"]), streams)
        return features

    def _attend(self, own: Mapping[str, Tensor], x: Tensor, length: int) -> Tensor:
        """Attention of each position to those before it, for features ``[K, B * t, D]``."""
        heads = self.model.arguments["heads"]
        qkv = _product(x, own["qkv"], own["norm1"]).view(-1, length, 3, heads, self._width // heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        return causal_attention(q, k, v).transpose(1, 2).reshape(x.shape)


def _drop(dropout: nn.Dropout, x: Tensor, streams: SeedStreams) -> Tensor:
    """Dropout of features ``[S * A, ...]``."""
    if not dropout.p or not dropout.training:
        return x
    factors = streams.dropout_factors(x.shape[1:], dropout.p, x)
    return (x.unflatten(0, (streams.seeds, -1)) * factors.unsqueeze(1)).flatten(0, 1)


def _embed(tokens: Tensor, positions: Tensor, x: Tensor) -> Tensor:
    """Embedding ``[S * A, B, t, D]`` of token ids.

    Args:
        tokens: Tables ``[S, A, V, D]`` of the tokens.
        positions: Tables ``[S, A, T, D]`` of the positions.
        x: Token ids ``[S, B, t]``.
    """
    seeds, arms, size = tokens.shape[:3]
    # One table for all students, in which the rows of each student start at an offset.
    offset = torch.arange(0, seeds * arms * size, size, device=x.device).view(seeds, arms, 1, 1)
    embedded = F.embedding((x.unsqueeze(1) + offset).flatten(0, 1), tokens.flatten(0, 2))
    return embedded + positions[:, :, : x.shape[-1]].flatten(0, 1).unsqueeze(1)


def _product(x: Tensor, weight: Tensor, gain: Tensor | None = None) -> Tensor:
    """Linear layers of all students, ``[K, N, out]``.

    Args:
        x: Features ``[K, N, in]``; with a gain they are normalised first.
        weight: Weights ``[S, A, out, in]``.
        gain: Gain ``[S, A, in]`` of the norm before the layer. It is applied to the
            weights, which are fewer than the features.
    """
    if gain is not None:
        x = F.layer_norm(x, (x.shape[-1],))
        weight = weight * gain.unsqueeze(2)
    return torch.bmm(x, weight.flatten(0, 1).mT)
