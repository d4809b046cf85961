"""The lock of a run folder: one process at a time works in it, and others learn which one.

The lock is held by the operating system, which releases it when the process ends, however it ends.
The file says who holds it. On a file system without locks, the file itself is the lock; then the
process that it names decides whether it is stale.
"""

import errno
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from limbeck._base.cache import NO_LOCKS
from limbeck._base.errors import ConfigError
from limbeck._base.processes import may_run
from limbeck._base.signals import defer_interrupts

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""Name of the lock file in a run folder, which is there only while a process works in the folder.
"""
_BUSY = (errno.EAGAIN, errno.EACCES)
_NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS)
_MAX_BYTES = 4096
_OPEN = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
NAMING_SECONDS = 5.0
"""Number of seconds after which a lock file that names no process counts as abandoned."""
_NAME = re.compile(r"[\w.:+/\[\]-]{0,255}")

_descriptors: set[int] = set()
"""Open lock files of this process."""
_shared: ContextVar[frozenset[Path]] = ContextVar("shared", default=frozenset())
"""Folders whose shared lock the current function or one of its callers holds."""


@dataclass(frozen=True)
class Holder:
    """A process that works in a run folder.

    Attributes:
        host: Name of its machine.
        pid: Number of the process.
        since: Time at which it took the lock, ISO 8601.
        system: Identifier of the running system: its last start and, in a container, its processes.
    """

    host: str
    pid: int
    since: str
    system: str

    @classmethod
    def current(cls) -> "Holder":
        """This process."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(socket.gethostname(), os.getpid(), since, _system())

    @classmethod
    def read(cls, descriptor: int) -> "Holder | None":
        """Read the holder from an open lock file; None if it names none."""
        try:
            return cls.parse(os.pread(descriptor, _MAX_BYTES, 0))
        except OSError:
            return None

    @classmethod
    def parse(cls, content: bytes) -> "Holder | None":
        """Read the holder from JSON; None if it names none."""
        try:
            holder = cls(**json.loads(content[:_MAX_BYTES]))
            datetime.fromisoformat(holder.since)
        except (ValueError, TypeError, RecursionError):
            return None
        texts = (holder.host, holder.since, holder.system)
        is_sound = type(holder.pid) is int and holder.pid > 0
        return holder if is_sound and all(map(_NAME.fullmatch, texts)) else None

    def write(self, descriptor: int) -> None:
        """Write the holder to an open lock file, unless the disk is full."""
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(vars(self)).encode(), 0)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the process runs, or ran, on another machine; containers are on the same one."""
        own = Holder.current()
        is_same_boot = _boot(self.system) == _boot(own.system) != ""
        return self.host != own.host and not is_same_boot

    @property
    def is_alive(self) -> bool:
        """Whether the process may still run."""
        own = Holder.current()
        if self.is_elsewhere:
            return True
        if _boot(self.system) != _boot(own.system):
            return False  # the machine has been restarted since
        if self.system != own.system:
            return True  # another container, whose processes cannot be looked up
        return may_run(self.pid)

    def __str__(self) -> str:
        since = datetime.fromisoformat(self.since).astimezone(UTC)
        return f"process {self.pid} on {self.host}, since {since:%Y-%m-%d %H:%M} UTC"


@contextmanager
def hold_lock(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of a run folder.

    Args:
        folder: The folder, which exists.
        shared: Whether others may hold it in this way at the same time, because they do not change
            the run.

    Raises:
        ConfigError: If another process holds the lock, or may hold it on another machine.
    """
    if shared and folder in _shared.get():
        yield
        return
    file = folder / LOCK
    with defer_interrupts():  # an interrupt between two steps would leave the file
        descriptor = _open_and_lock(file, shared=shared)
    token = _shared.set(_shared.get() | {folder} if shared else _shared.get())
    try:
        yield
    finally:
        _shared.reset(token)
        if descriptor is not None:
            _release(file, descriptor)


def is_at_work(folder: Path) -> bool:
    """Whether the process that the lock of a run folder names may still run; takes no lock."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | (_OPEN & ~os.O_RDWR))
    except OSError:
        return False
    try:
        holder = Holder.read(descriptor)
    finally:
        os.close(descriptor)
    return holder is not None and holder.is_alive


def _open_and_lock(file: Path, *, shared: bool) -> int | None:
    """Return the descriptor of the locked file; None if there is nothing to release."""
    while True:
        try:
            descriptor, is_new = _open(file)
        except OSError as error:
            if shared and error.errno in _NO_ACCESS:
                return None  # nobody can change this run
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE):
                raise
            raise ConfigError(
                f"{file} cannot be opened ({error.strerror}). Delete it and try again."
            ) from None
        _descriptors.add(descriptor)
        try:
            has_locks = _lock(file, descriptor, shared=shared)
            if has_locks:
                # Its last holder may have removed the file in the meantime.
                is_locked = _is_at(file, descriptor)
            else:
                is_locked = is_new or _remove_stale(file, descriptor)
            if is_locked and not (shared and has_locks):
                Holder.current().write(descriptor)
            if is_locked:
                return descriptor
        except BaseException:
            _close(descriptor)
            raise
        _close(descriptor)


def _open(file: Path) -> tuple[int, bool]:
    """Open the lock file; the second value says whether it is new."""
    while True:
        with suppress(FileExistsError):
            return os.open(file, _OPEN | os.O_CREAT | os.O_EXCL, 0o666), True
        with suppress(FileNotFoundError):  # its holder has removed it since
            return os.open(file, _OPEN), False


def _lock(file: Path, descriptor: int, *, shared: bool) -> bool:
    """Lock an open file; returns False if its file system has no locks.

    Raises:
        ConfigError: If another process holds the lock.
    """
    if fcntl is None:
        return False
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        if error.errno not in _BUSY:
            raise
        raise _in_use(file, Holder.read(descriptor), advice="") from None
    holder = Holder.read(descriptor)
    # Network file systems may lock files for each machine on its own.
    if holder is not None and holder.is_elsewhere:
        raise _in_use(file, holder, _remove_by_hand(file))
    return True


def _remove_stale(file: Path, descriptor: int) -> bool:
    """Remove the lock file of an ended process, where the file itself is the lock.

    Returns:
        False: the caller tries again to create the file.

    Raises:
        ConfigError: If the process may still run.
    """
    holder = Holder.read(descriptor)
    if holder is None and _age(descriptor) < NAMING_SECONDS:
        time.sleep(0.05)  # its holder writes its name now
        return False
    if holder is None or holder.is_alive:
        raise _in_use(file, holder, _remove_by_hand(file))
    # Another process may have replaced the file: what is removed is looked at first.
    moved = file.with_name(f"{LOCK}.{secrets.token_hex(4)}")
    with suppress(FileNotFoundError):
        os.rename(file, moved)
        if _is_at(moved, descriptor):
            moved.unlink()
        else:
            os.rename(moved, file)
    return False


def _release(file: Path, descriptor: int) -> None:
    """Remove the lock file, unless others hold it too, and close it."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:  # others read the run
            _close(descriptor)
            return
    # Removed before it is released: whoever opens it now sees a file that has left the folder.
    with suppress(OSError):
        if _is_at(file, descriptor):
            file.unlink()
    _close(descriptor)


def _close(descriptor: int) -> None:
    _descriptors.discard(descriptor)
    os.close(descriptor)


def _is_at(file: Path, descriptor: int) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.lstat(file), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _age(descriptor: int) -> float:
    return time.time() - os.fstat(descriptor).st_mtime


def _in_use(file: Path, holder: Holder | None, advice: str) -> ConfigError:
    name = "another process" if holder is None else f"another process ({holder})"
    return ConfigError(
        f"{file.parent} is in use by {name}. Wait until it has finished, or stop it.{advice}"
    )


def _remove_by_hand(file: Path) -> str:
    return f" If it no longer runs, delete {file} and try again."


def _system() -> str:
    """Identifier of the running system; empty where it is unknown."""
    boot, processes = "", ""
    with suppress(OSError, ValueError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        processes = os.readlink("/proc/self/ns/pid")
    return f"{boot}/{processes}" if boot else ""


def _boot(system: str) -> str:
    return system.partition("/")[0]


def _close_in_child() -> None:
    """Close the lock files in a process that this one has forked, which may outlive it."""
    for descriptor in _descriptors:
        with suppress(OSError):
            os.close(descriptor)
    _descriptors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
