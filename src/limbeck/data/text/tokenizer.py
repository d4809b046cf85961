"""Tokenizers, and the number of bytes of text that each token id encodes."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import final

import numpy as np

from limbeck._base.reading import parse_json

Text = tuple[str, ...]
"""A text, or two texts that belong together."""
_PARTS_OF_DEFINITION = ("added_tokens", "normalizer", "pre_tokenizer", "decoder", "model")


class Tokenizer(ABC):
    """Conversion of text to token ids and back.

    Attributes:
        name: Name for tables, such as ``bytes`` or ``bpe-4096``.
        names: Name of each token, unique, by id.
        lengths: Number of bytes of UTF-8 text that each id encodes, int64 ``[size]``; 0 for
            special tokens.
        definition: JSON that describes the tokenizer completely.
    """

    name: str
    names: list[str]
    lengths: np.ndarray
    definition: str

    @property
    def file(self) -> str | None:
        """Content of an equivalent ``tokenizer.json`` for transformers; None if there is none."""
        return None

    @property
    def size(self) -> int:
        """Number of entries of the vocabulary."""
        return len(self.names)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the parts that determine the token ids, in hexadecimal.

        It does not depend on the layout of the file.
        """
        content = parse_json(self.definition)
        parts = {key: content.get(key) for key in _PARTS_OF_DEFINITION}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def padding(self) -> int:
        """Id that pads the shorter texts of a batch, and occurs in no text."""
        return self.size

    @property
    def separator(self) -> int | None:
        """Id of the token after which the second text of a pair begins.

        None if models do not distinguish the two by their types.
        """
        return None

    @property
    def padded_size(self) -> int:
        """Number of ids with that of the padding, which is the number of embeddings of a model."""
        return max(self.size, self.padding + 1)

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """Return the token ids of a text, int32 ``[n]``.

        Special tokens are neither added nor recognised in the text.
        """

    @abstractmethod
    def encode_texts(self, texts: Sequence[Text], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the token ids of texts that are classified, padded or cut to a length.

        The special tokens that a tokenizer adds, such as those before, between and after texts,
        are part of it.

        Args:
            texts: Texts, or pairs of them.
            length: Number L of tokens.

        Returns:
            Ids, int32 ``[n, L]``, and whether each text is cut, bool ``[n]``.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of token ids. Bytes that are not UTF-8 become U+FFFD."""


@final
class ByteTokenizer(Tokenizer):
    """The 256 bytes of UTF-8 as tokens, with their values as ids."""

    name = "bytes"
    definition = json.dumps({"model": {"type": "bytes"}})

    def __init__(self) -> None:
        self.names = [chr(byte) if 0x20 < byte < 0x7F else f"0x{byte:02x}" for byte in range(256)]
        self.lengths = np.ones(256, dtype=np.int64)

    def encode(self, text: str) -> np.ndarray:
        """Return the bytes of a text, int32 ``[n]``."""
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    def encode_texts(self, texts: Sequence[Text], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the bytes of texts, with a byte 0 between those of a pair."""
        encoded = [b"\0".join(part.encode() for part in text) for text in texts]
        rows = np.full((len(texts), length), self.padding, np.int32)
        for row, content in zip(rows, encoded, strict=True):
            row[: len(content)] = np.frombuffer(content[:length], np.uint8)
        return rows, np.array([len(content) > length for content in encoded], dtype=bool)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of bytes. Bytes that are not UTF-8 become U+FFFD."""
        return bytes(np.asarray(ids).tolist()).decode(errors="replace")
