"""Limits of tokenizers that others have written: by how much a text may grow.

The file of a tokenizer may hold replacements that multiply a text one after the other.
"""

import os
from collections.abc import Mapping
from typing import Any

from limbeck._base.errors import UntrustedFileError
from limbeck._base.runtime.tokenizer_limits import tokenizer_fault

PROBE = (
    "The quick brown fox jumps over the lazy dog. 0123456789 1,234.5e-6\r\n\tdef f(x):  return "
    f"[x] * 2  # caf\u00e9 \u4f60\u597d {'a' * 40}! {'1' * 40}. {' ' * 40}{'-' * 40}\n"
) * 4
"""Text on which a tokenizer is tried when it is loaded."""


def check_growth(content: Mapping[str, Any], where: str) -> None:
    """Check how many steps a tokenizer has, and by how much they may lengthen a text.

    Args:
        content: Content of ``tokenizer.json``.
        where: Path of the file, for messages.

    Raises:
        UntrustedFileError: If there are too many, or if the text may grow too much.
    """
    if fault := tokenizer_fault(content, where):
        raise UntrustedFileError(
            f"{fault} Use the {os.path.basename(where)} of a model that you trust."
        )
