"""Stacked GPTs: the products of all students at once; attention, which has no weights, over all
their samples.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.models.gpt import GPT, Block, causal_attention, check_length

_PARTS = (GPT, Block, nn.ModuleList, nn.Embedding, nn.Linear, nn.LayerNorm, nn.Dropout)
_LAYERS = ("norm1", "qkv", "out", "norm2", "up", "down")


class StackedGPT:
    """The forward of GPTs whose weights are stacked ``[S, A, ...]``, the same numbers as ``vmap``
    gives.

    Args:
        model: one of them, for sizes, the share of dropout, and whether it is in training.
    """

    def __init__(self, model: GPT):
        self.model = model

    @staticmethod
    def fits(model: nn.Module) -> bool:
        """Whether a model is a GPT as it was made, no part exchanged."""
        plain = type(model) is GPT and all(type(part) in _PARTS for part in model.modules())
        return plain and all(name.endswith(".weight") for name, _ in model.named_parameters())

    def reads(self, x: Tensor) -> bool:
        """Whether inputs are blocks of token ids ``[S, B, t]``."""
        return x.ndim == 3 and not x.is_floating_point()

    def __call__(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor
    ) -> Tensor:
        """Logits ``[S, A, B, t, V]`` of token ids ``[S, B, t]``.

        Args:
            weights: stacked ``[S, A, ...]``, by name.
            buffers: none.
            x: one batch a seed.

        Raises:
            ConfigError: the blocks are longer than the model's positions.
        """
        logits = _product(
            self._features(weights, x), weights["tokens.weight"], weights["norm.weight"]
        )
        return logits.unflatten(1, x.shape[1:]).unflatten(0, weights["tokens.weight"].shape[:2])

    def hidden(self, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Features ``[S, A, B, t, D]`` before the last layer; its weights are those of the
        embedding.
        """
        features = F.layer_norm(self._features(weights, x), (self._width,))
        grid = weights["norm.weight"].shape[:2]
        return (
            features.unflatten(1, x.shape[1:]).unflatten(0, grid)
            * weights["norm.weight"][:, :, None, None]
        )

    @property
    def _width(self) -> int:
        return self.model.tokens.embedding_dim

    def _features(self, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """What leaves the last block, ``[S * A, B * t, D]``."""
        check_length(x, self.model.positions.num_embeddings)
        embedded = _embedded(weights["tokens.weight"], weights["positions.weight"], x)
        found = _dropped(self.model.dropout, embedded).flatten(1, 2)
        for number, block in enumerate(self.model.blocks):
            own = {name: weights[f"blocks.{number}.{name}.weight"] for name in _LAYERS}
            attended = _product(self._attended(own, found, x.shape[-1]), own["out"])
            found = found + _dropped(block.dropout, attended)  # type: ignore[arg-type]
            wide = F.gelu(_product(found, own["up"], own["norm2"]))
            found = found + _dropped(block.dropout, _product(wide, own["down"]))  # type: ignore[arg-type]
        return found

    def _attended(self, own: Mapping[str, Tensor], x: Tensor, length: int) -> Tensor:
        """What each position gathers from those before it, ``[K, B * t, D]``, of features of that
        shape.
        """
        heads = self.model.arguments["heads"]
        qkv = _product(x, own["qkv"], own["norm1"]).view(-1, length, 3, heads, self._width // heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        return causal_attention(q, k, v).transpose(1, 2).reshape(x.shape)


def _dropped(dropout: nn.Dropout, x: Tensor) -> Tensor:
    return F.dropout(x, dropout.p) if dropout.p and dropout.training else x


def _embedded(tokens: Tensor, positions: Tensor, x: Tensor) -> Tensor:
    """Features ``[S * A, B, t, D]`` of ids ``[S, B, t]`` by tables ``[S, A, V, D]`` and ``[S, A, T,
    D]``.
    """
    seeds, arms, size = tokens.shape[:3]
    # One table for all students, in which each finds its own part.
    first = torch.arange(0, seeds * arms * size, size, device=x.device).view(seeds, arms, 1, 1)
    found = F.embedding((x.unsqueeze(1) + first).flatten(0, 1), tokens.flatten(0, 2))
    return found + positions[:, :, : x.shape[-1]].flatten(0, 1).unsqueeze(1)


def _product(x: Tensor, weight: Tensor, gain: Tensor | None = None) -> Tensor:
    """``[K, N, out]`` of features ``x [K, N, in]`` and ``weight [S, A, out, in]``.

    Args:
        x: features; with a gain they are normalised first.
        weight: of a linear layer.
        gain: of the norm before it, ``[S, A, in]``: multiplied with the few weights, not with the
            many features.
    """
    if gain is not None:
        x = F.layer_norm(x, (x.shape[-1],))
        weight = weight * gain.unsqueeze(2)
    return torch.bmm(x, weight.flatten(0, 1).mT)
