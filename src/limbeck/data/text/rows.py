"""Texts as rows of token ids, padded or cut to one length, in the cache of tokens.

A file has the rows of the training split first, then validation and test.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from limbeck._base.cache import key_of
from limbeck._base.progress import StageProgress
from limbeck._base.reading import parse_json
from limbeck.data.text.cache import (
    HEADER_BYTES,
    SLOW,
    DamagedError,
    TokenCache,
    digest_of_map,
    parse_tokenizer,
    write_tokenizer,
)
from limbeck.data.text.library_tokenizer import BPETokenizer
from limbeck.data.text.tokenizer import Text, Tokenizer
from limbeck.data.text.training import train_text_bpe

FORMAT = 1
TEXTS_AT_ONCE = 1024
Texts = Mapping[str, Sequence[Text]]
"""Texts of the splits ``train``, ``val`` and ``test``."""


@dataclass(frozen=True)
class TokenRows:
    """Texts of all splits as token ids.

    Attributes:
        splits: Ids of each split, int32 ``[N, L]``.
        cut: Number of texts that are cut.
    """

    splits: dict[str, Tensor]
    cut: int


def load_or_train_tokenizer(
    texts: Sequence[Text], vocabulary: int, cache: TokenCache
) -> BPETokenizer:
    """Train a byte-level BPE on the training split, or load it from the cache.

    See :func:`limbeck.data.text.training.train_text_bpe`.
    """
    digest = _digest_of({"train": texts})

    def write(file: BinaryIO) -> None:
        total = sum(len(part) for text in texts for part in text)
        with StageProgress(enabled=total >= SLOW).stage("training the tokenizer", 1.0) as advance:
            tokenizer = train_text_bpe((part for text in texts for part in text), vocabulary)
            advance(1.0)
        write_tokenizer(file, tokenizer)

    key = key_of(json.dumps([FORMAT, "bpe of texts", vocabulary, digest]))
    return cache.entry(f"{key}.bpe", write, parse_tokenizer)


def load_or_encode(texts: Texts, tokenizer: Tokenizer, length: int, cache: TokenCache) -> TokenRows:
    """Encode texts, or load their ids from the cache.

    Args:
        texts: Texts of the splits.
        tokenizer: Tokenizer.
        length: Number L of tokens to which texts are padded or cut.
        cache: Cache of the ids.

    Raises:
        ConfigError: If the length leaves no room for a text.
        DataError: If the tokenizer fails on a text.
        UntrustedFileError: If it takes too long, or crashes.
        ResourceError: If the disk is full, and the ids do not fit into memory.
    """
    definition = hashlib.sha256(tokenizer.definition.encode()).hexdigest()
    description = [FORMAT, "texts", length, definition, tokenizer.padding, _digest_of(texts)]
    return cache.entry(
        f"{key_of(json.dumps(description))}.texts",
        lambda file: _write(file, texts, tokenizer, length),
        lambda content: _parse(content, length),
        size=4 * length * sum(map(len, texts.values())),
    )


def _digest_of(texts: Texts) -> str:
    """Compute the SHA-256 of texts: their splits, lengths and characters."""
    digest = hashlib.sha256()
    for part, of_part in texts.items():
        for text in of_part:
            for one in text:
                content = one.encode()
                digest.update(f"{part} {len(content)} ".encode())
                digest.update(content)
            digest.update(b"\n")
    return digest.hexdigest()


def _write(file: BinaryIO, texts: Texts, tokenizer: Tokenizer, length: int) -> None:
    """Write header and rows, with some texts at a time in memory."""
    digest, cut, done = hashlib.sha256(), 0, 0
    total = sum(map(len, texts.values()))
    size = sum(len(one) for of_part in texts.values() for text in of_part for one in text)
    file.write(bytes(HEADER_BYTES))
    progress = StageProgress(enabled=size >= SLOW)
    with progress.stage(f"tokenising {total:,} texts", total) as advance:
        for of_part in texts.values():
            for first in range(0, len(of_part), TEXTS_AT_ONCE):
                some = of_part[first : first + TEXTS_AT_ONCE]
                rows, is_cut = tokenizer.encode_texts(some, length)
                content = rows.astype("<i4").tobytes()
                file.write(content)
                digest.update(content)
                cut += int(is_cut.sum())
                done += len(some)
                advance(done)
    file.seek(0)
    file.write(_header([len(of_part) for of_part in texts.values()], length, cut, digest))


def _header(rows: Sequence[int], length: int, cut: int, digest: "hashlib._Hash") -> bytes:
    """Create the header: padded JSON with a digest of the ids and the other entries."""
    whole = digest.copy()
    whole.update(json.dumps([FORMAT, length, cut, *rows]).encode())
    content = {"rows": list(rows), "length": length, "cut": cut, "sha256": whole.hexdigest()}
    return json.dumps(content).encode().ljust(HEADER_BYTES)


def _parse(content: np.ndarray, length: int) -> TokenRows:
    """Return the rows of each split, after checking their digest."""
    header, body = content[:HEADER_BYTES].tobytes(), content[HEADER_BYTES:]
    try:
        entries = parse_json(header)
        train, val, test = (int(number) for number in entries["rows"])
        cut = int(entries["cut"])
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        raise DamagedError from None
    if len(body) != 4 * length * (train + val + test):
        raise DamagedError
    if _header([train, val, test], length, cut, digest_of_map(body)) != header:
        raise DamagedError
    parts = torch.from_numpy(body.view("<i4").reshape(-1, length)).split([train, val, test])
    return TokenRows(dict(zip(("train", "val", "test"), parts, strict=True)), cut)
