"""Stores in folders where other users planted links, pipes and folders."""

import os
import shutil

import pytest
import torch
from support.permissions import NOBODY
from support.store_cases import folder_of, image_pass, open_quietly

from limbeck._base.errors import ResourceError, UntrustedFileError
from limbeck.cli.main import main
from limbeck.store.files import ANSWERS, CHECKSUMS
from limbeck.store.folder import check_folder
from limbeck.store.key import HEADER

FILES = (ANSWERS, CHECKSUMS, HEADER)


@pytest.fixture
def victim(tmp_path):
    """A folder whose files must not change."""
    folder = tmp_path / "victim"
    folder.mkdir()
    for name in (*FILES, "other"):
        (folder / name).write_text("precious")
    yield folder
    assert {file.name: file.read_text() for file in folder.iterdir()} == dict.fromkeys(
        (*FILES, "other"), "precious"
    )


def plant(path, kind, victim):
    if kind == "link":
        path.symlink_to(victim / "other")
    elif kind == "hard link":
        os.link(victim / "other", path)
    else:
        os.mkfifo(path)


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
@pytest.mark.parametrize("complete", [False, True])
def test_a_planted_file_is_replaced_by_the_answers(tmp_path, victim, kind, complete):
    root = tmp_path / "stores"
    folder = folder_of(root)
    expected = open_quietly(image_pass(), tmp_path / "other").records
    if complete:
        open_quietly(image_pass(), root)
        (folder / ANSWERS).unlink()
    else:
        folder.mkdir(parents=True)
    for name in (ANSWERS, CHECKSUMS) if not complete else (ANSWERS,):
        plant(folder / name, kind, victim)
    assert torch.equal(open_quietly(image_pass(), root).records, expected)
    assert sorted(os.listdir(root)) == [folder.name]
    assert sorted(os.listdir(folder)) == sorted(FILES)
    assert all((folder / name).lstat().st_nlink == 1 for name in FILES)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_planted_header_is_damage(tmp_path, victim, kind):
    folder = folder_of(tmp_path / "stores")
    folder.mkdir(parents=True)
    plant(folder / HEADER, kind, victim)
    with pytest.raises(UntrustedFileError, match=r"not a regular file\. Remove that store with"):
        open_quietly(image_pass(), tmp_path / "stores")


def test_a_store_that_is_a_link_is_neither_read_nor_written(tmp_path, victim, capsys):
    root = tmp_path / "stores"
    open_quietly(image_pass(), root)
    folder = folder_of(root)
    shutil.rmtree(folder)
    folder.symlink_to(victim)
    with pytest.raises(UntrustedFileError, match=r"is a link, not a store\. Remove it"):
        open_quietly(image_pass(), root)
    for words in (["list"], ["verify"], ["clear", "--all"]):
        assert main(["store", *words, "--folder", str(root)]) == 0
    assert main(["store", "clear", folder.name, "--folder", str(root)]) == 2
    assert folder.is_symlink()


def test_clear_removes_links_but_not_their_targets(tmp_path, victim):
    root = tmp_path / "stores"
    folder = folder_of(root)
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).symlink_to(victim / name)
    (root / f"{folder.name}.lock").touch()
    assert main(["store", "clear", "--all", "--folder", str(root)]) == 0
    assert os.listdir(root) == []


@pytest.mark.parametrize("name", ["..", "x" * 32, "0" * 31, "0" * 33, "A" * 32, "0" * 31 + "\n"])
def test_folders_of_other_names_are_left_alone(tmp_path, name):
    if name != "..":
        (tmp_path / "stores" / name).mkdir(parents=True)
        (tmp_path / "stores" / name / HEADER).touch()
    (tmp_path / "stores" / ("0" * 32)).mkdir(parents=True)
    (tmp_path / "stores" / ("0" * 32) / "thesis.txt").touch()
    assert main(["store", "clear", "--all", "--folder", str(tmp_path / "stores")]) == 0
    assert (tmp_path / "stores" / ("0" * 32) / "thesis.txt").exists()
    if name != "..":
        assert (tmp_path / "stores" / name / HEADER).exists()


# Places -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.isdir("/proc/1"), reason="there is no /proc")
def test_a_place_that_takes_no_files_is_refused_before_training(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("LIMBECK_STORE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/x")
    out = tmp_path / "run"
    assert main(["run", f"out={out}", "epochs=1", "seeds=1", "student.hidden=[4]"]) == 6
    error = capsys.readouterr().err
    assert "store.folder=/proc/x/.cache/limbeck/store: /proc cannot be written to" in error
    assert not out.exists()


def test_a_folder_that_can_only_be_read(open_folder):
    root = open_folder / "stores"
    open_quietly(image_pass(), root)
    root.chmod(0o500)
    with pytest.warns(UserWarning, match=r"cannot be written to .*Only answers that are stored"):
        check_folder(root)
    open_quietly(image_pass(), root)
    root.chmod(0o700)
    shutil.rmtree(folder_of(root))
    root.chmod(0o500)
    with pytest.raises(ResourceError, match=r"cannot be written to \(Permission denied\)"):
        check_folder(root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner")
def test_a_folder_of_another_user_in_a_public_place(tmp_path):
    (tmp_path / "stores").mkdir()
    os.chown(tmp_path / "stores", NOBODY, NOBODY)
    tmp_path.chmod(0o1777)
    with pytest.raises(ResourceError, match=r"belongs to user .*store\.folder=DIR"):
        check_folder(tmp_path / "stores")
