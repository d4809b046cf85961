"""Encoders from texts to token ids."""

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

from .errors import BundleError, MissingLibraryError, one_line
from .file_names import TOKENIZER
from .tokenizer_limits import MAX_TOKENS, largest_id, tokenizer_fault

TEXT_SECONDS, CHARACTERS_PER_SECOND = 10.0, 10_000
"""Time that a tokenizer may take for any text, and rate for longer texts."""
Encode = Callable[[Sequence[str]], list[int]]
"""Function from a text, or two, to token ids."""


def byte_encoder(length: int) -> Encode:
    """Return the encoder of texts as bytes, with a byte 0 between two texts."""
    return lambda parts: list(b"\0".join(part.encode() for part in parts)[:length])


def library_encoder(content: bytes, where: str, length: int) -> Encode:
    """Return the encoder of a ``tokenizer.json``, with its special tokens.

    Args:
        content: Content of the file.
        where: Path of the file, for messages.
        length: Largest number of tokens of a text.

    Raises:
        BundleError: If it is damaged, or may take too much time or memory.
        MissingLibraryError: If the package ``tokenizers`` is not installed.
    """
    try:
        import tokenizers
    except ImportError:
        raise MissingLibraryError(
            "Texts are encoded with the package tokenizers, which is not installed: pip install "
            "tokenizers"
        ) from None
    try:
        description = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where} is damaged ({one_line(error)}).") from None
    if not isinstance(description, dict) or largest_id(description) >= MAX_TOKENS:
        raise BundleError(f"{where} is no {TOKENIZER}, or has more than {MAX_TOKENS:,} tokens.")
    if fault := tokenizer_fault(description, where):
        raise BundleError(f"{fault}")

    def load() -> Any:
        tokenizer = tokenizers.Tokenizer.from_str(content.decode())
        tokenizer.encode_special_tokens = True
        tokenizer.no_padding()
        tokenizer.enable_truncation(length)
        return tokenizer

    tokenizer = _in_time(load, len(content), where)

    def encode(parts: Sequence[str]) -> list[int]:
        size = sum(map(len, parts))
        ids: list[int] = _in_time(lambda: tokenizer.encode(*parts).ids, size, where)
        return ids[:length]

    return encode


def _in_time(function: Callable[[], Any], size: int, where: str) -> Any:
    """Call a function of the package ``tokenizers`` in a thread, which is left if it hangs.

    Its regular expressions may backtrack forever, and Python cannot stop Rust.
    """
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # a panic of Rust is not an Exception in Python
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(TEXT_SECONDS, size / CHARACTERS_PER_SECOND))
    if not results:
        reason = one_line(errors[0]) if errors else "it takes too long"
        raise BundleError(f"{where} cannot encode a text ({reason}).")
    return results[0]
