"""Atomic writes."""

import json
import os
import stat

import numpy as np
import pytest

from limbeck._base.files import write_atomically, write_json, write_text


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


def test_the_temporary_name_keeps_the_ending(tmp_path):
    write_atomically(tmp_path / "a.npz", lambda path: np.savez_compressed(path, x=np.arange(3)))
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
