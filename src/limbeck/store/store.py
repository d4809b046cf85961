"""The soft-target store: a teacher's answers to samples in all views, computed once and kept on the
disk.

A store is found by what produced it: the teacher, the samples, the views, the normalisation, the
precision and the format. If any of these differs, it is another store.
"""

import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from limbeck._base.checks import check_count, closest
from limbeck._base.errors import ConfigError, ResourceError, UntrustedFileError
from limbeck._base.progress import StageProgress
from limbeck.store.answers import Answers
from limbeck.store.codec import DTYPES, decoded, encoded
from limbeck.store.files import StoreFolder, find_stores, writing
from limbeck.store.key import (
    KINDS,
    SPARSE_DTYPE,
    SPARSE_KINDS,
    Header,
    advice,
    default_folder,
    differing,
)
from limbeck.store.verify import compare
from limbeck.teacher.signal import StoredTeacher

MODES = ("auto", "off")
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""Of the messages in which torch says so."""
SHOWN_FROM = 1 << 28
"""Bytes from which the check of a store shows its progress."""


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """What is kept of a teacher's answers, and where.

    Attributes:
        mode: ``auto`` computes the answers once and keeps them where that is not more work than
            asking in every step; ``off`` asks in every step.
        kind: what is kept of an answer: ``dense`` all logits, ``topk`` the K most probable classes
            and what is left, ``sampled`` K classes drawn at the temperature of the objective. The
            last two suffice the KL and the cross-entropy alone.
        k: K; all classes where there are fewer.
        dtype: of dense logits: ``float16``, ``bfloat16`` or ``float32``. At float32 they are the
            live ones bit for bit, on the same device and but for the rounding of tiny batches.
        views: of each sample, where a continuous family of views has no end.
        folder: where; None for ``$LIMBECK_STORE`` or the user's cache folder.

    Raises:
        ConfigError: a value is out of range.
    """

    mode: str = "auto"
    kind: str = "dense"
    k: int = 12
    dtype: str = "float16"
    views: int = 16
    folder: str | Path | None = None

    def __post_init__(self) -> None:
        for name, known in (("mode", MODES), ("kind", KINDS), ("dtype", tuple(DTYPES))):
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(
                    f"store.{name}={value!r} is unknown; choose one of {', '.join(known)}."
                )
        if self.kind != "dense" and self.dtype != SPARSE_DTYPE:
            raise ConfigError(
                f"store.dtype={self.dtype!r} is for store.kind=dense; {self.kind} answers are kept "
                f"in {SPARSE_DTYPE}."
            )
        check_count("store.k", self.k)
        check_count("store.views", self.views)
        if self.folder is not None and (
            not isinstance(self.folder, (str, Path)) or not str(self.folder)
        ):
            raise ConfigError(
                f"store.folder={self.folder!r} should be a folder, or null for the user's cache."
            )

    @classmethod
    def of(cls, value: "StoreLike") -> "StoreSettings":
        """Settings from what a user may write: settings, a group of them, a mode (False is off, as
        in YAML) or a kind.

        Raises:
            ConfigError: it is none of these.
        """
        if isinstance(value, StoreSettings):
            return value
        if isinstance(value, Mapping):
            known = [f.name for f in fields(cls)]
            for name in value:
                if name not in known:
                    near = closest(str(name), known)
                    hint = (
                        f"; did you mean store.{near}?"
                        if near
                        else f"; known are {', '.join(known)}."
                    )
                    raise ConfigError(f"unknown key store.{name}{hint}")
            return cls(
                **{
                    **value,
                    "mode": "off"
                    if value.get("mode", "auto") is False
                    else value.get("mode", "auto"),
                }
            )
        mode = "off" if value is False else value
        if mode in SPARSE_KINDS:
            return cls(kind=str(mode))
        if mode not in MODES:
            raise ConfigError(
                f"store={value!r} is unknown; choose one of {', '.join((*MODES, *SPARSE_KINDS))}."
            )
        return cls(mode=str(mode))

    @property
    def root(self) -> Path:
        """The folder of all stores."""
        return default_folder() if self.folder is None else Path(self.folder).expanduser()


StoreLike = StoreSettings | Mapping[str, Any] | str | bool

# Finding and building -----------------------------------------------------------------------------


def is_complete(root: Path, header: Header) -> bool:
    """Whether a store is there with all its shards."""
    with suppress(UntrustedFileError, ResourceError):
        found = _find(root, header)
        return found is not None and len(found.journal()) == found.header.shards
    return False


def open_store(
    answers: Answers, header: Header, root: Path, progress: StageProgress
) -> StoredTeacher:
    """The stored answers: those kept before, and what is missing of them computed now; all checked.

    Args:
        answers: what to find or to compute.
        header: of their store.
        root: the folder of all stores.
        progress: shows the stages.

    Raises:
        ResourceError: the folder cannot be read or written to, the disk is full, or memory ran out.
        UntrustedFileError: the store is damaged and cannot be mended.
        TeacherError: logits are not finite, do not fit the dtype, or are not those that the teacher
            gives now.
    """
    with _enough_memory(answers.device):
        placed = answers.placed()
        store = _find(root, header)
        bad, kept = _checked(store, progress) if store else ([], None)
        if kept is None:
            try:
                with _alone(root, header, progress):
                    kept = _build(root, placed, header, progress)
            except ResourceError as error:
                if not bad:
                    raise
                raise UntrustedFileError(
                    f"{root / header.key}: {_named(bad)} damaged, and cannot be mended: {error}"
                ) from None
        dtype = DTYPES[header.dtype] if header.kind == "dense" else torch.uint8
        records = torch.frombuffer(kept, dtype=dtype).view(*header.shape, -1)
        compare(placed, records, header, root)
        return StoredTeacher(
            records,
            rows=None if answers.whole else answers.rows,
            samples=len(answers.inputs),
            decode=partial(decoded, header=header),
        )


@contextmanager
def _enough_memory(device: torch.device) -> Iterator[None]:
    """Tell in one message that memory ran out; what was finished stays.

    Raises:
        ResourceError: instead of what torch raises then.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        reason = " ".join(str(error).split())
        if isinstance(error, RuntimeError) and not any(words in reason for words in NO_MEMORY):
            raise
        elsewhere = (
            "" if device.type == "cpu" else "compute on the CPU with trainer.accelerator=cpu, "
        )
        raise ResourceError(
            "Memory ran out while the teacher's answers were computed "
            f"({reason[:300] or 'no memory'}). Close other "
            f"programs that use it, {elsewhere}or ask the teacher in every step, for one batch at "
            "a time, with "
            "store=off."
        ) from None


def _find(root: Path, header: Header) -> StoreFolder | None:
    """The store, if there is one, of the sizes that it should have."""
    store = StoreFolder.open(root / header.key)
    for name in ("rows", "views", "classes", "dtype"):
        found, wanted = getattr(store and store.header, name, None), getattr(header, name)
        if store is not None and found != wanted:
            raise UntrustedFileError(
                f"{store.path}: the store is damaged: {name} is {found}, should be {wanted}. "
                f"{advice(store.path)}"
            )
    return store


def _checked(store: StoreFolder, progress: StageProgress) -> tuple[list[int], mmap.mmap | None]:
    """The finished shards that are not sound, all where the journal is not; and the answers if all
    are there.
    """
    try:
        if store.header.size < SHOWN_FROM:
            return store.check()
        with progress.stage("checking the stored answers", len(store.journal()) or 1) as advance:
            return store.check(advance)
    except UntrustedFileError:
        return list(range(store.header.shards)), None


@contextmanager
def _alone(root: Path, header: Header, progress: StageProgress) -> Iterator[None]:
    """Keep other processes from the same store; wait for one that is at it."""
    lock = FileLock(root / f"{header.key}.lock")
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.say(
                "waiting for another process that computes the same answers (store "
                f"{header.key[:12]})"
            )
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _build(root: Path, answers: Answers, header: Header, progress: StageProgress) -> mmap.mmap:
    """Compute what is missing or damaged, if another process has not done so by now; the answers,
    all of them.
    """
    store = _find(root, header)
    if store is None:
        _tell_relative(root, header, progress)
    bad, kept = (list(range(header.shards)), None) if store is None else _checked(store, progress)
    if kept is not None:
        return kept
    if store is not None and bad:
        progress.say(f"store {header.key[:12]}: {_named(bad)} damaged and computed anew")
    store = store or StoreFolder(root / header.key, header)
    store.prepare(without=bad)
    _compute(store, answers, progress)
    return store.mapped()


def _compute(store: StoreFolder, answers: Answers, progress: StageProgress) -> None:
    """Compute the shards that are not in the journal."""
    header, journal = store.header, store.journal()
    missing = [shard for shard in range(header.shards) if shard not in journal]
    spans = {shard: [row * header.views for row in header.rows_of(shard)] for shard in missing}
    done = answers.count - sum(end - first for first, end in spans.values())
    label = "teacher answers" + ("" if header.views == 1 else f", {header.views} views")
    with progress.stage(label, answers.count) as advance:
        for shard, (first, end) in spans.items():
            parts = []
            for number in torch.arange(first, end).chunk(-(-(end - first) // answers.batch())):
                parts.append(encoded(answers.compute(number), header, number).cpu())
                done += len(number)
                advance(done)
            store.write(shard, torch.cat(parts).numpy().tobytes())


def _tell_relative(root: Path, header: Header, progress: StageProgress) -> None:
    """Say why a store of the same data and teacher is not taken, if it differs in one part alone."""
    for path in find_stores(root):
        with suppress(UntrustedFileError, ResourceError):
            other = StoreFolder.open(path)
            if other is None or any(
                other.header.label.get(k) != header.label[k] for k in ("data", "teacher")
            ):
                continue
            unlike = differing(other.header.parts, header.parts)
            if len(unlike) == 1:
                progress.say(
                    f"the teacher's answers are computed: the stored ones ({path.name[:12]}) "
                    f"differ in {unlike[0]}"
                )
                return


def _named(shards: list[int]) -> str:
    return (
        f"shard {shards[0]} is" if len(shards) == 1 else f"shards {', '.join(map(str, shards))} are"
    )
