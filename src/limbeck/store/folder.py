"""The folder of all stores: finding, checking and deleting stores.

The default folder is in ``limbeck/_base/cache.py``.
"""

import os
import re
import stat
import warnings
from contextlib import suppress
from pathlib import Path

from limbeck._base import cache, ownership
from limbeck._base.errors import LimbeckWarning, ResourceError, shortage_error
from limbeck._base.open_folder import OpenFolder
from limbeck.store.files import ALTERNATIVES, unreadable
from limbeck.store.key import HEADER
from limbeck.store.remote import remote_stores

_KEY = re.compile(r"[0-9a-f]{32}")
_STORE_FILE = re.compile(
    r"store\.json|(?:answers|logits)\.bin|shards\.json|"
    r"\.(?:store|shards)\.json\.[a-z0-9_-]+\.(?:json|tmp)"
)
"""Names of a store's files; ``logits.bin`` belongs to format 1."""


def find_stores(root: Path) -> list[Path]:
    """Folders in ``root`` that are stores, damaged ones included, sorted by name.

    Raises:
        ResourceError: If ``root`` cannot be read.
    """
    if not root.is_dir():
        return []
    try:
        return [path for path in sorted(root.iterdir()) if is_store(path)]
    except OSError as error:
        raise unreadable(root, error) from None


def is_store(path: Path) -> bool:
    """Whether a folder has the name of a store and contains only files of a store."""
    if not _KEY.fullmatch(path.name):
        return False
    try:
        with OpenFolder.open_entry(path) as folder:
            return all(
                _STORE_FILE.fullmatch(name) and not stat.S_ISDIR(folder.status(name).st_mode)
                for name in folder.names()
            )
    except PermissionError:  # it is listed as unreadable, rather than passed over as sound
        return True
    except OSError:  # a link or a file, or removed by another process
        return False


def size_of(path: Path) -> int:
    """Total size of a store's files in bytes, skipping files that vanish during the call."""
    size = 0
    with suppress(OSError):
        for file in path.iterdir():
            with suppress(OSError):
                size += file.lstat().st_size
    return size


def remove_store(root: OpenFolder, name: str) -> None:
    """Delete a store's files and its folder, the header last; links are removed, not followed.

    Args:
        root: Folder of all stores.
        name: Key of the store.

    Raises:
        OSError: If a file cannot be removed, or the folder contains other files.
    """
    with root.subfolder(name) as folder:
        for file in sorted(folder.names(), key=lambda file: file == HEADER):
            if _STORE_FILE.fullmatch(file):
                folder.remove(file)
    root.remove_subfolder(name)


def check_folder(root: Path) -> None:
    """Check that a folder can hold stores, without leaving anything in it.

    Raises:
        ResourceError: If it is a file, if it can be neither read nor created, if it can be neither
            written to nor contains any stores, or if another user could have put it there.

    Warns:
        LimbeckWarning: If it contains stores, but cannot be written to.
    """
    remote = remote_stores(root)
    if remote is not None:
        remote.check()
    existing = next(path for path in (root, *root.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise ResourceError(f"store.folder={root}: {existing} is not a folder. {ALTERNATIVES}")
    try:
        ownership.check_place(existing)
        if existing == root and cache.is_private(root):
            ownership.make_private(root)
    except OSError as error:
        raise shortage_error(error) or ResourceError(
            f"store.folder={root}: {error.filename} cannot be used ({error.strerror}). "
            f"{ALTERNATIVES}"
        ) from None
    if not os.access(existing, os.R_OK | os.X_OK):
        raise ResourceError(
            f"store.folder={root}: permission denied for {existing}. {ALTERNATIVES}"
        )
    try:
        ownership.check_writable(existing)
    except OSError as error:
        if shortage := shortage_error(error):
            raise shortage from None
        reason = f"{existing} cannot be written to ({error.strerror or error})"
        if existing != root or not find_stores(root):
            raise ResourceError(f"store.folder={root}: {reason}. {ALTERNATIVES}") from None
        warnings.warn(
            f"store.folder={root}: {reason}. Only answers that are stored there already can be "
            f"used. {ALTERNATIVES}",
            LimbeckWarning,
            stacklevel=2,
        )
