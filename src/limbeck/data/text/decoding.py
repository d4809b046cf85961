"""Texts of token ids."""

import numpy as np
from torch import Tensor

from limbeck.data.text.tokenizer import Tokenizer


def decode_texts(ids: Tensor, tokenizer: Tokenizer) -> list[str]:
    """Return the texts of token ids, without padding and special tokens.

    The texts of a pair are joined by a space. Texts that were cut stay cut, and tokenizers that
    change a text, for example to lower case, return the changed text.

    Args:
        ids: Token ids ``[N, L]``.
        tokenizer: Tokenizer of the texts.
    """
    is_text = np.zeros(tokenizer.padded_size, dtype=bool)
    is_text[: tokenizer.size] = tokenizer.lengths > 0
    is_text[tokenizer.padding] = False
    texts = []
    for row in ids.cpu().numpy():
        cuts = np.flatnonzero(~is_text[row])
        parts = [part[is_text[part]] for part in np.split(row, cuts)]
        texts.append(" ".join(tokenizer.decode(part) for part in parts if len(part)))
    return texts
