"""The header of a soft-target store: what produced its answers, their sizes, and the key that follows from these."""

import hashlib
import json
import os
import shlex
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from limbeck.errors import ResourceError, UntrustedFileError

FORMAT = 1
HEADER = "store.json"
ITEM_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
SHARD_ANSWERS = 1 << 16
SHARD_BYTES = 1 << 26
PARTS = {
    "teacher": "the teacher's weights or architecture",
    "samples": "the samples",
    "views": "the views",
    "normalisation": "the teacher's normalisation",
    "precision": "the precision of the computation",
    "format": "the store's format or dtype",
}
"""What a key is made of, and how a message names it."""


def default_folder() -> Path:
    """``$LIMBECK_STORE``, or ``limbeck/store`` in the user's cache folder.

    Raises:
        ResourceError: the user has no home.
    """
    own = os.environ.get("LIMBECK_STORE")
    if own:
        return Path(own).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    if cache and Path(cache).is_absolute():
        return Path(cache) / "limbeck" / "store"
    try:
        return Path.home() / ".cache" / "limbeck" / "store"
    except RuntimeError:
        raise ResourceError("There is no home folder to keep stores in. Name another with LIMBECK_STORE=DIR.") from None


def canonical(value: Any) -> str:
    """JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The parts in which two stores differ, as a message names them."""
    return [words for part, words in PARTS.items() if one.get(part) != other.get(part)]


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a store holds.

    Attributes:
        parts: what produced the answers, one entry for each of :data:`PARTS`.
        rows: N, samples.
        views: V, views of each.
        classes: C.
        dtype: of the logits: ``float16``, ``bfloat16`` or ``float32``.
        shard_rows: rows of a shard; the last has what is left.
        label: names of data and teacher, for people.
        created: when, ISO 8601.
        limbeck: the version that made it.
    """

    parts: dict[str, Any]
    rows: int
    views: int
    classes: int
    dtype: str
    shard_rows: int
    label: dict[str, str]
    created: str
    limbeck: str

    @cached_property
    def key(self) -> str:
        """The store's name: the first 32 hexadecimal digits of the SHA-256 of its parts."""
        return hashlib.sha256(canonical(self.parts).encode()).hexdigest()[:32]

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.rows // self.shard_rows)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in all its views."""
        return self.views * self.classes * ITEM_BYTES[self.dtype]

    @property
    def size(self) -> int:
        """Bytes of all logits."""
        return self.rows * self.row_bytes

    def rows_of(self, shard: int) -> tuple[int, int]:
        """First row of a shard, and the one behind its last."""
        return shard * self.shard_rows, min((shard + 1) * self.shard_rows, self.rows)

    @staticmethod
    def rows_a_shard(views: int, classes: int, dtype: str) -> int:
        """Rows of a shard of about 65,536 answers, at least one."""
        return max(1, min(SHARD_ANSWERS, SHARD_BYTES // (classes * ITEM_BYTES[dtype])) // views)


def checked_header(content: Any, path: Path) -> Header:
    """The header that a file holds, if every value is of the right kind and fits the others.

    Raises:
        UntrustedFileError: naming the first that does not.
    """

    def refuse(what: str) -> UntrustedFileError:
        return UntrustedFileError(f"{path / HEADER} is damaged: {what}. {advice(path)}")

    if not isinstance(content, dict):
        raise refuse(f"an object was expected, found {type(content).__name__}")
    if content.get("format") != FORMAT:
        raise refuse(f"format {content.get('format')!r} is not {FORMAT}, the one that this version reads")
    for name, kind in Header.__annotations__.items():
        wanted = {int: int, str: str}.get(kind, dict)
        value = content.get(name)
        fits = isinstance(value, wanted) and not isinstance(value, bool)
        if not fits or (isinstance(value, int) and not 1 <= value < 1 << 48):
            raise refuse(f"{name} should be {'a whole number' if wanted is int else wanted.__name__}, found {value!r}")
    header = Header(**{name: content[name] for name in Header.__annotations__})
    if header.dtype not in ITEM_BYTES or header.size > sys.maxsize:
        raise refuse(f"dtype {header.dtype!r} and the sizes give no array")
    parts = header.parts
    if set(parts) != set(PARTS) or not all(isinstance(part, dict) for part in parts.values()):
        raise refuse(f"parts should be {', '.join(PARTS)}")
    named = (parts["samples"].get("rows"), parts["views"].get("count"), parts["format"].get("dtype"))
    if (header.rows, header.views, header.dtype) != named:
        raise refuse("its sizes are not those of its parts")
    return header


def advice(path: Path) -> str:
    """What to do about a store that is of no use."""
    place = "" if path.parent == default_folder() else f" --folder {shlex.quote(str(path.parent))}"
    return f"Remove that store with 'limbeck store clear {path.name[:12]}{place}'; the next run computes it anew."
