"""Atomic writes."""

import errno
import json
import os
import secrets
import stat
import subprocess
import sys

import numpy as np
import pytest

from limbeck._base import files
from limbeck._base.files import (
    move,
    open_atomically,
    remove_leftovers,
    remove_leftovers_of_ended,
    temporary_folder,
    write_atomically,
    write_bytes,
    write_json,
    write_text,
)


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_writing_makes_folders_and_leaves_only_the_file(tmp_path):
    file = tmp_path / "a" / "b.txt"
    write_text(file, "grüße 猫\n")
    assert file.read_bytes() == "grüße 猫\n".encode()
    assert listing(tmp_path) == ["a", "a/b.txt"]


def test_a_written_file_has_ordinary_rights(tmp_path):
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_arrays_are_written_to_a_stream(tmp_path):
    with open_atomically(tmp_path / "a.npz") as file:
        np.savez_compressed(file, x=np.arange(3))
    assert listing(tmp_path) == ["a.npz"]
    assert np.load(tmp_path / "a.npz")["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "error", [OSError("disk full"), ValueError("bad"), KeyboardInterrupt(), SystemExit(143)]
)
@pytest.mark.parametrize("existing", [None, "old"])
def test_a_failed_write_leaves_no_trace(tmp_path, error, existing):
    file = tmp_path / "summary.json"
    if existing:
        file.write_text(existing)

    def fail(temporary):
        temporary.write_text("half of i")
        assert temporary.parent == tmp_path, "a move within one folder is atomic"
        raise error

    with pytest.raises(type(error)):
        write_atomically(file, fail)

    def fail_in_block():
        with open_atomically(file) as content:
            content.write(b"half of i")
            raise error

    with pytest.raises(type(error)):
        fail_in_block()
    assert listing(tmp_path) == (["summary.json"] if existing else [])
    assert not existing or file.read_text() == existing


def test_the_target_is_whole_at_every_moment(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "old")

    def write(temporary):
        temporary.write_text("new, first half")
        assert file.read_text() == "old"
        temporary.write_text("new")

    write_atomically(file, write)
    assert file.read_text() == "new"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_json_takes_no_nan(tmp_path, bad):
    file = tmp_path / "a.json"
    write_json(file, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(file, {"a": {"b": [bad]}})
    assert listing(tmp_path) == ["a.json"]
    assert json.loads(file.read_text()) == {"a": 1}


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.EACCES]
)
def test_errors_name_the_file_and_leave_the_earlier_one(tmp_path, monkeypatch, call, code):
    file = tmp_path / "a.bin"
    write_bytes(file, b"old")

    def fail(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match=str(file)) as error:
        write_bytes(file, b"new")
    assert (error.value.errno, error.value.filename) == (code, str(file))
    assert file.read_bytes() == b"old"
    assert listing(tmp_path) == ["a.bin"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit of file sizes")
def test_a_limit_of_the_file_size_is_an_error_with_the_path(tmp_path):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        for write in (
            lambda file: file.write(bytes(100_000)),
            lambda file: np.save(file, np.zeros(100_000)),
        ):
            with (
                pytest.raises(OSError, match=r"a\.bin") as error,
                open_atomically(tmp_path / "a.bin") as file,
            ):
                write(file)
            assert error.value.errno == errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert listing(tmp_path) == []


def test_errors_of_other_files_keep_their_path(tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(FileNotFoundError, match="missing"):
        write_atomically(tmp_path / "a", lambda temporary: missing.read_bytes())


def test_a_link_planted_at_the_temporary_name_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(secrets, "token_hex", lambda n: "0" * 2 * n)
    link = tmp_path / f".a.txt.{os.getpid()}-00000000.tmp"
    link.symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "a.txt", "x")
    link.unlink()

    def swap(temporary):
        temporary.unlink()
        temporary.symlink_to(victim)

    with pytest.raises(OSError, match=r"a\.txt"):
        write_atomically(tmp_path / "a.txt", swap)
    assert victim.read_text() == "precious"
    assert listing(tmp_path) == ["victim"]


def test_a_file_system_without_fsync_is_written_to(tmp_path, monkeypatch):
    def fail(handle):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fail)
    write_text(tmp_path / "a" / "b.txt", "x")
    assert (tmp_path / "a" / "b.txt").read_text() == "x"


def test_file_and_folders_reach_the_disk(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync

    def record(handle):
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs the names of open files")
    monkeypatch.setattr(os, "fsync", record)
    write_text(tmp_path / "new" / "a.txt", "x")
    assert synced[0] == str(tmp_path), "the name of the new folder"
    assert files.TEMPORARY_FILE.fullmatch(synced[1].rsplit("/", 1)[1]), "then the content"
    assert synced[2] == str(tmp_path / "new"), "at last the name of the file"


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    write_text(tmp_path / "a.txt", "x")
    (tmp_path / ".a.txt.12-0123abcd.tmp").write_text("half")
    (tmp_path / ".b.txt.12-0123abcd.tmp").mkdir()
    (tmp_path / ".b.txt.12-0123abcd.tmp" / "c").write_text("half")
    (tmp_path / ".mine.tmp").write_text("precious")
    write_text(tmp_path / "runs" / ".c.12-0123abcd.tmp", "half")
    remove_leftovers(tmp_path, "b.txt")
    assert (tmp_path / ".a.txt.12-0123abcd.tmp").exists()
    assert not (tmp_path / ".b.txt.12-0123abcd.tmp").exists()
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "missing")
    assert listing(tmp_path) == [".mine.tmp", "a.txt", "runs", "runs/.c.12-0123abcd.tmp"]
    remove_leftovers(tmp_path, subfolders=True)
    assert listing(tmp_path) == [".mine.tmp", "a.txt", "runs"]


def test_leftovers_of_processes_that_still_run_or_have_just_begun_stay(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = {
        f".a.json.{ended.pid}-00000000.tmp": False,
        f".a.json.{ended.pid}-00000001.tmp": True,  # new: maybe of another machine
        f".a.json.{os.getpid()}-00000000.tmp": True,
        f".b.json.{ended.pid}-00000000.tmp": True,  # of another file
        ".a.json.99999999999999999999-00000000.tmp": False,
        "a.json": True,
    }
    for name in names:
        (tmp_path / name).touch()
        if not name.endswith("1.tmp"):
            os.utime(tmp_path / name, (0, 0))
    remove_leftovers_of_ended(tmp_path / "a.json")
    assert {name: (tmp_path / name).exists() for name in names} == names
    remove_leftovers_of_ended(tmp_path / "missing" / "a.json")


def test_what_a_killed_process_was_replacing_is_restored(tmp_path):
    staging = tmp_path / "run" / ".bundle.12-0123abcd.tmp"
    write_text(staging / "backup bundle" / "a.txt", "old")
    write_text(staging / "backup bundle.zip", "old")
    write_text(staging / "bundle" / "a.txt", "half")
    write_text(tmp_path / "run" / "bundle.zip", "new")
    remove_leftovers(tmp_path, subfolders=True)
    assert listing(tmp_path / "run") == ["bundle", "bundle.zip", "bundle/a.txt"]
    assert (tmp_path / "run" / "bundle" / "a.txt").read_text() == "old"
    assert (tmp_path / "run" / "bundle.zip").read_text() == "new"


def test_a_name_of_the_longest_length_is_written(tmp_path):
    file = tmp_path / ("ä" * 120 + ".txt")
    write_text(file, "x")
    assert file.read_text() == "x"


def test_folders_are_moved_from_a_temporary_folder(tmp_path):
    target = tmp_path / "bundle"
    with temporary_folder(target) as folder:
        assert files.TEMPORARY_FILE.fullmatch(folder.name)
        write_text(folder / "new" / "a.txt", "x")
        move(folder / "new", target)
    assert listing(tmp_path) == ["bundle", "bundle/a.txt"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "b").touch()
    with pytest.raises(OSError, match="full"):
        move(target, tmp_path / "full")
    assert listing(tmp_path) == ["bundle", "bundle/a.txt", "full", "full/b"]
