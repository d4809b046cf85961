"""Opening a store: what it holds, what is computed again, and places that do not work."""

import errno
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from support.store_cases import (
    CLASSES,
    SAMPLES,
    SHARD,
    VIEWS,
    Mixed,
    Scaled,
    answering,
    counting,
    folder_of,
    image_pass,
    images,
    model,
    open_quietly,
)

from limbeck._base.errors import ResourceError, TeacherError, UntrustedFileError
from limbeck.data import Flip, Mixup, NoViews, Shift, TransferSet
from limbeck.data.batches import TrainBatches
from limbeck.data.dataset import Split
from limbeck.data.transfer_set import mixing_pool
from limbeck.store.files import ANSWERS, CHECKSUMS, StoreFolder
from limbeck.store.key import HEADER
from limbeck.store.verify import COMPARED
from limbeck.teacher.signal import LiveTeacher


def open_counted(teacher_pass, root, dtype="float32"):
    """Open a store; also the number of inputs asked besides the comparison, and the messages."""
    log, console = [], io.StringIO()
    stored = open_quietly(counting(teacher_pass, log), root, dtype, console)
    return stored, sum(log) - COMPARED, console.getvalue()


# What it holds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [1, 2])
def test_stored_answers_are_the_live_ones_bit_for_bit(tmp_path, members):
    teacher = LiveTeacher([model(seed) for seed in range(members)])
    stored = open_quietly(image_pass(teacher=teacher), tmp_path)
    train = Split(images(), torch.zeros(SAMPLES, dtype=torch.int64))
    epoch = iter(range(9))
    batches = TrainBatches(
        train,
        torch.arange(SAMPLES),
        train.labels,
        views=Shift(1),
        seeds=[3, 4],
        batch_size=10,
        epoch=lambda: next(epoch),
    )
    pairs = set()
    for _ in range(4):
        for batch in batches:
            live = teacher(batch.x, batch.sample, batch.view)
            assert torch.equal(stored(batch.x, batch.sample, batch.view), live)
            pairs |= set((batch.sample * VIEWS + batch.view).flatten().tolist())
    assert len(pairs) > SAMPLES * VIEWS / 2


def test_answers_equal_a_plain_loop(root):
    stored, net = open_quietly(image_pass(), root).records, model().eval()
    for row in (0, 11, 39):
        for view in range(VIEWS):
            down, right = divmod(view, 3)
            padded = np.pad(images()[row, 0].numpy() / 255, 1)
            shifted = padded[2 - down : 6 - down, 2 - right : 6 - right]
            with torch.no_grad():
                expected = net(torch.tensor(shifted, dtype=torch.float32)[None, None])[0]
            torch.testing.assert_close(stored[row, view], expected)


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 10), ("bfloat16", 7), ("float32", 23)])
def test_a_dtype_keeps_its_bits(tmp_path, dtype, bits):
    exact = open_quietly(image_pass(), tmp_path / "exact").records
    stored = open_quietly(image_pass(), tmp_path, dtype)
    first = torch.zeros(SAMPLES, dtype=torch.int64)
    logits = stored(torch.zeros(SAMPLES, 1), torch.arange(SAMPLES), first)
    assert logits.dtype == torch.float32
    error = (logits - exact[:, 0]).abs()
    assert (error <= exact[:, 0].abs() * 2.0 ** -(bits + 1) + 1e-7).all()
    assert torch.equal(stored.records, exact.to(getattr(torch, dtype)))
    size = SAMPLES * VIEWS * CLASSES * (4 if dtype == "float32" else 2)
    folder = folder_of(tmp_path, dtype=dtype)
    assert (folder / ANSWERS).stat().st_size == size
    assert {file.name for file in folder.iterdir()} == {HEADER, CHECKSUMS, ANSWERS}


def test_writing_to_the_logits_leaves_the_file(root):
    before = (folder_of(root) / ANSWERS).read_bytes()
    open_quietly(image_pass(), root).records.zero_()
    assert (folder_of(root) / ANSWERS).read_bytes() == before


def test_a_store_of_some_rows_and_mixed_views(tmp_path):
    rows = torch.tensor([1, 4, 6, 7, 30, 31, 39])
    some = image_pass(rows=rows, views=Mixed())
    stored, inputs = open_quietly(some, tmp_path), images().float() / 255
    for index, row in enumerate(rows.tolist()):
        for view in range(4):
            other = int(rows[(row * 7 + view) % len(rows)])
            live = some.teacher((inputs[row] + inputs[other])[None] / 2)[0]
            answer = stored(inputs[:1], torch.tensor([row]), torch.tensor([view]))[0]
            torch.testing.assert_close(answer, live)
            assert torch.equal(answer, stored.records[index, view])
    with pytest.raises(TeacherError, match="no stored answer to training sample 5"):
        stored(inputs[:1], torch.tensor([5]), torch.tensor([0]))


@pytest.mark.parametrize(
    "transfer", [TransferSet(), TransferSet(25), TransferSet(25, 6)], ids=lambda t: t.name
)
def test_stored_answers_are_to_the_mixtures_that_students_see(transfer, tmp_path):
    split = Split(images(), torch.arange(SAMPLES) % CLASSES)
    index, labels = transfer.select(split)
    views = Mixup(1.0, Flip()).limited(6)
    mixtures = image_pass(views=views, rows=index, pool=mixing_pool(index, labels))
    stored = open_quietly(mixtures, tmp_path)
    batches = TrainBatches(
        split, index, labels, views=views, seeds=[1, 2], batch_size=8, epoch=lambda: 3
    )
    for batch in batches:
        live = mixtures.teacher(batch.x, batch.sample)
        torch.testing.assert_close(stored(batch.x, batch.sample, batch.view), live)


def test_a_second_time_nothing_is_asked_or_written(root):
    folder = folder_of(root)
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    (root / f"{folder.name}.lock").unlink()
    _, count, messages = open_counted(image_pass(), root)
    assert count == 0
    assert messages == ""
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before
    assert not (root / f"{folder.name}.lock").exists()


def test_random_numbers_keep_their_state(tmp_path):
    teacher_pass, state = image_pass(), torch.get_rng_state()
    open_quietly(teacher_pass, tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


# Damage -------------------------------------------------------------------------------------------


def change_a_byte(folder):
    with (folder / ANSWERS).open("r+b") as file:
        file.seek(2 * SHARD * CLASSES * 4 + 5)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


def truncate(folder):
    os.truncate(folder / ANSWERS, (folder / ANSWERS).stat().st_size - 1)


def lengthen(folder):
    with (folder / ANSWERS).open("ab") as file:
        file.write(b"x")


def checksums_of(folder):
    return json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))


def swap(folder):
    content, size = (folder / ANSWERS).read_bytes(), SHARD * CLASSES * 4
    (folder / ANSWERS).write_bytes(content[size : 2 * size] + content[:size] + content[2 * size :])
    checksums = checksums_of(folder)
    shards = checksums["shards"]
    shards["0"], shards["1"] = shards["1"], shards["0"]
    (folder / CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")


def remove_answers(folder):
    (folder / ANSWERS).unlink()


def remove_checksums(folder):
    (folder / CHECKSUMS).unlink()


def write_checksums(text):
    def damage(folder):
        (folder / CHECKSUMS).write_text(text, encoding="utf-8")

    damage.__name__ = f"checksums {text[:20]}"
    return damage


def foreign_answers(folder):
    other = image_pass(teacher=LiveTeacher(model(seed=9)))
    open_quietly(other, folder.parent / "foreign")
    for name in (ANSWERS, CHECKSUMS):
        shutil.copy(folder_of(folder.parent / "foreign", other) / name, folder / name)


@pytest.mark.parametrize(
    ("damage", "shards"),
    [
        (change_a_byte, "shard 2 is"),
        (truncate, "shard 3 is"),
        (lengthen, "shard 3 is"),
        (swap, "shards 0, 1 are"),
        (remove_answers, "shards 0, 1, 2, 3 are"),
        (foreign_answers, "shards 0, 1, 2, 3 are"),
        (remove_checksums, ""),
        (write_checksums("{"), "shards 0, 1, 2, 3 are"),
        (write_checksums('{"shards": []}'), "shards 0, 1, 2, 3 are"),
        (write_checksums('{"shards": {"7": "a"}}'), "shards 0, 1, 2, 3 are"),
        (write_checksums("[" * 100_000), "shards 0, 1, 2, 3 are"),
        (write_checksums('{"shards": {"0": null}}'), "shards 0, 1, 2, 3 are"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damaged_shards_are_computed_again(root, damage, shards):
    expected = open_quietly(image_pass(), root).records.clone()
    damage(folder_of(root))
    stored, count, messages = open_counted(image_pass(), root)
    assert torch.equal(stored.records, expected)
    assert count == (shards.count(",") + 1 if shards else 4) * SHARD
    if shards:
        assert f"{shards} damaged and computed again" in messages
    assert open_counted(image_pass(), root)[1] == 0


def test_a_shard_without_checksum_is_not_read(root):
    folder = folder_of(root)
    expected = (folder / ANSWERS).read_bytes()
    checksums = checksums_of(folder)
    del checksums["shards"]["1"]
    (folder / CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")
    half = bytearray(expected)
    half[SHARD * CLASSES * 4 : SHARD * CLASSES * 6] = b"\xff" * (SHARD * CLASSES * 2)
    (folder / ANSWERS).write_bytes(half)
    assert open_counted(image_pass(), root)[1] == SHARD
    assert (folder / ANSWERS).read_bytes() == expected


@pytest.mark.parametrize("step", ["_read", "check"])
def test_the_file_that_is_checked_is_the_one_that_is_mapped(root, monkeypatch, step):
    """Another process may clear the store and build it again meanwhile."""
    expected = open_quietly(image_pass(), root).records.clone()
    original = getattr(StoreFolder, step)

    def replacing(self, *arguments):
        result = original(self, *arguments) if step == "check" else None
        size = self.answers.stat().st_size
        self.answers.unlink()
        self.answers.write_bytes(bytes(size))
        return result if step == "check" else original(self, *arguments)

    monkeypatch.setattr(StoreFolder, step, replacing)
    assert torch.equal(open_quietly(image_pass(), root).records, expected)


def test_the_store_of_another_teacher_under_this_key_is_refused(root):
    other = image_pass(teacher=LiveTeacher(model(seed=9)))
    shutil.copytree(folder_of(root), folder_of(root, other))
    expected = f"belongs to another store .{folder_of(root).name}"
    with pytest.raises(UntrustedFileError, match=expected):
        open_quietly(other, root)


# Logits that do not fit ---------------------------------------------------------------------------


def test_logits_beyond_float16(tmp_path):
    large = image_pass(teacher=LiveTeacher(Scaled(1e6)))
    message = r"more than float16 can hold \(6.55e\+04\).*store.dtype=float32"
    with pytest.raises(TeacherError, match=message) as caught:
        open_quietly(large, tmp_path, "float16")
    assert caught.value.exit_code == 4
    assert StoreFolder.open(folder_of(tmp_path, large, "float16")).checksums() == {}
    for dtype in ("float32", "bfloat16"):
        assert open_quietly(large, tmp_path, dtype).records.isfinite().all()


def test_masked_classes_are_refused_with_a_way_out(tmp_path):
    logits = torch.tensor([1.0, 2.0, -torch.inf])
    masked = answering(image_pass(), lambda x: logits.repeat(len(x), 1))
    message = r"sample \d+ are not all finite: .*-inf for masked classes, use store=off"
    with pytest.raises(TeacherError, match=message):
        open_quietly(masked, tmp_path)


def test_a_teacher_of_other_classes_is_refused(tmp_path):
    with pytest.raises(TeacherError, match=r"shape \[90, 3\]; \[90, 4\] was expected"):
        open_quietly(image_pass(classes=4), tmp_path)


# Places that do not work --------------------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path):
    """A small disk of its own, where that is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_and_then_a_larger_one(mounted):
    many = image_pass(inputs=images(4000))
    message = r"The disk is full: the teacher's answers need 432\.0 kB .*store=off"
    with pytest.raises(ResourceError, match=message) as caught:
        open_quietly(many, mounted)
    assert caught.value.exit_code == 6
    assert shutil.disk_usage(mounted).free > 50_000
    subprocess.run(["mount", "-o", "remount,size=1m", mounted], check=True)
    assert open_quietly(many, mounted).records.shape == (4000, 9, 3)


def test_a_disk_that_cannot_be_written(mounted):
    open_quietly(image_pass(), mounted)
    spoilt = image_pass(teacher=LiveTeacher(model(seed=2)))
    open_quietly(spoilt, mounted)
    change_a_byte(folder_of(mounted, spoilt))
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    assert open_counted(image_pass(), mounted)[1] == 0
    message = r"cannot be written \(Read-only file system\).*store\.folder=DIR"
    with pytest.raises(ResourceError, match=message):
        open_quietly(image_pass(views=NoViews()), mounted)
    message = r"shard 2 is damaged and cannot be repaired: .*Read-only"
    with pytest.raises(UntrustedFileError, match=message):
        open_quietly(spoilt, mounted)


def test_lack_of_room_is_reported_before_anything_is_asked(tmp_path, monkeypatch):
    log, usage = [], type(shutil.disk_usage(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage(1000, 990, 10))
        with pytest.raises(ResourceError, match=r"The disk is full: .* 10 bytes are free"):
            open_quietly(counting(image_pass(), log), tmp_path)
        assert log == []
        patch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 0))  # it cannot tell
        assert open_counted(image_pass(), tmp_path)[1] == SAMPLES * VIEWS


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_half_way_keeps_finished_shards(tmp_path, monkeypatch, code):
    write = StoreFolder.write

    def failing(self, shard, content):
        if shard == 2:
            monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(error))
        write(self, shard, content)

    error = OSError(code, os.strerror(code))
    with monkeypatch.context() as patch:
        patch.setattr(StoreFolder, "write", failing)
        message = "The disk is full" if code == errno.ENOSPC else "Input/output error"
        with pytest.raises(ResourceError, match=message):
            open_quietly(image_pass(), tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr("limbeck.store.key.SHARD_ANSWERS", SHARD)
    assert open_counted(image_pass(), tmp_path)[1] == 2 * SHARD


@pytest.mark.parametrize("name", [ANSWERS, CHECKSUMS])
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES])
def test_a_file_that_cannot_be_read(root, monkeypatch, name, code):
    original = Path.open

    def failing(self, mode="r", *arguments, **options):
        if self.name == name and "r" in mode:
            raise OSError(code, os.strerror(code), str(self))
        return original(self, mode, *arguments, **options)

    def read_text(self, encoding):
        return self.open(encoding=encoding).read()

    monkeypatch.setattr(Path, "open", failing)
    monkeypatch.setattr(Path, "read_text", read_text)
    message = f"{name} cannot be read .{os.strerror(code)}.*store.folder=DIR.*store=off"
    with pytest.raises(ResourceError, match=message) as caught:
        open_quietly(image_pass(), root)
    assert caught.value.exit_code == 6


def raising(error):
    def answer(_):
        raise error

    return answer


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_lack_of_memory_is_one_message(root, error):
    message = r"Memory ran out while the teacher's answers were .*with store=off"
    with pytest.raises(ResourceError, match=message) as caught:
        open_quietly(answering(image_pass(views=NoViews()), raising(error)), root)
    assert caught.value.exit_code == 6
    change_a_byte(folder_of(root))  # nor is that called damage that cannot be repaired
    with pytest.raises(ResourceError, match="Memory ran out"):
        open_quietly(answering(image_pass(), raising(error)), root)


def test_other_errors_of_a_teacher_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="something else"):
        open_quietly(answering(image_pass(), raising(RuntimeError("something else"))), tmp_path)
