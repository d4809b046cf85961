"""Opening of a store: finished shards are checked and missing ones are computed."""

import mmap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import torch

from limbeck._base import cache
from limbeck._base.errors import ResourceError, UntrustedFileError, is_memory_error
from limbeck._base.progress import StageProgress
from limbeck.store.answers import TeacherPass
from limbeck.store.codec import DTYPES, decode
from limbeck.store.files import (
    Check,
    StoreFolder,
    describe_shards,
    translate_write_errors,
)
from limbeck.store.folder import find_stores
from limbeck.store.key import Header, damage_error, differing_parts
from limbeck.store.remote import RemoteStores, remote_stores
from limbeck.store.shards import ComputeShards, Shards, compute_shards
from limbeck.store.verify import verify
from limbeck.teacher.signal import StoredTeacher

PROGRESS_BYTES = 1 << 28
"""Minimum size of a store in bytes for which checking shows progress."""
UPLOAD_SECONDS = 30.0
"""Number of seconds between two uploads of finished shards to an address."""


def is_complete(root: Path, header: Header) -> bool:
    """Whether a store exists with all its shards."""
    with suppress(UntrustedFileError, ResourceError):
        store = _find(root, header)
        if store is not None and store.complete:
            return True
        remote = remote_stores(root)
        return remote is not None and remote.is_complete(header)
    return False


def open_store(
    teacher_pass: TeacherPass,
    header: Header,
    root: Path,
    progress: StageProgress,
    compute: ComputeShards = compute_shards,
) -> StoredTeacher:
    """Open the stored answers, after computing those that are missing or damaged.

    Args:
        teacher_pass: Pass that computes the answers.
        header: Header of the store.
        root: Folder of all stores.
        progress: Display of the stages.
        compute: Function that computes the content of shards, in this process or elsewhere.

    Raises:
        ResourceError: If the folder cannot be read or written to, the disk is full, or memory ran
            out.
        UntrustedFileError: If the store is damaged and cannot be repaired.
        TeacherError: If logits are not finite, exceed the range of the dtype, or differ from the
            teacher's current logits.
    """
    with _translate_out_of_memory(teacher_pass.device):
        on_device = teacher_pass.to_device()
        content = _content(on_device, header, root, progress, compute)
        dtype = DTYPES[header.dtype] if header.kind == "dense" else torch.uint8
        records = torch.frombuffer(content, dtype=dtype).view(*header.shape, -1)
        verify(on_device, records, header, root)
    remote = remote_stores(root)
    if remote is not None:  # what an earlier study could not upload
        remote.upload(StoreFolder(root / header.key, header))
    return StoredTeacher(
        records,
        rows=None if teacher_pass.covers_split else teacher_pass.rows,
        samples=len(teacher_pass.inputs),
        decode=partial(decode, header=header),
    )


def _content(
    teacher_pass: TeacherPass,
    header: Header,
    root: Path,
    progress: StageProgress,
    compute: ComputeShards,
) -> mmap.mmap:
    """Memory map of the answers; one process computes missing ones while the others wait."""
    store = _find(root, header)
    check = _check(store, progress)
    if check.content is not None:
        if store is not None:
            _clean_up(store)
        return check.content

    def on_wait() -> None:
        progress.say(
            f"waiting for another process that computes the same answers (store {header.key[:12]})"
        )

    try:
        with ExitStack() as stack:
            with translate_write_errors(root, header.size):
                folder = stack.enter_context(cache.open_root(root, create=True))
                stack.enter_context(cache.hold_lock(folder, header.key, on_wait))
            return _build(teacher_pass, header, root, progress, compute)
    except ResourceError as error:
        if store is None or not check.damaged_shards:
            raise
        shards = describe_shards(check.damaged_shards)
        raise UntrustedFileError(
            f"{store.path}: {shards} damaged and cannot be repaired: {error}"
        ) from None


def _clean_up(store: StoreFolder) -> None:
    """Remove what a killed process left next to complete answers."""
    with suppress(OSError), cache.open_root(store.path.parent) as root:
        cache.clean_up(root, store.path.name, store.remove_leftovers)


def _find(root: Path, header: Header) -> StoreFolder | None:
    """The existing store with the key of a header, or None."""
    store = StoreFolder.open(root / header.key)
    if store is not None and store.header.classes != header.classes:
        reason = f"classes is {store.header.classes}, should be {header.classes}"
        raise damage_error(store.path, reason)
    return store


def _check(store: StoreFolder | None, progress: StageProgress) -> Check:
    """Check a store; if the checksums are unreadable, all shards count as damaged."""
    if store is None:
        return Check([], None)
    try:
        if store.header.size < PROGRESS_BYTES:
            return store.check()
        with progress.stage("checking the stored answers", store.header.shards) as advance:
            return store.check(advance)
    except UntrustedFileError:
        return Check(list(range(store.header.shards)), None)


def _build(
    teacher_pass: TeacherPass,
    header: Header,
    root: Path,
    progress: StageProgress,
    compute: ComputeShards,
) -> mmap.mmap:
    """Compute missing and damaged shards, unless another process has done so in the meantime."""
    store = _find(root, header)
    check = _check(store, progress)
    if check.content is not None:
        return check.content
    if store is None:
        _report_similar(root, header, progress)
        store = StoreFolder(root / header.key, header)
    if check.damaged_shards:
        shards = describe_shards(check.damaged_shards)
        progress.say(f"store {header.key[:12]}: {shards} damaged and computed again")
    store.prepare(damaged_shards=check.damaged_shards)
    remote = remote_stores(root)
    if remote is not None:
        remote.download(store, progress)
    _compute(store, teacher_pass, progress, remote, compute)
    content = store.check().content
    if content is None:
        raise UntrustedFileError(f"{store.path}: the answers just written cannot be read back.")
    return content


def _compute(
    store: StoreFolder,
    teacher_pass: TeacherPass,
    progress: StageProgress,
    remote: RemoteStores | None,
    compute: ComputeShards,
) -> None:
    """Compute the shards without a checksum."""
    header, finished = store.header, store.checksums()
    next_upload = time.monotonic() + UPLOAD_SECONDS
    missing = [shard for shard in range(header.shards) if shard not in finished]
    done = teacher_pass.count - sum(len(header.rows_of(shard)) for shard in missing) * header.views
    label = "teacher answers"
    if header.views > 1:
        label += f", {header.views} views"
    with progress.stage(label, teacher_pass.count) as advance:
        shards = Shards(teacher_pass, header, missing)
        for shard, content in compute(shards, lambda count: advance(done + count)):
            store.write(shard, content)
            if remote is not None and time.monotonic() > next_upload:
                remote.upload(store)
                next_upload = time.monotonic() + UPLOAD_SECONDS


def _report_similar(root: Path, header: Header, progress: StageProgress) -> None:
    """Report a store of the same data and teacher that differs in a single part of the key."""
    for path in find_stores(root):
        with suppress(UntrustedFileError, ResourceError):
            other = StoreFolder.open(path)
            if other is None:
                continue
            label, other_label = header.label, other.header.label
            if any(label[name] != other_label.get(name) for name in ("data", "teacher")):
                continue
            parts = differing_parts(header, other.header)
            if len(parts) == 1:
                progress.say(
                    f"the teacher's answers are computed: the stored ones ({path.name[:12]}) "
                    f"differ in {parts[0]}"
                )
                return


@contextmanager
def _translate_out_of_memory(device: torch.device) -> Iterator[None]:
    """Turn PyTorch's out-of-memory errors into limbeck's; finished shards are kept.

    Raises:
        ResourceError: If memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        reason = " ".join(str(error).split())[:300] or "no memory"
        if not is_memory_error(error):
            raise
        hint = ""
        if device.type != "cpu":
            hint = "compute on the CPU with trainer.accelerator=cpu, "
        raise ResourceError(
            f"Memory ran out while the teacher's answers were computed ({reason}). Close other "
            f"programs that use it, {hint}or run the teacher in every step, one batch at a "
            "time, with store=off."
        ) from None
