"""Weights in several files, and the size of the headers of safetensors files.

The parts are listed in ``model.safetensors.index.json``, or ``pytorch_model.bin.index.json``.
"""

import os
import re
from pathlib import Path

from limbeck._base.errors import UntrustedFileError
from limbeck._base.reading import read_json
from limbeck._base.runtime.files import open_file

MAX_HEADER_BYTES = 4 << 20
"""Largest header of a safetensors file; with about 70 bytes a tensor, it takes seconds to read."""
MAX_PARTS = 1000
"""Largest number of parts in use: those of the largest models are a few hundred."""
INDEX = "model.safetensors.index.json"
_INDEX_SUFFIX = re.compile(r"(\.safetensors|\.bin)\.index\.json$")
_PART = re.compile(r"(?P<model>[\w.-]+)-\d{5}-of-\d{5}(?P<suffix>\.safetensors|\.bin)")


def is_index(file: Path) -> bool:
    """Whether a file lists the parts of sharded weights, by its name."""
    return _INDEX_SUFFIX.search(file.name) is not None


def index_of(part: Path) -> Path | None:
    """Return the index next to one of several files of weights; None if there is none."""
    match = _PART.fullmatch(part.name)
    if match is None:
        return None
    index = part.with_name(f"{match['model']}{match['suffix']}.index.json")
    return index if index.is_file() else None


def check_header(file: Path) -> None:
    """Check the size of a safetensors file's header, which holds the names of the tensors.

    Raises:
        OSError: If the file cannot be read.
        UntrustedFileError: If it is too large, or if the file is a pipe or device.
    """
    try:
        with open_file(file) as stream:
            size = int.from_bytes(stream.read(8), "little")
            file_size = os.fstat(stream.fileno()).st_size
    except ValueError as error:
        raise UntrustedFileError(f"{file} is {error}; expected a safetensors file.") from None
    if MAX_HEADER_BYTES < size < file_size:  # safetensors itself refuses a larger one
        raise UntrustedFileError(
            f"{file} has a header of {size >> 20} MiB, with the names of perhaps {size // 70:,} "
            f"tensors; expected at most {MAX_HEADER_BYTES >> 20} MiB. Use the weights of a model "
            "that you trust."
        )


def parts_of(index: Path) -> list[Path]:
    """Return the files that an index lists; they have to lie next to it.

    Raises:
        UntrustedFileError: If the index is damaged or names other files, or a part is missing.
    """
    names = sorted(_names_in(index))
    if len(names) > MAX_PARTS:
        raise UntrustedFileError(
            f"{index} lists {len(names):,} files; expected at most {MAX_PARTS:,}. Use the weights "
            "of a model that you trust."
        )
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
    match = _INDEX_SUFFIX.search(index.name)
    suffix = match[1] if match else ".safetensors"
    for name in names:
        if not re.fullmatch(rf"[\w.-]+\{suffix}", name):
            raise UntrustedFileError(
                f"{index} names the file {name!r}; expected a {suffix} file next to it."
            )
    return names
