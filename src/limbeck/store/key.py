"""The header of a soft-target store: what produced its answers, their sizes, and the key that
follows from these.
"""

import hashlib
import json
import os
import shlex
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from limbeck._base.errors import ResourceError, UntrustedFileError

FORMAT = 2
HEADER = "store.json"
SPARSE_KINDS = ("topk", "sampled")
KINDS = ("dense", *SPARSE_KINDS)
ITEM_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
SPARSE_DTYPE = "float16"
"""Of the log-probabilities or weights of the kinds that keep some of the classes."""
SHARD_ANSWERS = 1 << 16
SHARD_BYTES = 1 << 26
PARTS = {
    "teacher": "the teacher's weights or architecture",
    "samples": "the samples",
    "views": "the views",
    "normalisation": "the teacher's normalisation",
    "precision": "the precision of the computation",
    "tokens": "the tokenizer or the block length",
    "format": "the store's format: its kind, k, dtype or temperature",
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
        raise ResourceError(
            "There is no home folder to keep stores in. Name another with LIMBECK_STORE=DIR."
        ) from None


def canonical(value: Any) -> str:
    """JSON that is the same for equal values."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The parts in which two stores differ, as a message names them; other tokens are other samples
    too.
    """
    parts = [part for part in PARTS if one.get(part) != other.get(part)]
    return [PARTS[part] for part in parts if part != "samples" or "tokens" not in parts]


def id_bytes(classes: int) -> int:
    """Bytes of the number of a class."""
    return 1 if classes <= 1 << 8 else 2 if classes <= 1 << 16 else 4


def record_bytes(kind: str, classes: int, k: int, dtype: str) -> int:
    """Bytes of an answer: dense its logits; else K numbers of classes with what is kept of each,
    and of topk two more values of the rest.
    """
    if kind == "dense":
        return classes * ITEM_BYTES[dtype]
    values = k + 2 * (kind == "topk")
    return k * id_bytes(classes) + values * ITEM_BYTES[SPARSE_DTYPE]


def rows_a_shard(answers: int, size: int) -> int:
    """Rows of a shard of about 65,536 answers, at least one.

    Args:
        answers: of a row.
        size: bytes of an answer.
    """
    return max(1, min(SHARD_ANSWERS, SHARD_BYTES // size) // answers)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a store holds. An answer, or record, is that to one position of one row in one view.

    Attributes:
        parts: what produced the answers, one entry for each of :data:`PARTS`.
        rows: N, samples.
        views: V, views of each.
        positions: T, answers to each row in a view: the tokens of a block; 1 for an image.
        classes: C.
        kind: one of :data:`KINDS`.
        k: K, classes of an answer; 0 for ``dense``, which keeps all.
        dtype: of the logits, log-probabilities or weights: ``float16``, ``bfloat16`` or
            ``float32``.
        shard_rows: rows of a shard; the last has what is left.
        label: names of data and teacher, for people.
        created: when, ISO 8601.
        limbeck: the version that made it.
    """

    parts: dict[str, Any]
    rows: int
    views: int
    positions: int
    classes: int
    kind: str
    k: int
    dtype: str
    shard_rows: int
    label: dict[str, str]
    created: str
    limbeck: str

    @cached_property
    def key(self) -> str:
        """The store's name: the first 32 hexadecimal digits of the SHA-256 of its parts."""
        return hashlib.sha256(canonical(self.parts).encode()).hexdigest()[:32]

    @cached_property
    def seed(self) -> int:
        """Of the random numbers of ``sampled``: of the samples alone, so that teachers that are
        nearly the same, as two processes train them, draw nearly the same.
        """
        return int(hashlib.sha256(canonical(self.parts["samples"]).encode()).hexdigest()[:16], 16)

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.rows // self.shard_rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """How answers are laid out: ``(rows, views)``, for blocks of tokens ``(rows, views,
        positions)``.
        """
        return (
            (self.rows, self.views, self.positions)
            if self.parts["tokens"]
            else (self.rows, self.views)
        )

    @property
    def temperature(self) -> float | None:
        """At which classes were drawn; None but for ``sampled``."""
        return self.parts["format"].get("temperature")

    @property
    def record_bytes(self) -> int:
        """Bytes of an answer."""
        return record_bytes(self.kind, self.classes, self.k, self.dtype)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in all its views."""
        return self.views * self.positions * self.record_bytes

    @property
    def size(self) -> int:
        """Bytes of all answers."""
        return self.rows * self.row_bytes

    @property
    def kind_name(self) -> str:
        """What is kept of an answer, for people: ``dense float16``, ``topk 12``, ``sampled 12
        (T=2)``.
        """
        if self.kind == "dense":
            return f"dense {self.dtype}"
        return f"{self.kind} {self.k}" + (
            "" if self.temperature is None else f" (T={self.temperature:g})"
        )

    def rows_of(self, shard: int) -> tuple[int, int]:
        """First row of a shard, and the one behind its last."""
        return shard * self.shard_rows, min((shard + 1) * self.shard_rows, self.rows)


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
        raise UntrustedFileError(
            f"{path / HEADER} is of format {content.get('format')!r}; this version reads {FORMAT}. "
            f"{advice(path)}"
        )
    for name, kind in Header.__annotations__.items():
        wanted = {int: int, str: str}.get(kind, dict)
        value = content.get(name)
        fits = isinstance(value, wanted) and not isinstance(value, bool)
        if not fits or (isinstance(value, int) and not (name != "k") <= value < 1 << 48):
            raise refuse(
                f"{name} should be {'a whole number' if wanted is int else wanted.__name__}, found "
                f"{value!r}"
            )
    header = Header(**{name: content[name] for name in Header.__annotations__})
    fault = _fault(header)
    if fault:
        raise refuse(fault)
    return header


def _fault(header: Header) -> str | None:
    """What does not fit in a header whose values are of the right kinds."""
    kind, k, dtype, parts = header.kind, header.k, header.dtype, header.parts
    if kind not in KINDS or dtype not in ITEM_BYTES or (kind != "dense" and dtype != SPARSE_DTYPE):
        return f"there are no answers of kind {kind!r} and dtype {dtype!r}"
    if k > header.classes or (k == 0) != (kind == "dense"):
        return f"k is {k} for {kind} answers in {header.classes} classes"
    if header.size > sys.maxsize:
        return "its sizes give no array"
    if set(parts) != set(PARTS) or not all(isinstance(part, dict) for part in parts.values()):
        return f"parts should be {', '.join(PARTS)}"
    kept = parts["format"]
    named = (
        parts["samples"].get("rows"),
        parts["views"].get("count"),
        parts["tokens"].get("positions", 1),
        kept.get("kind"),
        kept.get("k"),
        kept.get("dtype"),
    )
    if (header.rows, header.views, header.positions, kind, k, dtype) != named:
        return "its sizes are not those of its parts"
    temperature = header.temperature
    number = isinstance(temperature, float) and 0 < temperature < float("inf")
    if not (number if kind == "sampled" else temperature is None):
        return f"{kind} answers have temperature {temperature!r}"
    return None


def advice(path: Path) -> str:
    """What to do about a store that is of no use."""
    place = "" if path.parent == default_folder() else f" --folder {shlex.quote(str(path.parent))}"
    return f"Remove that store with 'limbeck store clear {path.name[:12]}{place}'; the next run computes it anew."
