"""Limits of tokenizers that others have written: by how much a text may grow.

The file of a tokenizer may hold replacements that multiply a text one after the other.
"""

import base64
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

from limbeck._base.errors import UntrustedFileError

MAX_STEPS, MAX_GROWTH = 64, 1024
"""Largest number of normalizers, pre-tokenizers or decoders, and largest factor by which all of
them together may lengthen a text.
"""
PROBE = (
    "The quick brown fox jumps over the lazy dog. 0123456789 1,234.5e-6\r\n\tdef f(x):  return "
    f"[x] * 2  # caf\u00e9 \u4f60\u597d {'a' * 40}! {'1' * 40}. {' ' * 40}{'-' * 40}\n"
) * 4
"""Text on which a tokenizer is tried when it is loaded."""
_PARTS = (("normalizer", "pre_tokenizer"), ("decoder",))
"""Parts of a tokenizer that lengthen a text one after the other."""
_INNER = ("normalizers", "pretokenizers", "decoders")


def check_growth(content: Mapping[str, Any], where: str) -> None:
    """Check how many steps a tokenizer has, and by how much they may lengthen a text.

    Args:
        content: Content of ``tokenizer.json``.
        where: Path of the file, for messages.

    Raises:
        UntrustedFileError: If there are too many, or if the text may grow too much.
    """
    for names in _PARTS:
        steps = [step for name in names for step in _steps(content.get(name))]
        if len(steps) > MAX_STEPS:
            raise UntrustedFileError(
                f"{where} has {len(steps):,} parts in its {' and '.join(names)}; expected at most "
                f"{MAX_STEPS}. Use the {os.path.basename(where)} of a model that you trust."
            )
        growth = math.prod(map(_growth, steps))
        if growth > MAX_GROWTH:
            raise UntrustedFileError(
                f"The {' and '.join(names)} of {where} may make a text {growth:,.0f} times as "
                f"long; expected at most {MAX_GROWTH:,} times. Use the {os.path.basename(where)} "
                "of a model that you trust."
            )


def _steps(part: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a part of a tokenizer, those of sequences included."""
    if isinstance(part, list):
        for step in part:
            yield from _steps(step)
    elif isinstance(part, dict):
        yield part
        for name in _INNER:
            yield from _steps(part.get(name))


def _growth(step: Mapping[str, Any]) -> float:
    """Compute the largest factor by which a step lengthens a text, in bytes."""
    kind = step.get("type")
    if kind == "Replace":
        return _replacement_growth(step.get("pattern"), _size(step.get("content")))
    if kind == "Prepend":
        return max(1, _size(step.get("prepend")))
    if kind == "Metaspace":
        return max(1, _size(step.get("replacement")))
    if kind == "Precompiled":
        return _charsmap_growth(step.get("precompiled_charsmap"))
    return 2 if kind == "ByteLevel" else 1


def _replacement_growth(pattern: Any, size: int) -> float:
    literal = pattern.get("String") if isinstance(pattern, dict) else pattern
    if isinstance(literal, str) and literal:
        return max(1.0, size / _size(literal))
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


def _size(text: Any) -> int:
    return len(text.encode("utf-8", "replace")) if isinstance(text, str) else 0
