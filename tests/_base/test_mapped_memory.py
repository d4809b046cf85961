"""Large mapped files do not stay in memory, and keep their values."""

import gc
import math
import sys

import numpy as np
import pytest

from limbeck._base import mapped_memory
from limbeck._base.errors import ConfigError
from limbeck._base.mapped_memory import (
    MappedFiles,
    available_memory,
    check_in_memory,
    fits_memory,
)

SIZE = 1 << 24
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "values.bin"
    np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8).tofile(path)
    with path.open("rb") as stream:
        yield stream


@on_linux
def test_pages_leave_the_memory_and_keep_their_values(file, monkeypatch):
    monkeypatch.setattr(mapped_memory, "MAX_RESIDENT", SIZE // 2)
    maps = MappedFiles()
    values = np.frombuffer(maps.map(file, in_memory=False), np.uint8)
    before = mapped_memory._file_pages()
    total = int(values.sum())
    assert mapped_memory._file_pages() - before > SIZE // 2
    maps.release()
    assert mapped_memory._file_pages() - before < SIZE // 4
    assert int(values.sum()) == total


@on_linux
def test_few_pages_stay(file):
    maps = MappedFiles()
    values = np.frombuffer(maps.map(file, in_memory=False), np.uint8)
    before = mapped_memory._file_pages()
    values.sum()
    maps.release()
    assert mapped_memory._file_pages() - before > SIZE // 2


@pytest.mark.parametrize(
    ("in_memory", "available", "stays"),
    [
        (True, 0, True),
        (False, math.inf, False),
        (None, 4 * SIZE, True),
        (None, 4 * SIZE - 8, False),
    ],
)
def test_the_size_decides_unless_a_setting_does(file, monkeypatch, in_memory, available, stays):
    monkeypatch.setattr(mapped_memory, "available_memory", lambda: available)
    maps = MappedFiles()
    values = np.frombuffer(maps.map(file, in_memory=in_memory), np.uint8)
    assert maps.holds(values.ctypes.data + SIZE - 1) is not stays
    assert not maps.holds(values.ctypes.data + SIZE)
    del values
    gc.collect()
    assert not maps._addresses


def test_available_memory_is_within_the_limit_of_a_container(tmp_path, monkeypatch):
    limit, usage = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(mapped_memory, "_LIMITS", ((str(limit), str(usage)),))
    monkeypatch.setattr(mapped_memory, "_MEMORY", tmp_path / "meminfo")
    assert available_memory() == math.inf
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    8 kB\n")
    assert available_memory() == 8192
    usage.write_text("1000\n")
    limit.write_text("max\n")
    assert available_memory() == 8192
    limit.write_text("5000\n")
    assert available_memory() == 4000
    assert fits_memory(1000)
    assert not fits_memory(1001)


def test_a_setting_of_another_kind_is_refused():
    with pytest.raises(ConfigError, match=r"data\.in_memory='yes' should be true, false, or null"):
        check_in_memory("yes")
