"""Owners and permissions of the folders of stores and caches.

A folder in the user's own cache is made private. Any other folder was named by the user. It is used
unless another user could have put it there unasked, as everybody can in ``/tmp``.
"""

import errno
import os
import stat
import tempfile
import warnings
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from limbeck._base.errors import LimbeckWarning

PRIVATE = 0o700
_SHARED = stat.S_ISGID | stat.S_IWGRP
"""Permissions of a folder that its owner shares with a group on purpose."""
_HAS_OWNERS = hasattr(os, "geteuid")
_DISK_FAULTS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENFILE,
    errno.EIO,
    errno.ESTALE,
)
"""Errors that say nothing about a folder, but are faults of the disk or the machine."""


def make_folders(folder: Path) -> None:
    """Create a folder and its parents, with access for the owner only.

    In a folder that is shared with a group (``chmod g+ws``) new ones are shared, too.

    Raises:
        OSError: If a folder cannot be created.
    """
    missing = []
    path = folder.absolute()
    while not os.path.lexists(path):
        missing.append(path)
        path = path.parent
    for path in reversed(missing):
        with suppress(FileExistsError):  # another process has created it
            path.mkdir(mode=mode_within(path.parent.stat()))
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def mode_within(parent: os.stat_result, *, entry: bool = False) -> int:
    """Permissions of a new folder, to be reduced by the umask.

    Args:
        parent: Status of the folder that it is created in.
        entry: Whether that is the folder of a cache, whose permissions its entries take over.
    """
    mode = stat.S_IMODE(parent.st_mode)
    if mode & _SHARED == _SHARED:
        return 0o777
    if entry and not mode & stat.S_IWOTH:
        return mode & 0o777
    return PRIVATE


def make_private(folder: Path) -> None:
    """Withdraw other users' access to a folder of this user's own cache.

    Raises:
        PermissionError: If it belongs to another user.
    """
    if not _HAS_OWNERS:
        return
    status = folder.stat()
    if not _is_ours(status):
        raise PermissionError(
            errno.EACCES, f"it belongs to {_name_of(status.st_uid)}, not to you", str(folder)
        )
    if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & 0o077:
        folder.chmod(PRIVATE)


def check_place(folder: Path) -> None:
    """Check that no other user could have put an existing folder in its place.

    Raises:
        PermissionError: If the folder, one above it or a link on the way belongs to another user,
            and is in a folder in which everybody may create files.
    """
    if not _HAS_OWNERS:
        return
    for path in {folder.absolute(), folder.resolve()}:
        for child, parent in pairwise((path, *path.parents)):
            check_owner(child.lstat(), parent.stat(), child)


def check_owner(status: os.stat_result, parent: os.stat_result, path: Path) -> None:
    """Check one folder as for :func:`check_place`.

    Args:
        status: Status of the folder.
        parent: Status of the folder that contains it.
        path: Path of the folder, for the message.

    Raises:
        PermissionError: If another user could have put it there.
    """
    if not _HAS_OWNERS or _is_ours(status) or not parent.st_mode & stat.S_IWOTH:
        return
    is_shared = status.st_mode & _SHARED == _SHARED and not status.st_mode & stat.S_IWOTH
    if is_shared and status.st_gid in {os.getegid(), *os.getgroups()}:
        return
    raise PermissionError(
        errno.EACCES,
        f"it belongs to {_name_of(status.st_uid)}, and everybody may create files in "
        f"{path.parent}; its owner shares it with a group of yours by 'chmod g+ws'",
        str(path),
    )


def warn_if_open(folder: Path, status: os.stat_result) -> None:
    """Warn if every user of the machine may replace the files in a folder.

    Warns:
        LimbeckWarning: If so.
    """
    if _HAS_OWNERS and status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        warnings.warn(
            f"Every user of this machine may replace the files in {folder}. Use a folder of your "
            f"own, or protect it with 'chmod o-w {folder}'.",
            LimbeckWarning,
            stacklevel=4,
        )


def check_writable(folder: Path) -> None:
    """Check that files can be created in a folder, by creating one without a name.

    Permissions do not show this: root has all of them, even on a read-only disk and in ``/proc``.

    Raises:
        OSError: If not.
    """
    with tempfile.TemporaryFile(dir=folder):
        pass


def reason_not_writable(folder: Path) -> str | None:
    """Return the reason why no files can be created in a folder; None if they can.

    Raises:
        OSError: If the disk is full or faulty, or too many files are open.
    """
    try:
        check_writable(folder)
    except OSError as error:
        if error.errno in _DISK_FAULTS:
            raise
        return error.strerror or str(error)
    return None


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in (os.geteuid(), 0)


def _name_of(user: int) -> str:
    try:
        import pwd

        return f"user {pwd.getpwuid(user).pw_name}"
    except (ImportError, KeyError):
        return f"user {user}"
