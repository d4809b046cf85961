"""Builds that cannot succeed: logits that do not fit, and places that do not work."""

import errno
import os
import shutil
import subprocess

import pytest
import torch
from support.store_cases import (
    SAMPLES,
    SHARD,
    VIEWS,
    Scaled,
    answering,
    change_a_byte,
    counting,
    folder_of,
    image_pass,
    images,
    model,
    open_counted,
    open_quietly,
)

from limbeck._base.errors import ResourceError, TeacherError, UntrustedFileError
from limbeck._base.open_folder import OpenFolder
from limbeck.data import NoViews
from limbeck.store.files import ANSWERS, CHECKSUMS, StoreFolder
from limbeck.teacher.signal import LiveTeacher

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
    with pytest.raises(TeacherError, match=r"shape \[90, 3\] .* Expected \[90, 4\]"):
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
            monkeypatch.setattr(OpenFolder, "edit", lambda *_: (_ for _ in ()).throw(error))
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
    original = OpenFolder.read

    def failing(self, file):
        if file == name:
            raise OSError(code, os.strerror(code), str(self.path / file))
        return original(self, file)

    monkeypatch.setattr(OpenFolder, "read", failing)
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
