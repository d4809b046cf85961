"""Helpers of all disk caches: folders, keys, locks and free space.

A cache entry is computed once, and its name is a digest of everything that determines it. The
teacher's answers (:mod:`limbeck.store`), decoded images and tokens are such caches.
"""

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from limbeck._base import ownership
from limbeck._base.errors import ResourceError
from limbeck._base.open_folder import OpenFolder

Entry = TypeVar("Entry")

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""Errors of file systems without locks."""


@dataclass(frozen=True)
class CacheKind:
    """A kind of cache, and where it is on the disk.

    Attributes:
        name: Name of its folder in the user's cache folder, ``~/.cache/limbeck``.
        variable: Environment variable for another folder.
        subfolder: Subfolder of the folder in the variable.
    """

    name: str
    variable: str
    subfolder: str = ""

    @property
    def default_folder(self) -> Path:
        """The folder in the environment variable, or one in the user's cache folder.

        Raises:
            ResourceError: If there is neither a variable nor a home folder.
        """
        folder = os.environ.get(self.variable)
        if folder:
            return Path(folder).expanduser() / self.subfolder
        return self.private_folder

    @property
    def private_folder(self) -> Path:
        """The folder in the user's cache folder.

        Raises:
            ResourceError: If there is no home folder.
        """
        cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
        if cache.is_absolute():
            return cache / "limbeck" / self.name
        try:
            return Path.home() / ".cache" / "limbeck" / self.name
        except RuntimeError:
            raise ResourceError(
                f"There is no home folder for the cache ({self.name}). Set {self.variable}=DIR."
            ) from None


ANSWERS = CacheKind("store", "LIMBECK_STORE")
IMAGES = CacheKind("images", "LIMBECK_CACHE")
TOKENS = CacheKind("tokens", "LIMBECK_CACHE", "tokens")
COPIES = CacheKind("copies", "LIMBECK_CACHE", "copies")
"""Copies of what is at an address."""
COMPILED = CacheKind("compiled", "TORCHINDUCTOR_CACHE_DIR")


def key_of(description: str) -> str:
    """Return the key of a cache entry: 32 hexadecimal digits of the SHA-256 of a description."""
    return hashlib.sha256(description.encode()).hexdigest()[:32]


def open_root(folder: Path, *, create: bool = False) -> OpenFolder:
    """Open the folder of a cache, after checking whose it is.

    Args:
        folder: Folder of the cache.
        create: Whether the folder will be written to. A missing one is created, with access for
            its owner only, since the content may be private.

    Raises:
        PermissionError: If another user could have put the folder there.
        OSError: If it cannot be opened or created.
    """
    if create:
        ownership.make_folders(folder)
    ownership.check_place(folder)
    if is_private(folder):
        ownership.make_private(folder)
    root = OpenFolder.open(folder)
    if create:
        ownership.warn_if_open(folder, root.folder_status())
    return root


def is_private(folder: Path) -> bool:
    """Whether a folder is in the user's cache, rather than one that the user named."""
    with suppress(ResourceError):  # there is no home folder
        kinds = (ANSWERS, IMAGES, TOKENS, COPIES, COMPILED)
        return folder in [kind.private_folder for kind in kinds]
    return False


def open_entry(root: OpenFolder, name: str) -> OpenFolder:
    """Open the folder of an entry for writing, after creating it if necessary.

    Args:
        root: Folder of the cache.
        name: Name of the entry.

    Raises:
        PermissionError: If another user could have put the folder there.
        OSError: If it is a link, or cannot be opened or created.
    """
    parent = root.folder_status()
    root.make_subfolder(name, ownership.mode_within(parent, entry=True))
    ownership.check_owner(root.status(name), parent, root.path / name)
    return root.subfolder(name)


@contextmanager
def hold_lock(
    root: OpenFolder, key: str, on_wait: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Hold the lock of a cache entry, so that one process at a time writes it.

    The lock file is removed at the end. If one is there and free, its process was killed. On a file
    system without locks, another file is created that only one process can create.

    Args:
        root: Folder of the cache.
        key: Key of the entry; the lock file is called ``<key>.lock``.
        on_wait: Function to call once if another process holds the lock.

    Raises:
        OSError: If the lock file cannot be created, or something else is in its place.
    """
    file = root.path.resolve() / f"{key}.lock"
    _check_lock_file(root, file)
    try:
        lock = _acquire(FileLock(file), on_wait)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        # The existence of a second file is the lock: the first one proves nothing here.
        file_instead = file.with_suffix(".softlock")
        _check_lock_file(root, file_instead)
        lock = _acquire(SoftFileLock(file_instead), on_wait)
    try:
        yield
    finally:
        # A process that waits for this file notices that it is gone, and creates another one.
        with suppress(OSError):
            root.remove(file.name)
        lock.release()


def _check_lock_file(root: OpenFolder, file: Path) -> None:
    with suppress(FileNotFoundError):
        status = root.status(file.name)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            reason = "it is a link or a folder, not the lock file of limbeck. Remove it"
            raise OSError(errno.EEXIST, reason, str(file))


def _acquire(lock: BaseFileLock, on_wait: Callable[[], object]) -> BaseFileLock:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    return lock


def read_or_write(
    folder: Path,
    name: str,
    read: Callable[[OpenFolder], Entry | None],
    write: Callable[[OpenFolder], object],
    remove_leftovers: Callable[[OpenFolder], object],
) -> Entry:
    """Read a cache entry, after one process has written it if necessary.

    Args:
        folder: Folder of the cache.
        name: Name of the entry.
        read: Function that returns the content, or None if the entry is missing or damaged.
        write: Function that computes the content and writes it.
        remove_leftovers: Function that removes the temporary files of killed processes.

    Raises:
        OSError: If the folder cannot be used or written to, or the entry cannot be read back.
    """
    key = Path(name).stem
    with suppress(FileNotFoundError), open_root(folder) as root:
        entry = read(root)
        if entry is not None:
            clean_up(root, key, lambda: remove_leftovers(root))
            return entry
    with open_root(folder, create=True) as root, hold_lock(root, key):
        remove_leftovers(root)
        entry = read(root)  # another process may have written it meanwhile
        if entry is None:
            write(root)
            entry = read(root)
    if entry is None:
        raise OSError(errno.EIO, "it cannot be read back", str(folder / name))
    return entry


class _BusyError(OSError):
    """Another process holds the lock."""


def clean_up(root: OpenFolder, key: str, remove_leftovers: Callable[[], object]) -> None:
    """Remove what a killed process left of a complete entry, unless another one is at work.

    A lock file without a process is the sign of one that was killed.

    Args:
        root: Folder of the cache.
        key: Key of the entry.
        remove_leftovers: Function that removes the temporary files of the entry.
    """

    def give_up() -> None:
        raise _BusyError

    with suppress(OSError):  # the folder may be read-only
        if root.contains(f"{key}.lock"):
            with hold_lock(root, key, on_wait=give_up):
                remove_leftovers()


def lacks_space(folder: Path, size: int) -> bool:
    """Whether a disk has less than ``size`` bytes free; false if the file system cannot tell."""
    usage = shutil.disk_usage(folder)
    return usage.total > 0 and usage.free < size
