"""Whose folders are used for stores and caches."""

import os
import stat

import pytest
from support.permissions import NOBODY

from limbeck._base import cache, ownership
from limbeck._base.errors import LimbeckWarning

as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can change the owner"
)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_new_folders_are_private_unless_they_are_made_in_a_shared_one(tmp_path):
    mask = os.umask(0o002)
    try:
        ownership.make_folders(tmp_path / "own" / "a" / "b")
        (tmp_path / "shared").mkdir()
        (tmp_path / "shared").chmod(0o2775)
        ownership.make_folders(tmp_path / "shared" / "a" / "b")
        assert mode(tmp_path / "own" / "a" / "b") == mode(tmp_path / "own") == 0o700
        assert mode(tmp_path / "shared" / "a" / "b") & 0o777 == 0o775
        modes = {0o755: 0o755, 0o700: 0o700, 0o2775: 0o775, 0o1777: 0o700, 0o777: 0o700}
        for number, (parent, expected) in enumerate(modes.items()):
            root = tmp_path / f"root{number}"
            root.mkdir()
            root.chmod(parent)
            with cache.open_root(root) as folder, cache.open_entry(folder, "entry"):
                assert mode(root / "entry") & 0o777 == expected
    finally:
        os.umask(mask)


def test_the_folder_in_the_users_cache_is_made_private(tmp_path, monkeypatch):
    monkeypatch.delenv("LIMBECK_STORE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache.ANSWERS.default_folder
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    cache.open_root(folder).__exit__()
    assert mode(folder) == 0o700
    other = tmp_path / "other"
    other.mkdir()
    other.chmod(0o775)
    cache.open_root(other, create=True).__exit__()
    assert mode(other) == 0o775, "the user shares it on purpose"


def test_a_folder_that_everybody_may_change_is_used_with_a_warning(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.warns(LimbeckWarning, match="Every user of this machine may replace the files"):
        cache.open_root(tmp_path, create=True).__exit__()
    tmp_path.chmod(0o1777)
    cache.open_root(tmp_path, create=True).__exit__()


@as_root
def test_another_user_cannot_put_a_folder_there_unasked(tmp_path):
    """As root, the victim; the folder belongs to the user nobody."""
    public, trusted = tmp_path / "public", tmp_path / "trusted"
    for parent, permissions in ((public, 0o1777), (trusted, 0o755)):
        (parent / "theirs" / "deep").mkdir(parents=True)
        parent.chmod(permissions)
        for path in (parent / "theirs", parent / "theirs" / "deep"):
            os.chown(path, NOBODY, NOBODY)
    cache.open_root(trusted / "theirs" / "deep", create=True).__exit__()
    for folder in (public / "theirs", public / "theirs" / "deep", public / "theirs" / "new"):
        with pytest.raises(PermissionError, match=r"belongs to user .*everybody may create files"):
            cache.open_root(folder, create=True)
    (public / "link").symlink_to(trusted)
    os.lchown(public / "link", NOBODY, NOBODY)
    with pytest.raises(PermissionError, match=r"link"):
        cache.open_root(public / "link", create=True)
    os.chown(public / "theirs", NOBODY, os.getegid())
    (public / "theirs").chmod(0o2775)
    cache.open_root(public / "theirs", create=True).__exit__()


@as_root
def test_an_entry_of_another_user_in_a_public_folder_is_not_written_to(tmp_path):
    tmp_path.chmod(0o1777)
    (tmp_path / "entry").mkdir()
    os.chown(tmp_path / "entry", NOBODY, NOBODY)
    with (
        cache.open_root(tmp_path) as root,
        pytest.raises(PermissionError, match="it belongs to user"),
    ):
        cache.open_entry(root, "entry")


@as_root
def test_the_users_cache_of_someone_else(tmp_path, monkeypatch):
    monkeypatch.delenv("LIMBECK_STORE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache.ANSWERS.default_folder
    folder.mkdir(parents=True)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(PermissionError, match="belongs to user nobody, not to you"):
        cache.open_root(folder)


@pytest.mark.parametrize("kind", ["link", "hard link", "folder"])
def test_what_is_planted_as_a_lock_is_refused(tmp_path, kind):
    victim, lock = tmp_path / "victim", tmp_path / "key.lock"
    victim.write_text("precious")
    if kind == "link":
        lock.symlink_to(victim)
    elif kind == "hard link":
        os.link(victim, lock)
    else:
        lock.mkdir()
    with (
        cache.open_root(tmp_path) as root,
        pytest.raises(OSError, match=r"not the lock file of limbeck. Remove it"),
        cache.hold_lock(root, "key"),
    ):
        pass
    assert victim.read_text() == "precious"
    assert lock.exists()
