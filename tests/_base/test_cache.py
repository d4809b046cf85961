"""What all caches on the disk share."""

import errno
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from limbeck._base import cache
from limbeck._base.errors import ResourceError


def test_default_folders(monkeypatch, tmp_path):
    kinds = [cache.ANSWERS, cache.IMAGES, cache.TOKENS]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LIMBECK_STORE", "~/store")
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    own = [tmp_path / "store", tmp_path / "cache", tmp_path / "cache" / "tokens"]
    assert [kind.default_folder for kind in kinds] == own
    monkeypatch.delenv("LIMBECK_STORE")
    monkeypatch.delenv("LIMBECK_CACHE")
    for variable, folder in (("xdg", tmp_path / "xdg"), ("relative", tmp_path / ".cache")):
        value = tmp_path / "xdg" if variable == "xdg" else "relative"
        monkeypatch.setenv("XDG_CACHE_HOME", str(value))
        expected = [folder / "limbeck" / name for name in ("store", "images", "tokens")]
        assert [kind.default_folder for kind in kinds] == expected

    def no_home():
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(ResourceError, match=r"no home folder .*LIMBECK_CACHE=DIR"):
        _ = cache.IMAGES.default_folder


@pytest.fixture
def entry():
    """Functions that read and write an entry, and a list of its writes."""
    writes = []

    def read(root):
        return root.read("entry.txt").read() if root.contains("entry.txt") else None

    def write(root):
        writes.append(root.path)
        root.replace("entry.txt", lambda file: file.write(b"content"))

    return read, write, lambda root: root.remove_temporary_files("entry.txt"), writes


def test_an_entry_is_written_once_and_then_read(tmp_path, entry):
    folder = tmp_path / "a" / "b"
    for _ in range(2):
        assert cache.read_or_write(folder, "entry.txt", *entry[:3]) == b"content"
    assert len(entry[3]) == 1
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700] * 2
    assert os.listdir(folder) == ["entry.txt"], "the lock file is removed"


def test_what_a_killed_writer_left_is_removed_on_the_next_touch(tmp_path, entry):
    cache.read_or_write(tmp_path, "entry.txt", *entry[:3])
    leftovers = ["entry.lock", ".entry.txt.7-1234abcd.tmp", ".entry.txt.8-00000000.tmp"]
    for name in leftovers:
        (tmp_path / name).touch()
    (tmp_path / ".other.txt.7-1234abcd.tmp").touch()
    with cache.open_root(tmp_path) as root, cache.hold_lock(root, "entry"):
        cache.read_or_write(tmp_path, "entry.txt", *entry[:3])
        assert len(os.listdir(tmp_path)) == 5, "its writer is at work"
    (tmp_path / "entry.lock").touch()
    assert cache.read_or_write(tmp_path, "entry.txt", *entry[:3]) == b"content"
    assert sorted(os.listdir(tmp_path)) == [".other.txt.7-1234abcd.tmp", "entry.txt"]
    assert len(entry[3]) == 1


def test_an_entry_that_cannot_be_read_back_is_an_error(tmp_path):
    with pytest.raises(OSError, match="cannot be read back"):
        cache.read_or_write(tmp_path, "entry", *[lambda root: None] * 3)


def hold(folder, seconds):
    with cache.open_root(folder) as root, cache.hold_lock(root, "a"):
        (folder / "a").touch()
        time.sleep(seconds)


def start_holder(folder, seconds):
    process = multiprocessing.get_context("fork").Process(target=hold, args=(folder, seconds))
    process.start()
    while not (folder / "a").exists():
        assert process.is_alive()
        time.sleep(0.01)
    return process


def test_a_lock_waits_for_another_process_and_says_so(tmp_path):
    calls = []
    process = start_holder(tmp_path, 0.3)
    began = time.monotonic()
    with cache.open_root(tmp_path) as root, cache.hold_lock(root, "a", lambda: calls.append(1)):
        assert time.monotonic() - began > 0.1
        assert (tmp_path / "a.lock").exists()
    process.join()
    assert calls == [1]
    assert os.listdir(tmp_path) == ["a"]


def test_the_lock_of_a_killed_process_passes_to_the_one_that_waits(tmp_path):
    process = start_holder(tmp_path, 60)
    with cache.open_root(tmp_path) as root, cache.hold_lock(root, "a", process.kill):
        assert (tmp_path / "a.lock").exists()
    process.join()
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks(tmp_path, monkeypatch, code):
    """Three of these errors used to end with the advice to choose another folder."""

    def refuse(*arguments):
        raise OSError(code, os.strerror(code))

    def wait():
        raise TimeoutError

    monkeypatch.setattr("fcntl.flock", refuse)
    with cache.open_root(tmp_path) as root:
        with cache.hold_lock(root, "a"):
            with pytest.raises(TimeoutError), cache.hold_lock(root, "a", wait):
                pytest.fail("two hold the lock")
            with cache.hold_lock(root, "b"):
                pass
        assert os.listdir(tmp_path) == []
        with cache.hold_lock(root, "a", wait):
            pass
    assert os.listdir(tmp_path) == []


def test_a_killed_process_releases_a_lock_without_locks(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    process = start_holder(tmp_path, 60)
    process.kill()
    process.join()
    with cache.open_root(tmp_path) as root, cache.hold_lock(root, "a"):
        pass
    assert os.listdir(tmp_path) == ["a"]


def test_keys_are_digests():
    assert cache.key_of("a") == "ca978112ca1bbdcafac231b39a23dc4d"
    assert cache.key_of("a") != cache.key_of("b")
