"""Folders that are held open, so that links planted by other users are never followed.

Whoever may write to a folder can replace one of its files by a link to a file of ours, also between
a check and the next call. An :class:`OpenFolder` therefore holds the folder itself, reaches its
files by name within it, and opens regular files only.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

from limbeck._base.files import is_temporary, temporary_name

_FOLDER = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_FILE = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a named pipe would wait for its other end
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL
_HAS_DESCRIPTORS = os.open in os.supports_dir_fd
"""Whether files can be opened relative to a folder's descriptor; not on Windows."""


class PlantedFileError(OSError):
    """A link, a pipe, a device or a folder is where a regular file should be."""


class OpenFolder:
    """A folder that is held open.

    Args:
        path: Path of the folder, for messages.
        descriptor: Descriptor of the open folder; None where the system has no such descriptors.
    """

    def __init__(self, path: Path, descriptor: int | None):
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a folder that the user named. Links to it are followed.

        Raises:
            OSError: If it is not a folder, or cannot be opened.
        """
        if not _HAS_DESCRIPTORS:
            os.listdir(path)
            return cls(path, None)
        return cls(path, os.open(path, os.O_RDONLY | _FOLDER))

    @classmethod
    def open_entry(cls, path: Path) -> Self:
        """Open a folder that is not a link; the path of its parent may contain links.

        Raises:
            OSError: If it is not a folder, or cannot be opened.
        """
        with cls.open(path.parent) as parent:
            return parent.subfolder(path.name)

    def subfolder(self, name: str) -> Self:
        """Open a folder in this one.

        Raises:
            OSError: If it is a link or not a folder, or cannot be opened.
        """
        path = self.path / name
        if stat.S_ISLNK(self.status(name).st_mode):
            raise PlantedFileError(errno.ELOOP, "it is a link", str(path))
        if self._descriptor is None:
            return type(self).open(path)
        flags = os.O_RDONLY | _FOLDER | getattr(os, "O_NOFOLLOW", 0)
        try:
            return type(self)(path, os.open(name, flags, dir_fd=self._descriptor))
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(path)) from None

    def make_subfolder(self, name: str, mode: int) -> None:
        """Create a folder in this one, unless there is one.

        Args:
            name: Name of the folder.
            mode: Permissions, reduced by the umask.
        """
        with suppress(FileExistsError):
            os.mkdir(*self._at(name), mode, **self._within())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def folder_status(self) -> os.stat_result:
        """Status of the folder itself."""
        return os.stat(self.path if self._descriptor is None else self._descriptor)

    def status(self, name: str) -> os.stat_result:
        """Status of a file or link.

        Raises:
            FileNotFoundError: If there is none.
        """
        try:
            return os.stat(*self._at(name), follow_symlinks=False, **self._within())
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(self.path / name)) from None

    def contains(self, name: str) -> bool:
        """Whether there is a file, a folder or a link of that name."""
        try:
            self.status(name)
        except FileNotFoundError:
            return False
        return True

    def names(self) -> list[str]:
        """Names of all files, folders and links, sorted."""
        return sorted(os.listdir(self.path if self._descriptor is None else self._descriptor))

    def read(self, name: str) -> BinaryIO:
        """Open a file for reading.

        Raises:
            FileNotFoundError: If there is none.
            PlantedFileError: If it is a link, or not a regular file.
            OSError: If it cannot be opened.
        """
        return self._open(name, os.O_RDONLY)

    def edit(self, name: str) -> BinaryIO:
        """Open a file for reading and writing, after creating it if necessary.

        A link in its place is replaced by a new file. So is a file with another name (a hard link),
        since the other name may belong to someone else.

        Raises:
            OSError: If it cannot be opened.
        """
        try:
            file = self._open(name, os.O_RDWR | os.O_CREAT)
            if os.fstat(file.fileno()).st_nlink == 1:
                return file
            file.close()
        except PlantedFileError:
            pass
        self.remove(name)
        return self._open(name, _CREATE)

    def replace(
        self, name: str, write: Callable[[BinaryIO], object], *, sync: bool = False
    ) -> None:
        """Write a file under a temporary name, then rename it. A link in its place is replaced.

        Args:
            name: Name of the file.
            write: Function that writes the content.
            sync: Whether to wait until the content is on the disk.

        Raises:
            OSError: If it cannot be written. An earlier file is kept.
        """
        temporary = temporary_name(name)
        try:
            with self._open(temporary, _CREATE, target=name) as file:
                write(file)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            self._rename(temporary, name)
        except BaseException:
            self.remove(temporary)
            raise
        if sync and self._descriptor is not None:
            os.fsync(self._descriptor)

    def remove(self, name: str) -> None:
        """Remove a file or a link, if there is one. What a link points to is kept."""
        with suppress(FileNotFoundError):
            os.unlink(*self._at(name), **self._within())

    def remove_temporary_files(self, *names: str) -> None:
        """Remove the temporary files that killed writers of the named files left."""
        for name in self.names():
            if any(is_temporary(name, target) for target in names):
                self.remove(name)

    def remove_subfolder(self, name: str) -> None:
        """Remove an empty folder.

        Raises:
            OSError: If it is not empty, or not a folder.
        """
        os.rmdir(*self._at(name), **self._within())

    def _open(self, name: str, flags: int, target: str | None = None) -> BinaryIO:
        """Open a regular file, never through a link; errors carry the path of the target."""
        path = self.path / (target or name)
        try:
            descriptor = os.open(*self._at(name), flags | _FILE, 0o666, **self._within())
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):
                raise PlantedFileError(error.errno, "it is not a regular file", str(path)) from None
            raise type(error)(error.errno, error.strerror, str(path)) from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PlantedFileError(errno.EINVAL, "it is not a regular file", str(path))
            return os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "r+b")
        except BaseException:
            os.close(descriptor)
            raise

    def _rename(self, source: str, target: str) -> None:
        descriptor = self._descriptor
        if descriptor is None:
            os.replace(self.path / source, self.path / target)
        else:
            os.replace(source, target, src_dir_fd=descriptor, dst_dir_fd=descriptor)

    def _at(self, name: str) -> tuple[str]:
        """The name of a file for calls of the system."""
        if not name or name in (".", "..") or "/" in name or os.sep in name:
            raise ValueError(f"{name!r} is not the name of a file")
        return (name if self._descriptor is not None else str(self.path / name),)

    def _within(self) -> dict[str, Any]:
        return {} if self._descriptor is None else {"dir_fd": self._descriptor}
