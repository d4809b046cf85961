"""Opening a store: its finished shards are checked, and what is missing is computed."""

import mmap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import torch

from limbeck._base import cache
from limbeck._base.errors import ResourceError, UntrustedFileError
from limbeck._base.progress import StageProgress
from limbeck.store.answers import TeacherPass
from limbeck.store.codec import DTYPES, decode, encode
from limbeck.store.files import Check, StoreFolder, find_stores, name_shards, writing
from limbeck.store.key import Header, damage_error, differing
from limbeck.store.verify import verify
from limbeck.teacher.signal import StoredTeacher

NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""Words of the messages with which torch reports that memory ran out."""
SHOWN_FROM = 1 << 28
"""Bytes from which on the check of a store shows its progress."""


def is_complete(root: Path, header: Header) -> bool:
    """Whether a store exists with all its shards."""
    with suppress(UntrustedFileError, ResourceError):
        store = _find(root, header)
        return store is not None and store.complete
    return False


def open_store(
    teacher_pass: TeacherPass, header: Header, root: Path, progress: StageProgress
) -> StoredTeacher:
    """Open the stored answers; compute those that are missing or damaged first.

    Args:
        teacher_pass: Pass that computes the answers.
        header: Header of the store.
        root: Folder of all stores.
        progress: Display of the stages.

    Raises:
        ResourceError: If the folder cannot be read or written to, the disk is full, or memory ran
            out.
        UntrustedFileError: If the store is damaged and cannot be repaired.
        TeacherError: If logits are not finite, do not fit the dtype, or are not those that the
            teacher gives now.
    """
    with _reporting_lack_of_memory(teacher_pass.device):
        on_device = teacher_pass.to_device()
        content = _content(on_device, header, root, progress)
        dtype = DTYPES[header.dtype] if header.kind == "dense" else torch.uint8
        records = torch.frombuffer(content, dtype=dtype).view(*header.shape, -1)
        verify(on_device, records, header, root)
    return StoredTeacher(
        records,
        rows=None if teacher_pass.covers_split else teacher_pass.rows,
        samples=len(teacher_pass.inputs),
        decode=partial(decode, header=header),
    )


def _content(
    teacher_pass: TeacherPass, header: Header, root: Path, progress: StageProgress
) -> mmap.mmap:
    """Map of the answers, computed first where necessary, by one process while others wait."""
    store = _find(root, header)
    check = _check(store, progress)
    if check.content is not None:
        return check.content

    def on_wait() -> None:
        progress.say(
            f"waiting for another process that computes the same answers (store {header.key[:12]})"
        )

    try:
        with ExitStack() as stack:
            with writing(root, header.size):
                root.mkdir(parents=True, exist_ok=True)
                stack.enter_context(cache.hold_lock(root / header.key, on_wait))
            return _build(teacher_pass, header, root, progress)
    except ResourceError as error:
        if store is None or not check.damaged_shards:
            raise
        shards = name_shards(check.damaged_shards)
        raise UntrustedFileError(
            f"{store.path}: {shards} damaged and cannot be repaired: {error}"
        ) from None


def _find(root: Path, header: Header) -> StoreFolder | None:
    """The store with a key, if it exists."""
    store = StoreFolder.open(root / header.key)
    if store is not None and store.header.classes != header.classes:
        fault = f"classes is {store.header.classes}, should be {header.classes}"
        raise damage_error(store.path, fault)
    return store


def _check(store: StoreFolder | None, progress: StageProgress) -> Check:
    """Check a store; without checksums all of its shards are damaged."""
    if store is None:
        return Check([], None)
    try:
        if store.header.size < SHOWN_FROM:
            return store.check()
        with progress.stage("checking the stored answers", store.header.shards) as advance:
            return store.check(advance)
    except UntrustedFileError:
        return Check(list(range(store.header.shards)), None)


def _build(
    teacher_pass: TeacherPass, header: Header, root: Path, progress: StageProgress
) -> mmap.mmap:
    """Compute what is missing or damaged, unless another process has done so by now."""
    store = _find(root, header)
    check = _check(store, progress)
    if check.content is not None:
        return check.content
    if store is None:
        _report_similar(root, header, progress)
        store = StoreFolder(root / header.key, header)
    if check.damaged_shards:
        shards = name_shards(check.damaged_shards)
        progress.say(f"store {header.key[:12]}: {shards} damaged and computed again")
    store.prepare(without=check.damaged_shards)
    _compute(store, teacher_pass, progress)
    content = store.check().content
    if content is None:
        raise UntrustedFileError(f"{store.path}: the answers just written cannot be read back.")
    return content


def _compute(store: StoreFolder, teacher_pass: TeacherPass, progress: StageProgress) -> None:
    """Compute the shards that have no checksum."""
    header, finished = store.header, store.checksums()
    missing = [shard for shard in range(header.shards) if shard not in finished]
    done = teacher_pass.count - sum(len(header.rows_of(shard)) for shard in missing) * header.views
    label = "teacher answers"
    if header.views > 1:
        label += f", {header.views} views"
    with progress.stage(label, teacher_pass.count) as advance:
        for shard in missing:
            rows = header.rows_of(shard)
            records = []
            first, end = rows.start * header.views, rows.stop * header.views
            for number, logits in teacher_pass.compute_all(first, end):
                records.append(encode(logits, header, number).cpu())
                done += len(number)
                advance(done)
            store.write(shard, torch.cat(records).numpy().tobytes())


def _report_similar(root: Path, header: Header, progress: StageProgress) -> None:
    """Say why a store of the same data and teacher is not used, if one part alone differs."""
    for path in find_stores(root):
        with suppress(UntrustedFileError, ResourceError):
            other = StoreFolder.open(path)
            if other is None:
                continue
            label, other_label = header.label, other.header.label
            if any(label[name] != other_label.get(name) for name in ("data", "teacher")):
                continue
            parts = differing(header, other.header)
            if len(parts) == 1:
                progress.say(
                    f"the teacher's answers are computed: the stored ones ({path.name[:12]}) "
                    f"differ in {parts[0]}"
                )
                return


@contextmanager
def _reporting_lack_of_memory(device: torch.device) -> Iterator[None]:
    """Report in one message that memory ran out; finished shards stay.

    Raises:
        ResourceError: If memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        reason = " ".join(str(error).split())[:300] or "no memory"
        if isinstance(error, RuntimeError) and not any(words in reason for words in NO_MEMORY):
            raise
        elsewhere = ""
        if device.type != "cpu":
            elsewhere = "compute on the CPU with trainer.accelerator=cpu, "
        raise ResourceError(
            f"Memory ran out while the teacher's answers were computed ({reason}). Close other "
            f"programs that use it, {elsewhere}or ask the teacher in every step, one batch at a "
            "time, with store=off."
        ) from None
