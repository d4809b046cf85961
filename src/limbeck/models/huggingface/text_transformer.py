"""What models of whole texts of transformers have in common: tokens, padding and embeddings."""

import torch
from torch import Tensor

from limbeck.models.huggingface.base import TransformersModel
from limbeck.models.huggingface.texts import Texts


class TextTransformer(TransformersModel):
    """A network of transformers that reads whole texts, padded at their end.

    Attributes:
        texts: Texts of the data.
        padding: Token id of the padding in the data.
    """

    texts: Texts
    padding: int

    @property
    def padded(self) -> int:
        """Number of vocabulary entries beyond those of the data."""
        return max(0, self.net.config.get_text_config().vocab_size - self.texts.ids)

    def token_embeddings(self) -> Tensor:
        """Return the embeddings ``[V, D]`` of the token ids of the data; 0 for a padding beyond."""
        weight = self.net.get_input_embeddings().weight.detach()
        table = weight.new_zeros(self.texts.vocabulary, weight.shape[1])
        count = min(len(table), len(weight))
        table[:count] = weight[:count]
        return table

    def _mask_padding(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's token ids and its attention mask (bool), both ``[B, l]``."""
        is_token = ids != self.padding
        tokens = torch.where(is_token, ids, self.net.config.get_text_config().pad_token_id).long()
        # attention to nothing would not be finite
        is_first = torch.arange(ids.shape[-1], device=ids.device) == 0
        return tokens, is_token | is_first
