"""Temporary folders, also those of killed processes."""

import os
import tempfile

import pytest
from filelock import FileLock

from limbeck._base.scratch import LOCK, PREFIX, scratch_folder


@pytest.fixture
def system_folder(tmp_path, monkeypatch):
    """The system's temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def old_folder(parent, name):
    folder = parent / f"{PREFIX}{name}"
    folder.mkdir()
    (folder / LOCK).touch()
    (folder / "model.onnx").touch()
    os.utime(folder / LOCK, (0, 0))
    return folder


def test_a_folder_is_private_and_removed(system_folder):
    with scratch_folder() as folder:
        assert folder.parent == system_folder
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").touch()
    assert os.listdir(system_folder) == []


def test_folders_of_killed_processes_are_removed(system_folder):
    old_folder(system_folder, "killed")
    alive, young = old_folder(system_folder, "alive"), old_folder(system_folder, "young")
    (young / LOCK).touch()
    other = system_folder / f"{PREFIX}other"  # without a lock: of another program
    other.mkdir()
    victim = system_folder / "victim"
    victim.mkdir()
    (victim / LOCK).touch()
    os.utime(victim / LOCK, (0, 0))
    (system_folder / f"{PREFIX}link").symlink_to(victim)
    with FileLock(alive / LOCK), scratch_folder():
        pass
    names = [alive.name, young.name, other.name, f"{PREFIX}link", "victim"]
    assert sorted(os.listdir(system_folder)) == sorted(names)
    assert os.listdir(victim) == [LOCK]
