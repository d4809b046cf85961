"""The one writer of files: a file that exists is complete, even after a power failure.

A file is written under a temporary name in the same folder, brought to the disk, and renamed.
Use :func:`write_text` and :func:`write_json` for small files, :func:`open_atomically` for anything
that can be written to a stream, :func:`write_atomically` for libraries that need a path, and
:func:`move` for files and folders that are complete already.
"""

import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from limbeck._base.processes import may_run

TEMPORARY_FILE = re.compile(r"\..*\.\d+-[0-9a-f]{8}\.tmp")
"""Names of temporary files: ``.NAME.PID-RANDOM.tmp``."""
BACKUP = "backup "
"""Start of the name, in a temporary folder, of an earlier file or folder that is being replaced."""
_NAME_LENGTH = 50
"""Number of characters of a file's name in the name of its temporary file, which has a limit."""
MAX_WRITE_SECONDS = 2.0
"""Age in seconds from which the temporary file of a process that is not known here is left over."""
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _BINARY
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF)
"""Errors of file systems that cannot bring a file or folder to the disk."""


@contextmanager
def open_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file for writing that replaces ``path`` when the block ends without an error.

    Args:
        path: File to write; missing folders are created.

    Raises:
        OSError: If the file cannot be written, with its path. An earlier file stays as it was.
    """
    with _temporary_file(path) as temporary:
        handle = os.open(temporary, os.O_RDWR | _NOFOLLOW | _BINARY)
        # Open for reading too: np.save writes to such a file in parts whose errors have a number.
        file = os.fdopen(handle, "r+b")
        try:
            yield file
        except BaseException:
            with suppress(OSError):  # what is left to write may fail, too
                file.close()
            raise
        file.close()


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file with a function that needs a path.

    Args:
        path: File to write; missing folders are created.
        write: Function that takes a temporary path, whose name ends in ``.tmp``, and writes the
            content to it.

    Raises:
        OSError: If the file cannot be written, with its path. An earlier file stays as it was.
    """
    with _temporary_file(path) as temporary:
        write(temporary)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a binary file atomically."""
    with open_atomically(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a JSON file atomically.

    Raises:
        ValueError: If a number is infinite or NaN, which JSON cannot represent.
    """
    write_text(path, to_json(content))


def to_json(content: Mapping[str, object]) -> str:
    """Return the text of a JSON file.

    Raises:
        ValueError: If a number is infinite or NaN, which JSON cannot represent.
    """
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def move(source: Path, target: Path) -> None:
    """Move a complete file, or a folder of such files, on the same disk.

    Args:
        source: File or folder.
        target: New path; a file or empty folder there is replaced.

    Raises:
        OSError: If it cannot be moved, with the path of the target.
    """
    with _errors_of(target, source):
        for path in (*source.rglob("*"), source):
            if not path.is_symlink():
                sync(path)
        os.replace(source, target)
        sync(target.parent)


def remove_leftovers(folder: Path, name: str | None = None, *, subfolders: bool = False) -> None:
    """Remove temporary files and folders that killed processes have left in a folder.

    What such a process was replacing, and had not replaced yet, is restored. Call it only while no
    other process writes there, as under the lock of the folder.

    Args:
        folder: Folder, which need not exist.
        name: Name of the file whose temporary files are removed; None for all files.
        subfolders: Whether to search all subfolders, too.
    """
    with suppress(OSError):  # a folder that cannot be read or written is reported elsewhere
        for path in list(folder.rglob("*") if subfolders else folder.iterdir()):
            if is_temporary(path.name, name):
                _remove(path)


def remove_leftovers_of_ended(path: Path) -> None:
    """Remove the temporary files of a file whose processes have ended.

    Unlike :func:`remove_leftovers`, this may be called while others write the file: a temporary
    file stays if its process runs on this machine, or may be in the middle of a write on another.
    """
    with suppress(OSError):
        for temporary in path.parent.iterdir():
            if not is_temporary(temporary.name, path.name):
                continue
            age = time.time() - temporary.lstat().st_mtime
            if age > MAX_WRITE_SECONDS and not may_run(_process_of(temporary.name)):
                _remove(temporary)


def _process_of(name: str) -> int:
    """Number of the process that created a temporary file."""
    return int(name.rsplit(".", 2)[1].partition("-")[0])


def restore(backup: Path, path: Path) -> None:
    """Move an earlier file or folder back to its path, unless its successor is there."""
    if os.path.lexists(backup) and not os.path.lexists(path):
        os.replace(backup, path)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Create a folder next to a path, for files to :func:`move`; it is removed at the end.

    Args:
        path: File or folder that the files are meant for, in an existing folder.
    """
    folder = _temporary_name(path)
    with _errors_of(path, folder):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _temporary_file(path: Path) -> Iterator[Path]:
    """Create a temporary file next to a path; at the end, sync it and rename it to the path."""
    temporary = _temporary_name(path)
    with _errors_of(path, temporary):
        _make_folder(path.parent)
        os.close(os.open(temporary, _CREATE, 0o666))  # the umask applies
        try:
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync(path.parent)


def temporary_name(name: str) -> str:
    """Return a new name for the temporary file of a file."""
    return f"{_start(name)}{os.getpid()}-{secrets.token_hex(4)}.tmp"


def is_temporary(name: str, target: str | None = None) -> bool:
    """Whether a name is that of a temporary file of a file; None for any file."""
    is_of_target = target is None or name.startswith(_start(target))
    return is_of_target and TEMPORARY_FILE.fullmatch(name) is not None


def _temporary_name(path: Path) -> Path:
    return path.with_name(temporary_name(path.name))


def _start(name: str) -> str:
    return f".{name[:_NAME_LENGTH]}."


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for backup in path.glob(f"{BACKUP}*"):
            restore(backup, path.parent / backup.name.removeprefix(BACKUP))
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Create a folder and its parents, and bring their names to the disk."""
    if folder.is_dir():
        return
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in new:
        sync(path.parent)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk, where the file system can.

    Raises:
        OSError: If the disk fails or is full.
    """
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        return
    flags = os.O_RDONLY if os.name == "posix" else os.O_RDWR | _BINARY
    try:
        handle = os.open(path, flags if is_folder else flags | _NOFOLLOW)
    except PermissionError:
        return  # a folder that may be written to but not listed
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


@contextmanager
def _errors_of(path: Path, temporary: Path) -> Iterator[None]:
    """Let the errors of the system carry the path of the target instead of the temporary one."""
    try:
        yield
    except OSError as error:
        file = str(error.filename or temporary)
        is_own = file == str(temporary) or file.startswith(f"{temporary}{os.sep}")
        if error.errno is None or not is_own:
            raise
        raise OSError(error.errno, error.strerror or os.strerror(error.errno), str(path)) from error


@contextmanager
def remove_new_folder_on_failure(folder: Path) -> Iterator[None]:
    """If the block fails, remove the folder and its parents that are new and still empty.

    Args:
        folder: Folder that the block may create.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        for path in new:  # from the folder upwards
            with suppress(OSError):
                path.rmdir()
        raise
