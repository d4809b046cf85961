"""Tokenizers, and the number of bytes of text that each token id encodes."""

import hashlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, final

import numpy as np

from limbeck._base.bundle_runtime import open_file
from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError, DataError
from limbeck._base.reading import parse_json
from limbeck._base.tokenizer_calls import call_tokenizer, largest_id
from limbeck.data.text.tokenizer_limits import PROBE, check_growth

FILE = "tokenizer.json"
MAX_FILE_BYTES = 1 << 26
MAX_TOKENS = 1 << 20
VOCABULARY_RANGE = (257, 1 << 17)
"""Smallest and largest vocabulary to train: all bytes and one pair, and more than tokenizers in
practice have."""
_PIECE = 4096
_PARTS_OF_DEFINITION = ("added_tokens", "normalizer", "pre_tokenizer", "decoder", "model")
_ONE_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_SENTENCEPIECE_SPACE = "\u2581"


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
    def padded_size(self) -> int:
        """Number of ids with that of the padding, which is the number of embeddings of a model."""
        return max(self.size, self.padding + 1)

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """Return the token ids of a text, int32 ``[n]``.

        Special tokens are neither added nor recognised in the text.
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

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of bytes. Bytes that are not UTF-8 become U+FFFD."""
        return bytes(np.asarray(ids).tolist()).decode(errors="replace")


@final
class BPETokenizer(Tokenizer):
    """A tokenizer of Hugging Face's package ``tokenizers`` (extra ``hf``).

    Byte-level BPE reproduces every text. Other tokenizers may not, so
    :mod:`limbeck.data.text.cache` checks it on the text itself. Truncation, padding and BPE dropout
    in the file are switched off.

    Args:
        definition: Content of ``tokenizer.json``.
        where: Path of the file, for messages.

    Raises:
        ConfigError: If ``tokenizers`` is not installed.
        DataError: If the definition is damaged, or if its ids are out of range.
        UntrustedFileError: If it may lengthen a text too much, or takes too long for a short one.

    References:
        Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units",
        2016 (BPE). Radford et al., "Language Models are Unsupervised Multitask Learners", 2019
        (byte-level).
    """

    def __init__(self, definition: str | bytes, *, where: str = FILE):
        library = _library()
        text = json.dumps(_parse(definition, where))
        self._where = where

        def load() -> dict[str, int]:
            self._tokenizer = library.Tokenizer.from_str(text)
            self._tokenizer.encode_special_tokens = True
            self.definition = self._tokenizer.to_str()
            ids = self._tokenizer.encode_batch_fast([PROBE], add_special_tokens=False)[0].ids
            self._tokenizer.decode(ids, skip_special_tokens=False)
            return self._tokenizer.get_vocab(with_added_tokens=True)

        vocabulary = call_tokenizer(load, len(text), where)
        description = parse_json(self.definition)
        alphabet = library.pre_tokenizers.ByteLevel.alphabet()
        self.names = _names(vocabulary, where)
        self.lengths = _lengths(self.names, set(vocabulary), description, alphabet)
        kind = str(description["model"].get("type") or "bpe").lower()
        self.name = f"{kind}-{self.size}"

    @property
    def file(self) -> str | None:
        """Content of the ``tokenizer.json``."""
        return self.definition

    def encode(self, text: str) -> np.ndarray:
        """Return the token ids of a text, int32 ``[n]``.

        Special tokens are neither added nor recognised in the text.

        Raises:
            DataError: If the tokenizer fails on this text.
            UntrustedFileError: If it takes too long, or crashes.
        """

        def run() -> np.ndarray:
            (encoding,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
            return np.array(encoding.ids, dtype=np.int32)

        return call_tokenizer(run, len(text), self._where)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of token ids.

        Raises:
            DataError: If the tokenizer fails on these ids.
            UntrustedFileError: If it takes too long, or crashes.
        """
        numbers = np.asarray(ids).tolist()

        def run() -> str:
            return self._tokenizer.decode(numbers, skip_special_tokens=False)

        return call_tokenizer(run, len(numbers), self._where)


def check_vocabulary(vocabulary: int) -> int:
    """Check the number of entries of a vocabulary to train, and return it.

    Raises:
        ConfigError: If it is out of range.
    """
    low, high = VOCABULARY_RANGE
    if not low <= check_count("data.vocabulary", vocabulary) <= high:
        raise ConfigError(
            f"data.vocabulary={vocabulary} should be from {low} (256 bytes and one pair) to "
            f"{high}. For bytes alone set data.tokenizer=bytes."
        )
    return vocabulary


def train_bpe(pieces: Iterable[str], vocabulary: int) -> BPETokenizer:
    """Train a byte-level BPE, which repeatedly merges the most frequent pair of tokens.

    The same text gives the same tokenizer. A pair has to occur twice, so a short text yields fewer
    entries.

    Args:
        pieces: Pieces of the text to learn from.
        vocabulary: Largest number of entries, including the 256 bytes.

    Raises:
        ConfigError: If ``tokenizers`` is not installed, or if ``vocabulary`` is out of range.

    References:
        Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units",
        2016.
    """
    check_vocabulary(vocabulary)
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_short_pieces(pieces), trainer)
    return BPETokenizer(tokenizer.to_str())


def _short_pieces(pieces: Iterable[str]) -> Iterator[str]:
    """Cut pieces of text into short ones.

    The trainer's time for a word grows with the square of its length, and a text without spaces is
    a single word.
    """
    for piece in pieces:
        for first in range(0, len(piece), _PIECE):
            yield piece[first : first + _PIECE]


def load_tokenizer(path: Path) -> BPETokenizer:
    """Load a tokenizer from ``tokenizer.json`` or from a folder that contains one.

    Raises:
        ConfigError: If ``tokenizers`` is not installed.
        DataError: If the file is missing, too large or damaged, or if its ids are out of range.
    """
    path = path / FILE if os.path.isdir(path) else path
    try:
        with open_file(path) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            f"{path} cannot be read ({reason}). data.tokenizer= should be a {FILE}, or a "
            "folder that contains one."
        ) from None
    if len(content) > MAX_FILE_BYTES:
        raise DataError(
            f"{path} has more than {MAX_FILE_BYTES >> 20} MiB, more than any {FILE} in use."
        )
    return BPETokenizer(content, where=str(path))


def _library() -> ModuleType:
    try:
        import tokenizers
    except ImportError:
        raise ConfigError(
            "data.tokenizer= other than bytes needs the package tokenizers: pip install "
            "'limbeck[hf]'."
        ) from None
    return tokenizers


def _parse(definition: str | bytes, where: str) -> dict[str, Any]:
    """Parse ``tokenizer.json``, without truncation, padding and dropout."""
    try:
        content = parse_json(definition)
    except ValueError as error:
        raise DataError(
            f"{where} is damaged: it is not JSON ({error}). Download or create it again."
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise DataError(
            f"{where} is not a {FILE} of the package tokenizers: expected an object with a model."
        )
    check_growth(content, where)
    _check_size(largest_id(content) + 1, where)
    model = {**content["model"], "dropout": None}
    return {**content, "truncation": None, "padding": None, "model": model}


def _check_size(size: int, where: str) -> None:
    if not 2 <= size <= MAX_TOKENS:
        raise DataError(f"{where} has {size:,} token ids; expected 2 to {MAX_TOKENS:,}.")


def _names(vocabulary: Mapping[str, int], where: str) -> list[str]:
    """Return a name for every id, including unused ids."""
    size = max(vocabulary.values(), default=-1) + 1
    _check_size(size, where)
    names = {number: token for token, number in vocabulary.items()}
    return [names.get(number, f"<unused {number}>") for number in range(size)]


def _lengths(
    names: Sequence[str],
    tokens: set[str],
    description: Mapping[str, Any],
    alphabet: Iterable[str],
) -> np.ndarray:
    """Compute the bytes of text of each id from the strings of the tokens.

    A byte-level tokenizer spells each byte as one character of an alphabet of its own. Others
    spell a space as U+2581 and a single byte as ``<0x0A>`` (SentencePiece).

    Args:
        names: Name of each id.
        tokens: Names of actual tokens; the other names belong to unused ids.
        description: Content of ``tokenizer.json``.
        alphabet: Characters of byte-level tokenizers.

    Returns:
        int64 ``[size]``.
    """
    added = {token["id"]: token for token in description["added_tokens"]}
    is_byte_level = "ByteLevel" in _types(description["decoder"])
    letters = frozenset(alphabet)
    lengths = np.zeros(len(names), dtype=np.int64)
    for number, token in enumerate(names):
        if number in added:
            lengths[number] = 0 if added[number]["special"] else len(token.encode())
        elif token not in tokens:
            lengths[number] = 0
        elif is_byte_level and letters.issuperset(token):
            lengths[number] = len(token)
        elif is_byte_level:
            lengths[number] = len(token.encode())
        elif _ONE_BYTE.fullmatch(token):
            lengths[number] = 1
        else:
            lengths[number] = len(token.replace(_SENTENCEPIECE_SPACE, " ").encode())
    return lengths


def _types(part: Any) -> set[str]:
    """Return the types of a component of a tokenizer and of those inside it."""
    if isinstance(part, list):
        return set().union(*map(_types, part))
    if not isinstance(part, dict):
        return set()
    return {str(part.get("type"))}.union(*map(_types, part.values()))
