"""Tokenizers of Hugging Face's package ``tokenizers``, read from ``tokenizer.json`` as data."""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, final

import numpy as np

from limbeck._base.errors import ConfigError, DataError
from limbeck._base.reading import parse_json
from limbeck._base.runtime.files import open_file
from limbeck._base.runtime.tokenizer_limits import largest_id
from limbeck._base.tokenizer_calls import call_tokenizer
from limbeck.data.text.tokenizer import Text, Tokenizer
from limbeck.data.text.tokenizer_limits import PROBE, check_growth

FILE = "tokenizer.json"
MAX_FILE_BYTES = 1 << 26
MAX_TOKENS = 1 << 20
_PADDING_TOKENS = ("[PAD]", "<pad>", "<PAD>", "<|pad|>", "<|padding|>")
"""Names of the token that pads texts, in tokenizers that do not say which it is."""
_ONE_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_SENTENCEPIECE_SPACE = "\u2581"


@final
class BPETokenizer(Tokenizer):
    """A tokenizer of Hugging Face's package ``tokenizers`` (extra ``hf``).

    Byte-level BPE reproduces every text. Other tokenizers may not, so
    :mod:`limbeck.data.text.cache` checks it on the text of a language model. Truncation, padding
    and BPE dropout in the file are switched off.

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
        library = import_tokenizers()
        content = _parse(definition, where)
        self._padding = _padding_in(content)
        text = json.dumps({**content, "padding": None})
        self._where = where
        self._texts: Any = None  # the tokenizer with the length to which texts are cut

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

    @property
    def padding(self) -> int:
        """Id of the token for padding; one more than the largest id without such a token."""
        return self.size if self._padding is None else self._padding

    @property
    def separator(self) -> int | None:
        """Id of the token after which the second text of a pair has type 1, as in BERT."""
        return _separator_in(parse_json(self.definition).get("post_processor"))

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

    def encode_texts(self, texts: Sequence[Text], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the token ids of texts with special tokens, padded or cut to a length.

        Raises:
            ConfigError: If the special tokens leave no room for a text.
            DataError: If the tokenizer fails on a text.
            UntrustedFileError: If it takes too long, or crashes.
        """
        size = sum(len(part) for text in texts for part in text)
        is_pair = any(len(text) > 1 for text in texts)

        if self._texts is None:
            self._texts = import_tokenizers().Tokenizer.from_str(self.definition)
            self._texts.encode_special_tokens = True
        special = self._texts.num_special_tokens_to_add(is_pair)
        if special + is_pair >= length:
            raise ConfigError(
                f"data.length={length} leaves no room for a text: the tokenizer adds {special} "
                "special tokens. Set a larger data.length."
            )

        def run() -> list[Any]:
            self._texts.enable_truncation(length)
            inputs = [text if len(text) > 1 else text[0] for text in texts]
            encodings: list[Any] = self._texts.encode_batch_fast(inputs)
            return encodings

        encodings = call_tokenizer(run, size, self._where)
        rows = np.full((len(texts), length), self.padding, np.int32)
        for row, encoding in zip(rows, encodings, strict=True):
            ids = encoding.ids[:length]
            row[: len(ids)] = ids
        is_full = rows[:, -1] != self.padding
        is_cut = [
            full and bool(one.overflowing) for full, one in zip(is_full, encodings, strict=True)
        ]
        return rows, np.array(is_cut, dtype=bool)

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


def import_tokenizers() -> ModuleType:
    """Import the package ``tokenizers``.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import tokenizers
    except ImportError:
        raise ConfigError(
            "data.tokenizer= other than bytes needs the package tokenizers: pip install "
            "'limbeck[hf]'."
        ) from None
    return tokenizers


def _parse(definition: str | bytes, where: str) -> dict[str, Any]:
    """Parse ``tokenizer.json``, without truncation and dropout."""
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
    return {**content, "truncation": None, "model": model}


def _padding_in(content: Mapping[str, Any]) -> int | None:
    """Return the id of the special token that pads texts; None without one.

    Args:
        content: Content of ``tokenizer.json``.
    """
    added = content.get("added_tokens") or []
    special = {token["content"]: token["id"] for token in added if token.get("special")}
    padding = content.get("padding")
    names = [padding.get("pad_token")] if isinstance(padding, Mapping) else []
    for name in (*names, *_PADDING_TOKENS):
        if name in special:
            return int(special[name])
    return None


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


def _separator_in(processor: Any) -> int | None:
    """Return the id before the second text of a pair, if that has another type; None otherwise.

    Args:
        processor: Post-processor of ``tokenizer.json``, of any form.
    """
    if not isinstance(processor, Mapping):
        return None
    if processor.get("type") == "Sequence":
        parts = processor.get("processors")
        tokens = map(_separator_in, parts if isinstance(parts, list) else [])
        return next((token for token in tokens if token is not None), None)
    if processor.get("type") == "BertProcessing":
        return int(processor["sep"][1])
    if processor.get("type") != "TemplateProcessing":
        return None
    before: int | None = None
    for piece in processor["pair"]:
        if "SpecialToken" in piece:
            before = int(processor["special_tokens"][piece["SpecialToken"]["id"]]["ids"][0])
        elif piece["Sequence"]["id"] == "B":
            return before if piece["Sequence"]["type_id"] == 1 else None
    return None
