"""Protocols of models that offer more than logits, or have files of their own."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

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


class CustomFiles(ABC):
    """A base class of models that are saved in the format of another library.

    It is no protocol, since classes of users may happen to have methods of these names.
    """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and further files into an existing folder, atomically."""

    @abstractmethod
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Load weights by their names in the files.

        Raises:
            RuntimeError: If names or shapes do not match; the message has one line for each, after
                a heading.
        """

    @abstractmethod
    def extra_facts(self) -> dict[str, Any]:
        """Return facts for ``model.json`` in addition to builder and arguments."""
