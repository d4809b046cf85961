"""A copy, in the cache of this machine, of the files at an address.

The copy remembers which version of each file it holds. So files are transferred once, and what has
been changed on either side since is known.
"""

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from limbeck._base import cache
from limbeck._base.addresses import add_copy
from limbeck._base.errors import ResourceError
from limbeck._base.files import write_bytes, write_json
from limbeck._base.sizes import format_bytes
from limbeck._base.storage import RemoteFile, Storage, check_address

BATCH = 64
"""Number of files that are downloaded at once."""
PROGRESS_BYTES = 1 << 24
"""Minimum number of bytes for which a download shows progress."""
SAVE_SECONDS = 1.0
"""Minimum number of seconds between two writes of what has been transferred."""


@dataclass(frozen=True)
class Transfer:
    """A file that both sides have had.

    Attributes:
        version: Version at the address.
        size: Number of bytes of the copy.
        modified: Time at which the copy was modified, in nanoseconds.
    """

    version: str
    size: int
    modified: int

    @classmethod
    def of(cls, version: str, status: os.stat_result) -> "Transfer":
        """Describe a file that has just been transferred."""
        return cls(version, status.st_size, status.st_mtime_ns)

    def is_unchanged(self, path: Path) -> bool:
        """Whether the copy has not been modified since."""
        try:
            status = path.lstat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (self.size, self.modified)


class Mirror:
    """A copy of the files at an address.

    Args:
        address: Address of a file or folder.

    Attributes:
        address: The address, without a slash at its end.
        folder: Folder of the copies, which need not exist.

    Raises:
        ConfigError: If the address names no place or holds a secret, or its protocol is unknown.
        ResourceError: If the package for the protocol is missing, or there is no cache.
    """

    def __init__(self, address: str):
        check_address(address)
        self.address = address.rstrip("/")
        self.storage = Storage(self.address)
        root = cache.COPIES.default_folder.expanduser().absolute()
        self._place = Path(os.path.realpath(root)) / cache.key_of(self.address)
        self.folder = self._place / (self.storage.name or "files")
        self._state_file = self._place / "transfers.json"
        self._saved = 0.0
        add_copy(self.folder, self.address)

    @cached_property
    def transfers(self) -> dict[str, Transfer]:
        """Files that both sides have had, by name."""
        try:
            content = json.loads(self._state_file.read_text(encoding="utf-8"))
            return {name: Transfer(**facts) for name, facts in content["files"].items()}
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            return {}

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock of the copy, so that one process of this machine at a time transfers files.

        Raises:
            OSError: If the cache cannot be written to.
        """
        root, name = self._place.parent, self._place.name
        with cache.open_root(root, create=True) as folder, cache.hold_lock(folder, name):
            with cache.open_entry(folder, name):
                pass
            for path in self._place.glob(".*ing-*"):  # left by a process that was killed
                shutil.rmtree(path, ignore_errors=True)
                path.unlink(missing_ok=True)
            self.__dict__.pop("transfers", None)  # another process may have transferred files
            yield

    def local_files(self) -> dict[str, Path]:
        """Return the complete files in the copy by name, without links and hidden files."""
        files = {}
        for place, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(place, name)
                if not name.startswith(".") and not path.is_symlink():
                    files[path.relative_to(self.folder).as_posix()] = path
        return files

    def has(self, file: RemoteFile) -> bool:
        """Whether the copy holds this version of a file."""
        transfer = self.transfers.get(file.name)
        is_same = transfer is not None and transfer.version == file.version
        return is_same and transfer is not None and transfer.is_unchanged(self.path(file.name))

    def path(self, name: str) -> Path:
        """Return the path of the copy of a file."""
        return self.folder / name

    def download(self, files: Sequence[RemoteFile]) -> None:
        """Copy files from the address; each is complete once it has its name.

        Args:
            files: Files to copy.

        Raises:
            FileNotFoundError: If one is gone meanwhile.
            OSError: If the disk is full.
            ResourceError: If the storage cannot be read.
        """
        size = sum(file.size or 0 for file in files)
        self._check_space(size)
        from limbeck._base.progress import StageProgress  # slow to import

        progress = StageProgress(enabled=size > PROGRESS_BYTES)
        done = 0
        try:
            with progress.stage(f"downloading {self.address}", size) as advance:
                for start in range(0, len(files), BATCH):
                    done += self._download_batch(files[start : start + BATCH])
                    advance(done)
        finally:
            self.save()

    def _download_batch(self, files: Sequence[RemoteFile]) -> int:
        """Copy some files at once; returns the number of their bytes."""
        incoming = self._place / f".incoming-{os.getpid()}"
        try:
            self.storage.download(files, incoming)
            for file in files:
                target = self.path(file.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(incoming / file.name, target)
                self.record(file, target.lstat())
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        return sum(file.size or 0 for file in files)

    def upload(self, name: str) -> None:
        """Copy a file to the address.

        Raises:
            ResourceError: If the storage cannot be written to.
        """
        path = self.path(name)
        with suppress(FileNotFoundError):  # removed since
            status = path.lstat()
            self.record(self.storage.upload(path, name), status)

    def upload_content(self, name: str, content: bytes, status: os.stat_result) -> None:
        """Copy an earlier content of a file to the address.

        Args:
            name: Name of the file.
            content: Content of the copy when it had the status.
            status: Status of the copy before it was read.

        Raises:
            ResourceError: If the storage cannot be written to.
        """
        file = self._place / f".outgoing-{os.getpid()}"
        try:
            write_bytes(file, content)
            self.record(self.storage.upload(file, name), status)
        finally:
            file.unlink(missing_ok=True)

    def record(self, file: RemoteFile, status: os.stat_result) -> None:
        """Remember that both sides have a file."""
        self.transfers[file.name] = Transfer.of(file.version, status)
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def forget(self, names: Iterable[str]) -> None:
        """Remember that the address no longer has files."""
        for name in list(names):
            self.transfers.pop(name, None)
        self.save()

    def clear(self) -> None:
        """Remove the copy, but nothing at the address."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.forget(list(self.transfers))

    def remove(self, names: Iterable[str]) -> None:
        """Remove files of the copy, but nothing at the address."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def save(self) -> None:
        """Write what has been transferred."""
        files = {name: asdict(transfer) for name, transfer in self.transfers.items()}
        write_json(self._state_file, {"address": self.address, "files": files})
        self._saved = time.monotonic()

    def _check_space(self, size: int) -> None:
        if cache.lacks_space(self._place, size):
            raise ResourceError(
                f"The disk is full: {self.address} needs {format_bytes(size)} in {self._place}. "
                "Free some space, or choose another cache with LIMBECK_CACHE=DIR."
            )
