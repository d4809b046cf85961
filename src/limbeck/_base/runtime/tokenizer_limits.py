"""Limits of a ``tokenizer.json``, which may otherwise take any time and memory."""

import base64
import math
from collections.abc import Iterator, Mapping
from typing import Any

MAX_TOKENIZER_BYTES, MAX_TOKENS = 64 << 20, 1 << 20
"""Largest size of a tokenizer, and largest number of its tokens."""
MAX_STEPS, MAX_GROWTH = 64, 1024
"""Largest number of normalizers, pre-tokenizers or decoders, and largest factor by which all of
them together may lengthen a text.
"""
_TOKENIZER_PARTS = (("normalizer", "pre_tokenizer"), ("decoder",))
"""Parts of a tokenizer that lengthen a text one after the other."""
_INNER_STEPS = ("normalizers", "pretokenizers", "decoders")


def tokenizer_fault(content: Any, where: str) -> str | None:
    """Return what may take too much time or memory in a tokenizer; None if nothing does.

    Args:
        content: Content of ``tokenizer.json``.
        where: Path of the file, for messages.
    """
    for names in _TOKENIZER_PARTS:
        steps = [step for name in names for step in _tokenizer_steps(content.get(name))]
        if len(steps) > MAX_STEPS:
            return (
                f"{where} has {len(steps):,} parts in its {' and '.join(names)}; expected at most "
                f"{MAX_STEPS}."
            )
        growth = math.prod(map(_growth_of, steps))
        if growth > MAX_GROWTH:
            return (
                f"The {' and '.join(names)} of {where} may make a text {growth:,.0f} times as "
                f"long; expected at most {MAX_GROWTH:,} times."
            )
    return None


def largest_id(content: Any) -> int:
    """Return the largest id of a token in ``tokenizer.json``, for which the library makes room.

    Args:
        content: Content of the file, of any form.
    """
    model = content.get("model") if isinstance(content, dict) else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    ids = [-1]
    if isinstance(vocabulary, dict):
        ids += [number for number in vocabulary.values() if isinstance(number, int)]
    elif isinstance(vocabulary, list):  # of pairs of a token and its score
        ids.append(len(vocabulary) - 1)
    added = content.get("added_tokens") if isinstance(content, dict) else None
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and isinstance(token.get("id"), int):
            ids.append(token["id"])
    return max(ids)


def _tokenizer_steps(part: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a part of a tokenizer, those of sequences included."""
    if isinstance(part, list):
        for step in part:
            yield from _tokenizer_steps(step)
    elif isinstance(part, dict):
        yield part
        for name in _INNER_STEPS:
            yield from _tokenizer_steps(part.get(name))


def _growth_of(step: Mapping[str, Any]) -> float:
    """Compute the largest factor by which a step lengthens a text, in bytes."""
    kind = step.get("type")
    if kind == "Replace":
        return _replacement_growth(step.get("pattern"), _size_of_text(step.get("content")))
    if kind == "Prepend":
        return max(1, _size_of_text(step.get("prepend")))
    if kind == "Metaspace":
        return max(1, _size_of_text(step.get("replacement")))
    if kind == "Precompiled":
        return _charsmap_growth(step.get("precompiled_charsmap"))
    return 2 if kind == "ByteLevel" else 1


def _replacement_growth(pattern: Any, size: int) -> float:
    literal = pattern.get("String") if isinstance(pattern, dict) else pattern
    if isinstance(literal, str) and literal:
        return max(1.0, size / _size_of_text(literal))
    return 1 + size  # a regular expression may match the empty text before each character


def _charsmap_growth(charsmap: Any) -> float:
    """Compute the length of the longest replacement of SentencePiece's table of characters.

    The table is the size of a search tree, the tree, and the replacements, which end with 0.
    """
    try:
        content = base64.b64decode(charsmap)
    except (ValueError, TypeError):
        return 1  # the library refuses it
    replacements = content[4 + int.from_bytes(content[:4], "little") :].split(b"\0")
    return max(1, *map(len, replacements))


def _size_of_text(text: Any) -> int:
    return len(text.encode("utf-8", "replace")) if isinstance(text, str) else 0
