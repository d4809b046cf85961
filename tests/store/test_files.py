"""Folders of stores."""

import errno

import pytest
from support.store_cases import image_pass, open_quietly

from limbeck._base.errors import ResourceError
from limbeck.store.files import translate_write_errors, unreadable
from limbeck.store.folder import check_folder


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(ResourceError, match="is not a folder"):
            check_folder(path)
        with pytest.raises(ResourceError, match="cannot be written"):
            open_quietly(image_pass(), path)
    assert (tmp_path / "file").read_text() == "mine"
    check_folder(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()


def check(folder, monkeypatch):
    monkeypatch.setattr("limbeck._base.ownership.check_writable", refuse)
    check_folder(folder)


def write(folder, monkeypatch):
    with translate_write_errors(folder):
        refuse()


def read(folder, monkeypatch):
    raise unreadable(folder, OSError(errno.EMFILE, "Too many open files"))


def refuse(*arguments):
    raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("use", [check, write, read])
def test_too_many_open_files_are_not_the_fault_of_the_folder(tmp_path, monkeypatch, use):
    with pytest.raises(ResourceError, match=r"Too many open files.*'ulimit -n'\) and try") as error:
        use(tmp_path, monkeypatch)
    assert "Choose another folder" not in str(error.value)
