"""Tokenizers: from text to the ids of its tokens and back, with the bytes of text that each id
stands for.
"""

import hashlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, final

import numpy as np

from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError, DataError

FILE = "tokenizer.json"
MOST_FILE_BYTES = 1 << 26
MOST_TOKENS = 1 << 20
VOCABULARIES = (257, 1 << 17)
"""Fewest and most entries of a vocabulary that is trained here: all bytes and one more, and more
than any in use.
"""
_PIECE = 4096
_PART_OF_DEFINITION = ("added_tokens", "normalizer", "pre_tokenizer", "decoder", "model")
_ONE_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


class Tokenizer(ABC):
    """Text to the ids of its tokens and back.

    Attributes:
        name: for tables, as ``bytes`` or ``bpe-4096``.
        names: a string a token, each once, by id.
        lengths: int64 ``[size]``: the bytes of UTF-8 text that each id stands for; 0 for special
            tokens.
        definition: JSON that says all there is about it.
    """

    name: str
    names: list[str]
    lengths: np.ndarray
    definition: str

    @property
    def file(self) -> str | None:
        """Content of a ``tokenizer.json`` by which transformers and this class read text alike;
        None if none can.
        """
        return None

    @property
    def size(self) -> int:
        """Number of entries of the vocabulary: ids are below it."""
        return len(self.names)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what it does with a text, in hexadecimal; how its file is laid out does not
        matter.
        """
        content = json.loads(self.definition)
        kept = {key: content.get(key) for key in _PART_OF_DEFINITION}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """The ids of a text's tokens, int32; no special tokens are added, and none is read out of
        the text.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of some ids; bytes that are no UTF-8 become U+FFFD."""


@final
class ByteTokenizer(Tokenizer):
    """The 256 bytes of UTF-8 are the tokens, and their values the ids."""

    name = "bytes"
    definition = json.dumps({"model": {"type": "bytes"}})

    def __init__(self) -> None:
        self.names = [chr(byte) if 0x20 < byte < 0x7F else f"0x{byte:02x}" for byte in range(256)]
        self.lengths = np.ones(256, dtype=np.int64)

    def encode(self, text: str) -> np.ndarray:
        """The bytes of a text, int32 ``[n]``."""
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of some bytes; what is no UTF-8 becomes U+FFFD."""
        return bytes(np.asarray(ids).tolist()).decode(errors="replace")


@final
class BPETokenizer(Tokenizer):
    """A tokenizer of Hugging Face's ``tokenizers`` (extra ``hf``), as ``tokenizer.json`` describes
    it.

    Byte-level BPE gives every text back (Sennrich et al. 2016 on words, Radford et al. 2019 on
    bytes). Others may not; :mod:`limbeck.data.text.cache` checks it on the text itself. Truncation,
    padding and BPE dropout that the
    file may ask for are switched off: blocks are cut by limbeck, and a text has one way to be read.

    Args:
        definition: the content of ``tokenizer.json``.
        where: it comes from, for messages.

    Raises:
        ConfigError: ``tokenizers`` is not installed.
        DataError: it is damaged, or its ids are out of range.
    """

    def __init__(self, definition: str | bytes, *, where: str = FILE):
        library = _library()
        content = _parsed(definition, where)
        with _damage_named(where):
            self._tokenizer = library.Tokenizer.from_str(json.dumps(content))
            self._tokenizer.encode_special_tokens = True
            self.definition = self._tokenizer.to_str()
            vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        self._where = where
        described = json.loads(self.definition)
        self.names = _names(vocabulary, where)
        self.lengths = _lengths(
            self.names, set(vocabulary), described, library.pre_tokenizers.ByteLevel.alphabet()
        )
        self.name = f"{str(described['model'].get('type') or 'bpe').lower()}-{self.size}"

    @property
    def file(self) -> str | None:
        """Content of the ``tokenizer.json``."""
        return self.definition

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text's tokens, int32 ``[n]``; no special tokens are added, and none is read
        out of the text.

        Raises:
            DataError: the tokenizer breaks down on this text.
        """
        with _damage_named(self._where):
            (found,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
            return np.array(found.ids, dtype=np.int32)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of some ids.

        Raises:
            DataError: the tokenizer breaks down on these.
        """
        with _damage_named(self._where):
            return self._tokenizer.decode(np.asarray(ids).tolist(), skip_special_tokens=False)


def check_vocabulary(vocabulary: Any) -> int:
    """Check the number of entries of a vocabulary to train.

    Raises:
        ConfigError: it is out of range.
    """
    low, high = VOCABULARIES
    if not low <= check_count("data.vocabulary", vocabulary) <= high:
        raise ConfigError(
            f"data.vocabulary={vocabulary} should be from {low} (256 bytes and one pair) to "
            f"{high}; for bytes alone "
            "set data.tokenizer=bytes."
        )
    return vocabulary


def train_bpe(pieces: Iterable[str], vocabulary: int) -> BPETokenizer:
    """Train a byte-level BPE: the most frequent pair becomes a token, again and again (Sennrich et
    al. 2016).

    The same text gives the same tokenizer. A pair has to occur twice, so a short text gives fewer
    entries.

    Args:
        pieces: of the text to learn from.
        vocabulary: most entries, the 256 bytes among them.

    Raises:
        ConfigError: ``tokenizers`` is not installed, or ``vocabulary`` is out of range.
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
    # a word costs the trainer the square of its length, and a text without spaces is one word
    short = (
        piece[first : first + _PIECE] for piece in pieces for first in range(0, len(piece), _PIECE)
    )
    tokenizer.train_from_iterator(short, trainer)
    return BPETokenizer(tokenizer.to_str())


def load_tokenizer(path: Path) -> BPETokenizer:
    """A tokenizer from ``tokenizer.json``, or from a folder that holds one.

    Raises:
        ConfigError: ``tokenizers`` is not installed.
        DataError: the file is missing, too large, damaged, or its ids are out of range.
    """
    file = path / FILE if os.path.isdir(path) else path
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise DataError(
            f"{file} cannot be read ({error.strerror}). data.tokenizer= should name {FILE}, or a "
            "folder that holds it."
        ) from None
    if len(content) > MOST_FILE_BYTES:
        raise DataError(
            f"{file} has more than {MOST_FILE_BYTES >> 20} MiB; no {FILE} in use is nearly as "
            "large."
        )
    return BPETokenizer(content, where=str(file))


def _library() -> ModuleType:
    try:
        import tokenizers
    except ImportError:
        raise ConfigError(
            "data.tokenizer= other than bytes needs the package tokenizers: pip install "
            "'limbeck[hf]'."
        ) from None
    return tokenizers


def _parsed(definition: str | bytes, where: str) -> dict[str, Any]:
    """The content of ``tokenizer.json`` without what would cut, fill or vary the ids."""
    try:
        content = json.loads(definition)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where} is damaged: it is no JSON ({error}). Fetch or make it anew."
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise DataError(
            f"{where} is no {FILE} of the package tokenizers: an object with a model was expected."
        )
    return {
        **content,
        "truncation": None,
        "padding": None,
        "model": {**content["model"], "dropout": None},
    }


@contextmanager
def _damage_named(where: str) -> Iterator[None]:
    """Whatever the library has to say of a damaged file becomes one line."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a panic in Rust is no Exception in Python
        said = " ".join(str(error).split())[:200]
        raise DataError(
            f"{where} cannot be used by the package tokenizers: {said}. Fetch or make it anew."
        ) from None


def _names(vocabulary: Mapping[str, int], where: str) -> list[str]:
    """A name for every id; those that no token has get one too."""
    size = max(vocabulary.values(), default=-1) + 1
    if not 2 <= size <= MOST_TOKENS:
        raise DataError(
            f"{where}: {size:,} ids were found, from 2 to {MOST_TOKENS:,} were expected."
        )
    names = {number: token for token, number in vocabulary.items()}
    return [names.get(number, f"<unused {number}>") for number in range(size)]


def _lengths(
    names: Sequence[str], known: set[str], content: Mapping[str, Any], alphabet: Iterable[str]
) -> np.ndarray:
    """Bytes of text by id, from the tokens' strings."""
    added = {token["id"]: token for token in content["added_tokens"]}
    # byte-level: one character of this alphabet a byte; otherwise a space is U+2581 and a lone byte
    # <0x0A>
    letters = frozenset(alphabet) if "ByteLevel" in _kinds(content["decoder"]) else frozenset()

    def length(number: int, token: str) -> int:
        if number in added:
            return 0 if added[number]["special"] else len(token.encode())
        if token not in known:
            return 0
        if letters:
            return len(token) if letters.issuperset(token) else len(token.encode())
        return 1 if _ONE_BYTE.fullmatch(token) else len(token.replace("\u2581", " ").encode())

    return np.array([length(number, token) for number, token in enumerate(names)], dtype=np.int64)


def _kinds(part: Any) -> set[str]:
    """The types of a component of a tokenizer and of those inside it."""
    if isinstance(part, list):
        return set().union(*map(_kinds, part))
    if not isinstance(part, dict):
        return set()
    return {str(part.get("type"))}.union(*map(_kinds, part.values()))
