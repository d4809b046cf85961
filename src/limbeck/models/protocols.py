"""Protocols of models that offer more than logits."""

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class LastLayer(NamedTuple):
    """A linear layer from features to logits.

    Attributes:
        weight: Weight, ``[V, D]``.
        bias: Bias, ``[V]``; None if there is none.
    """

    weight: Tensor
    bias: Tensor | None


@runtime_checkable
class HasLastLayer(Protocol):
    """A language model whose logits are ``hidden(ids) @ weight.T + bias``.

    For such models, also your own, training computes the logits of large vocabularies in chunks.
    """

    def last_layer(self) -> LastLayer | None:
        """Return the last layer; None if logits are something else, such as scaled or capped."""

    def hidden(self, ids: Tensor) -> Tensor:
        """Compute the features ``[B, t, D]`` before the last layer, of token ids ``[B, t]``."""
