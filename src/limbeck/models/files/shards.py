"""Weights in several safetensors files, listed in ``model.safetensors.index.json``."""

import re
from pathlib import Path

from limbeck._base.errors import UntrustedFileError
from limbeck._base.reading import read_json

INDEX = "model.safetensors.index.json"
_PART = re.compile(r"[\w.-]+\.safetensors")


def is_index(file: Path) -> bool:
    """Whether a file lists the parts of sharded weights, by its name."""
    return file.name.endswith(".safetensors.index.json")


def parts_of(index: Path) -> list[Path]:
    """Return the files that an index lists; they have to lie next to it.

    Raises:
        UntrustedFileError: If the index is damaged or names other files, or a part is missing.
    """
    names = sorted(_names_in(index))
    for name in names:
        if not (index.parent / name).is_file():
            raise UntrustedFileError(
                f"{index.parent} lacks {name}, which {index.name} lists. The copy is not complete."
            )
    return [index.parent / name for name in names]


def _names_in(index: Path) -> set[str]:
    try:
        content = read_json(index)
    except ValueError as error:
        raise UntrustedFileError(f"{index} is damaged: {error}.") from None
    parts = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(parts, dict) or not parts:
        raise UntrustedFileError(
            f"{index} is damaged: weight_map should name the file of each tensor."
        )
    names = set(map(str, parts.values()))
    for name in names:
        if not _PART.fullmatch(name):
            raise UntrustedFileError(
                f"{index} names the file {name!r}; expected a .safetensors file next to it."
            )
    return names
