"""Folders that cannot be written to are refused before anything is written."""

import errno

import pytest

from limbeck._base.errors import ConfigError
from limbeck.run.folder import RunFolder


def test_a_folder_without_permission_is_refused_before_anything_is_written(open_folder):
    open_folder.chmod(0o500)
    message = rf"{open_folder} is not writable \(Permission denied\)\. Choose .* with out=\."
    with pytest.raises(ConfigError, match=message):
        RunFolder(open_folder / "deep" / "run").check()


def test_a_run_without_permission_is_not_continued_and_no_other_folder_is_advised(open_folder):
    path = open_folder / "run"
    path.mkdir()
    (path / "manifest.json").write_text("{}")
    path.chmod(0o500)
    message = r"The run cannot be continued: \S+run is not writable \(Permission denied\)\. Make"
    with pytest.raises(ConfigError, match=message):
        RunFolder(path).check(resume=True)


def test_a_full_disk_is_no_missing_permission(tmp_path, monkeypatch):
    def fail(**options):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    with pytest.raises(OSError, match="No space left"):
        RunFolder(tmp_path / "run").check()
