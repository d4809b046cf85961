"""Header of a store: origin and sizes of its answers, and the key derived from them."""

import json
import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from limbeck._base import cache
from limbeck._base.errors import ResourceError, UntrustedFileError

FORMAT = 2
HEADER = "store.json"
SPARSE_KINDS = ("topk", "sampled")
KINDS = ("dense", *SPARSE_KINDS)
ITEM_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
SPARSE_DTYPE = "float16"
"""Type of the numbers in sparse stores."""
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
"""Parts of a key, and their descriptions in messages."""
_FIELDS = ("parts", "classes", "shard_rows", "label", "created", "limbeck")
_SIZES = ("rows", "views", "positions", "kind", "k", "dtype")


@dataclass(frozen=True, kw_only=True)
class Header:
    """Header of a store.

    A record is the answer for one position of one row in one view.

    Attributes:
        parts: Origin of the answers, one entry for each of :data:`PARTS`.
        classes: Number of classes, C.
        shard_rows: Number of rows per shard; the last shard may have fewer.
        label: Names of data, teacher and views, for display.
        created: Time of creation, ISO 8601.
        limbeck: Version of limbeck that created the store.
    """

    parts: dict[str, dict[str, Any]]
    classes: int
    shard_rows: int
    label: dict[str, str]
    created: str
    limbeck: str

    @property
    def rows(self) -> int:
        """Number of samples, N."""
        return self.parts["samples"]["rows"]

    @property
    def views(self) -> int:
        """Number of views of each sample, V."""
        return self.parts["views"]["count"]

    @property
    def positions(self) -> int:
        """Number of answers per sample and view: T for blocks of T tokens, otherwise 1."""
        return self.parts["tokens"].get("positions", 1)

    @property
    def kind(self) -> str:
        """Part of an answer that is stored, one of :data:`KINDS`."""
        return self.parts["format"]["kind"]

    @property
    def k(self) -> int:
        """Number of classes per answer, K; 0 for ``dense``, which stores all of them."""
        return self.parts["format"]["k"]

    @property
    def dtype(self) -> str:
        """Type of the logits, log-probabilities or weights."""
        return self.parts["format"]["dtype"]

    @property
    def temperature(self) -> float | None:
        """Temperature at which classes were drawn; None except for ``sampled``."""
        return self.parts["format"].get("temperature")

    @cached_property
    def key(self) -> str:
        """Name of the store: 32 hexadecimal digits of the SHA-256 of its parts."""
        return cache.key_of(canonical(self.parts))

    @cached_property
    def seed(self) -> int:
        """Seed of the draws of ``sampled``.

        It depends on the samples alone. Teachers that differ only by rounding therefore draw nearly
        the same classes.
        """
        return int(cache.key_of(canonical(self.parts["samples"]))[:16], 16)

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.rows // self.shard_rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the answers: ``(N, V)``, or ``(N, V, T)`` for blocks of tokens."""
        if self.parts["tokens"]:
            return self.rows, self.views, self.positions
        return self.rows, self.views

    @property
    def record_bytes(self) -> int:
        """Bytes of an answer.

        A dense answer consists of its logits, a sparse one of K classes with a value each; ``topk``
        has two more values for the other classes.
        """
        if self.kind == "dense":
            return self.classes * ITEM_BYTES[self.dtype]
        values = self.k + 2 * (self.kind == "topk")
        return self.k * id_bytes(self.classes) + values * ITEM_BYTES[SPARSE_DTYPE]

    @property
    def row_bytes(self) -> int:
        """Bytes of a sample in all its views."""
        return self.views * self.positions * self.record_bytes

    @property
    def size(self) -> int:
        """Bytes of all answers."""
        return self.rows * self.row_bytes

    @property
    def kind_name(self) -> str:
        """Description of the kind, such as ``dense float16`` or ``sampled 12 (T=2)``."""
        if self.kind == "dense":
            return f"dense {self.dtype}"
        if self.temperature is None:
            return f"{self.kind} {self.k}"
        return f"{self.kind} {self.k} (T={self.temperature:g})"

    def rows_of(self, shard: int) -> range:
        """The rows of a shard."""
        first = shard * self.shard_rows
        return range(first, min(first + self.shard_rows, self.rows))

    def to_json(self) -> dict[str, Any]:
        """Content of the header's file, including sizes derived from the parts."""
        values = {name: getattr(self, name) for name in (*_FIELDS, *_SIZES)}
        return {"format": FORMAT, **values}

    @classmethod
    def from_json(cls, content: Any, path: Path) -> "Header":
        """Read the content of a header's file.

        Args:
            content: Parsed JSON.
            path: Folder of the store, for messages.

        Raises:
            UntrustedFileError: If a value is missing or inconsistent, or the key does not match the
                name of the folder.
        """
        if not isinstance(content, dict):
            raise damage_error(path, f"expected an object, found {type(content).__name__}")
        if content.get("format") != FORMAT:
            raise UntrustedFileError(
                f"{path / HEADER} has format {content.get('format')!r}, but this version reads "
                f"format {FORMAT}. {removal_advice(path)}"
            )
        try:
            header = cls(**{name: content[name] for name in _FIELDS})
            expected = header.to_json()
            sizes = (header.shards, header.classes, header.size)
            possible = all(type(size) is int and 0 < size <= sys.maxsize for size in sizes)
            is_text = all(isinstance(name, str) for name in header.label.values())
            key = header.key
        except LookupError as error:
            raise damage_error(path, f"a value is missing or of the wrong type ({error})") from None
        except (TypeError, ValueError, AttributeError, ArithmeticError):
            raise damage_error(path, "a value is missing or of the wrong type") from None
        for name, value in expected.items():
            if content.get(name) != value:
                raise damage_error(path, f"{name} is {content.get(name)!r}, should be {value!r}")
        if not possible:
            raise damage_error(path, "its sizes are impossible")
        if not is_text:
            raise damage_error(path, "its label should consist of strings")
        if key != path.name:
            reason = f"it was edited, or belongs to another store ({key})"
            raise damage_error(path, reason)
        return header


def canonical(value: Any) -> str:
    """JSON in a canonical form, equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def differing_parts(one: Header, other: Header) -> list[str]:
    """Descriptions of the parts in which two stores differ."""
    names = [name for name in PARTS if one.parts.get(name) != other.parts.get(name)]
    if "tokens" in names and "samples" in names:  # a change of the tokens changes the samples, too
        names.remove("samples")
    return [PARTS[name] for name in names]


def id_bytes(classes: int) -> int:
    """Number of bytes of a class index."""
    if classes <= 1 << 8:
        return 1
    return 2 if classes <= 1 << 16 else 4


def rows_per_shard(row_answers: int, record_bytes: int) -> int:
    """Number of rows in a shard of about 65,536 answers, at least one.

    Args:
        row_answers: Number of answers per row.
        record_bytes: Size of an answer in bytes.
    """
    return max(1, min(SHARD_ANSWERS, SHARD_BYTES // record_bytes) // row_answers)


def removal_advice(path: Path) -> str:
    """Advice to remove a store that cannot be used."""
    option = f" --folder {shlex.quote(str(path.parent))}"
    with suppress(ResourceError):
        if path.parent == cache.ANSWERS.default_folder:
            option = ""
    return (
        f"Remove that store with 'limbeck store clear {path.name[:12]}{option}'; the next run "
        "computes it again."
    )


def damage_error(path: Path, reason: str, file: str = HEADER) -> UntrustedFileError:
    """The error for a damaged file of a store."""
    return UntrustedFileError(f"{path / file} is damaged: {reason}. {removal_advice(path)}")
