"""What all caches on the disk share."""

import multiprocessing
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


def test_an_entry_is_written_once_and_then_read(tmp_path):
    file, writes = tmp_path / "a" / "entry.txt", []

    def read():
        return file.read_text() if file.exists() else None

    def write():
        writes.append(file)
        file.write_text("content")

    for _ in range(2):
        assert cache.read_or_write(file, read, write) == "content"
    assert len(writes) == 1
    assert (file.parent.stat().st_mode & 0o777) == 0o700


def test_an_entry_that_cannot_be_read_back_is_an_error(tmp_path):
    with pytest.raises(OSError, match="cannot be read back"):
        cache.read_or_write(tmp_path / "entry", lambda: None, lambda: None)


def hold(path, seconds):
    with cache.hold_lock(path):
        path.touch()
        time.sleep(seconds)


def test_a_lock_waits_for_another_process_and_says_so(tmp_path):
    calls = []
    process = multiprocessing.get_context("fork").Process(target=hold, args=(tmp_path / "a", 0.3))
    process.start()
    while not (tmp_path / "a").exists():
        time.sleep(0.01)
    began = time.monotonic()
    with cache.hold_lock(tmp_path / "a", lambda: calls.append("waiting")):
        assert time.monotonic() - began > 0.1
    process.join()
    assert calls == ["waiting"]


def test_keys_are_digests():
    assert cache.key_of("a") == "ca978112ca1bbdcafac231b39a23dc4d"
    assert cache.key_of("a") != cache.key_of("b")
