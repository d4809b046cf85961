"""Files of an open folder: links and other files that somebody planted are never followed."""

import os
import stat

import pytest

from limbeck._base.open_folder import OpenFolder, PlantedFileError

NAME = "file.bin"
KINDS = ["link", "hard link", "pipe", "dangling link"]


@pytest.fixture
def victim(tmp_path):
    """A file that must not change."""
    file = tmp_path / "victim.txt"
    file.write_text("precious")
    file.chmod(0o600)
    yield file
    assert file.read_text() == "precious"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    with OpenFolder.open(path) as folder:
        yield folder


def plant(path, kind, victim):
    """Put something else in the place of a file."""
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "dangling link":
        path.symlink_to(victim.with_name("new.txt"))
    elif kind == "hard link":
        os.link(victim, path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()


@pytest.mark.parametrize("kind", ["link", "pipe", "dangling link", "folder"])
def test_what_is_planted_is_not_read(folder, victim, kind):
    """The content of a hard link is compared with a checksum instead."""
    plant(folder.path / NAME, kind, victim)
    with pytest.raises(PlantedFileError, match="not a regular file"):
        folder.read(NAME)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_planted_is_replaced(folder, victim, kind):
    plant(folder.path / NAME, kind, victim)
    folder.replace(NAME, lambda file: file.write(b"new"))
    assert folder.read(NAME).read() == b"new"
    folder.remove(NAME)
    plant(folder.path / NAME, kind, victim)
    with folder.edit(NAME) as file:
        file.write(b"edited")
    assert folder.read(NAME).read() == b"edited"
    assert folder.names() == [NAME]
    assert not victim.with_name("new.txt").exists()


def test_removing_a_link_keeps_its_target(folder, victim):
    plant(folder.path / NAME, "link", victim)
    folder.remove(NAME)
    folder.remove(NAME)
    assert folder.names() == []


def test_a_folder_that_is_replaced_by_a_link_is_not_left(folder, tmp_path):
    """The folder stays open, so that a link in its place does not redirect a write."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / NAME).write_text("precious")
    folder.path.rename(tmp_path / "moved")
    folder.path.symlink_to(elsewhere)
    folder.replace(NAME, lambda file: file.write(b"new"))
    folder.remove("other")
    assert (elsewhere / NAME).read_text() == "precious"
    assert (tmp_path / "moved" / NAME).read_bytes() == b"new"


def test_a_subfolder_that_is_a_link_is_refused(folder, tmp_path):
    (folder.path / "link").symlink_to(tmp_path)
    with pytest.raises(PlantedFileError, match="it is a link"):
        folder.subfolder("link")
    with pytest.raises(PlantedFileError, match="it is a link"):
        OpenFolder.open_entry(folder.path / "link")
    with pytest.raises(OSError, match="Not a directory"):
        folder.replace("file", lambda file: file.write(b"")) or folder.subfolder("file")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "../victim.txt"])
def test_a_name_does_not_leave_the_folder(folder, victim, name):
    for call in (folder.read, folder.edit, folder.remove, folder.remove_subfolder):
        with pytest.raises(ValueError, match="is not the name of a file"):
            call(name)


def test_a_failed_write_keeps_the_earlier_file(folder):
    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    folder.replace(NAME, lambda file: file.write(b"whole"), sync=True)
    with pytest.raises(OSError, match="No space left"):
        folder.replace(NAME, fail)
    assert folder.names() == [NAME]
    assert folder.read(NAME).read() == b"whole"


def test_files_get_the_usual_permissions(folder):
    mask = os.umask(0o027)
    try:
        folder.replace(NAME, lambda file: file.write(b""))
        folder.make_subfolder("sub", 0o777)
    finally:
        os.umask(mask)
    modes = [stat.S_IMODE(folder.status(name).st_mode) for name in (NAME, "sub")]
    assert modes == [0o640, 0o750]


def test_without_descriptors_of_folders(tmp_path, victim, monkeypatch):
    """As on Windows."""
    monkeypatch.setattr("limbeck._base.open_folder._HAS_DESCRIPTORS", False)
    with OpenFolder.open(tmp_path) as root:
        root.make_subfolder("sub", 0o700)
        with root.subfolder("sub") as folder:
            folder.replace(NAME, lambda file: file.write(b"new"), sync=True)
            plant(folder.path / "link", "link", victim)
            with pytest.raises(PlantedFileError):
                folder.read("link")
            assert folder.names() == [NAME, "link"]
            folder.remove("link")
            folder.remove(NAME)
        root.remove_subfolder("sub")
        assert not root.contains("sub")
