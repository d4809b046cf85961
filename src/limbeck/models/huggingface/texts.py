"""The texts of a dataset, and whether a network of transformers can read them."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from limbeck._base.errors import ConfigError


@dataclass(frozen=True)
class Texts:
    """Sizes of texts of one class each.

    Attributes:
        shape: Shape of one text, ``(L,)``.
        vocabulary: Number of token ids, with that of the padding.
        padding: Token id of the padding.
        separator: Token id after which the second text of a pair begins, if models distinguish the
            two texts by types of their tokens; None otherwise.
    """

    shape: tuple[int, ...]
    vocabulary: int
    padding: int
    separator: int | None = None

    @property
    def ids(self) -> int:
        """Number of token ids that a model has to know.

        A padding beyond the other ids is replaced by that of the model.
        """
        return self.vocabulary - 1 if self.padding == self.vocabulary - 1 else self.vocabulary

    def types(self, ids: Tensor) -> Tensor | None:
        """Return the types of tokens ``[B, l]``: 1 in the second text of a pair; None without.

        Args:
            ids: Token ids ``[B, l]``.
        """
        if self.separator is None:
            return None
        is_end = (ids == self.separator).long()
        is_second = is_end.cumsum(-1) - is_end > 0
        return (is_second & (ids != self.padding)).long()

    def sizes(self) -> dict[str, int]:
        """Return the settings of a new network for these texts."""
        return {
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.shape[0],
            "pad_token_id": self.padding,
        }

    def fit(self, config: Any, where: str) -> None:
        """Check the vocabulary of a network, and set the token by which it pads if it has none.

        Args:
            config: Configuration of transformers.
            where: Origin of the network, for messages.

        Raises:
            ConfigError: If the vocabulary is smaller than that of the texts, or there is no token
                for padding.
        """
        text = config.get_text_config()
        if text.vocab_size < self.ids:
            raise ConfigError(
                f"{where}: the model's vocabulary has {text.vocab_size:,} entries but the data's "
                f"has {self.ids:,}. Read the data with the model's own tokenizer "
                "(data.tokenizer=FOLDER), or choose another model."
            )
        for token in (text.pad_token_id, self.padding, text.eos_token_id):
            if isinstance(token, int) and 0 <= token < text.vocab_size:
                text.pad_token_id = token
                return
        raise ConfigError(
            f"{where}: the model has no token to pad texts with. Set pad_token_id in its "
            "config.json, or choose another model."
        )


def check_length(net: nn.Module, where: str, length: int) -> None:
    """Check that texts are not longer than the positions of a network.

    Args:
        net: Network of transformers.
        where: Origin of the network, for messages.
        length: Number of tokens of the longest text.

    Raises:
        ConfigError: If they are.
    """
    config: Any = net.config
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(positions, int):
        return
    for layer in net.modules():
        # RoBERTa counts positions from the one after its padding
        if not isinstance(layer, nn.Embedding) or layer.padding_idx is None:
            continue
        if layer.num_embeddings == positions:
            positions -= layer.padding_idx + 1
            break
    if positions < length:
        raise ConfigError(
            f"{where}: texts of {length} tokens are longer than the model's {positions} positions. "
            f"Set data.length={positions} or less, or choose another model."
        )
