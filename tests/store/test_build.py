"""Opening a store: what it holds, what is computed again, and places that do not work."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from support.store_cases import (
    CLASSES,
    SAMPLES,
    SHARD,
    VIEWS,
    Mixed,
    change_a_byte,
    folder_of,
    image_pass,
    images,
    model,
    open_counted,
    open_quietly,
)

from limbeck._base.errors import TeacherError, UntrustedFileError
from limbeck.data import Flip, Mixup, Shift, TransferSet
from limbeck.data.batches import TrainBatches
from limbeck.data.dataset import Split
from limbeck.data.transfer_set import mixing_pool
from limbeck.store.files import ANSWERS, CHECKSUMS, StoreFolder
from limbeck.store.key import HEADER
from limbeck.teacher.signal import LiveTeacher

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
    with pytest.raises(TeacherError, match="no answer for training sample 5"):
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
    assert not (root / f"{folder.name}.lock").exists()
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
