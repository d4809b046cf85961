"""Storage elsewhere, such as an S3 bucket: the one place that calls fsspec.

Faults become one message each. Those that may pass, such as a lost connection, are tried again
first.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck._base.storage_faults import explain, is_local, is_missing_bucket, may_pass

T = TypeVar("T")

WAITS = (0.5, 2.0, 6.0)
"""Seconds to wait before the second and each further attempt."""
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "blob_id", "content_md5", "generation")
"""Properties that change with the content of a file."""
_TIME_KEYS = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
"""Properties for file systems without any of the former."""
_SECRET = re.compile(r"(^|[&?])[^=&]*(key|secret|sig|signature|token|password|pwd)=", re.IGNORECASE)
_UNSAFE = re.compile(r"[\\\0]|(^|/)\.{0,2}(/|$)|^[A-Za-z]:")
"""Names that would lead out of a folder on some system."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address.

    Attributes:
        name: Path below the address; for an address of a file, its last part.
        path: Path in the storage.
        size: Number of bytes; None if it is unknown.
        version: Text that changes with the content.
    """

    name: str
    path: str
    size: int | None
    version: str


def check_address(address: str) -> None:
    """Check that an address names a place, and holds no secret: it is saved and shown.

    Raises:
        ConfigError: If it names none, or holds a password or key.
    """
    if "::" not in address and not address.partition("://")[2].strip("/"):
        raise ConfigError(f"{address} names no place. Use an address such as s3://bucket/run.")
    for part in address.split("::"):
        try:
            url = urlsplit(part)
        except ValueError:  # no address of a host, so it has no password
            continue
        if url.password or _SECRET.search(url.query):
            raise ConfigError(
                f"The address {url.scheme}://...{url.path} holds a password or key, which would be "
                "saved with the results. Leave it out, and give it in the environment or in the "
                "configuration file of the storage."
            )


def protocol_of(address: str) -> str:
    """Return the protocol of an address, such as ``s3``; of a chain, the first one."""
    return address.partition("://")[0].rpartition("::")[2]


class Storage:
    """The files at an address.

    Args:
        address: Address of a file or folder, which need not exist.

    Raises:
        ConfigError: If the address holds a secret, or its protocol is unknown.
        ResourceError: If the package for the protocol is missing.
    """

    def __init__(self, address: str):
        check_address(address)
        self.address = address
        self.protocol = protocol_of(address)
        self._system, self._root = self._attempt(lambda: self._connect(address))

    @property
    def name(self) -> str:
        """Last part of the address."""
        address = next((part for part in self.address.split("::") if "://" in part), self.address)
        return address.partition("?")[0].rstrip("/").rpartition("/")[2]

    def files(self) -> dict[str, RemoteFile]:
        """Return the files below the address, or at it, by name; empty if there are none.

        Raises:
            ResourceError: If they cannot be listed.
            UntrustedFileError: If a name would lead out of the folder of a copy.
        """

        def list_files() -> dict[str, dict[str, Any]]:
            self._system.invalidate_cache()
            with suppress(FileNotFoundError):
                entries: dict[str, dict[str, Any]] = self._system.find(self._root, detail=True)
                return entries
            return {}

        files = {}
        for path, info in self._attempt(list_files).items():
            if info.get("type") == "directory" or path.endswith("/"):
                continue
            name = self._name_below(path)
            if _UNSAFE.search(name):
                raise UntrustedFileError(
                    f"{self.address} has a file of the name {name!r}, which is not a path below it."
                )
            files[name] = RemoteFile(name, path, info.get("size"), _version(info))
        return files

    def is_root(self, file: RemoteFile) -> bool:
        """Whether the address is that of a file, and not of a folder."""
        return file.path == self._root

    def read(self, name: str) -> bytes | None:
        """Return the content of a small file; None if there is none of that name."""

        def read() -> bytes | None:
            with suppress(FileNotFoundError):
                content: bytes = self._system.cat_file(self._path(name))
                return content
            return None

        return self._attempt(read)

    def write(self, name: str, content: bytes) -> None:
        """Write a file; where the storage has whole objects, as S3 has, nobody sees a part."""

        def write() -> None:
            self._make_folder(name)
            self._system.pipe_file(self._path(name), content)

        self._attempt(write)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless there is one; returns whether it was written.

        S3 decides this for all machines at once. A storage that cannot is asked first.
        """

        def create() -> bool:
            self._make_folder(name)
            path = self._path(name)
            self._system.invalidate_cache()
            if self._system.exists(path):
                return False
            try:
                self._system.pipe_file(path, content, mode="create")
            except FileExistsError:
                return False
            except (NotImplementedError, TypeError, ValueError):
                self._system.pipe_file(path, content)
            return True

        return self._attempt(create)

    def download(self, files: Sequence[RemoteFile], folder: Path) -> None:
        """Copy files into a folder of this machine.

        Raises:
            FileNotFoundError: If one is gone meanwhile.
            OSError: If the disk is full.
            ResourceError: If the storage cannot be read.
        """

        def download() -> None:
            targets = [folder / file.name for file in files]
            for target in targets:
                target.parent.mkdir(parents=True, exist_ok=True)
            self._system.get([file.path for file in files], list(map(str, targets)))
            for file, target in zip(files, targets, strict=True):
                size = target.stat().st_size if target.is_file() else -1
                if size != (size if file.size is None else file.size):
                    raise ConnectionError(f"{file.name} was cut short")

        self._attempt(download)

    def upload(self, path: Path, name: str) -> RemoteFile:
        """Copy a file of this machine to the address.

        Raises:
            FileNotFoundError: If it is gone meanwhile.
            ResourceError: If it cannot be written.
        """

        def upload() -> RemoteFile:
            self._make_folder(name)
            target = self._path(name)
            self._system.put_file(str(path), target)
            self._system.invalidate_cache()
            info = self._system.info(target)
            return RemoteFile(name, target, info.get("size"), _version(info))

        return self._attempt(upload)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, one after the other; those that are gone are passed over."""
        for name in names:

            def remove(path: str = self._path(name)) -> None:
                with suppress(FileNotFoundError):
                    self._system.rm_file(path)

            self._attempt(remove)

    # Parts ----------------------------------------------------------------------------------------

    def _connect(self, address: str) -> tuple[Any, str]:
        import fsspec

        system, root = fsspec.url_to_fs(address)
        return system, root.rstrip("/")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _name_below(self, path: str) -> str:
        below = path.removeprefix(f"{self._root}/")
        return below if below != path else path.rpartition("/")[2]

    def _make_folder(self, name: str) -> None:
        """Create the folder of a file where the storage has folders."""
        parent = self._path(name).rpartition("/")[0]
        if self.protocol not in ("s3", "s3a", "gs", "gcs", "hf", "memory"):
            self._system.makedirs(parent, exist_ok=True)

    def _attempt(self, call: Callable[[], T]) -> T:
        """Call a function of the storage, several times if the fault may pass.

        Raises:
            ResourceError: If it fails. Errors about files on this machine, and about files that
                exist or do not exist, are raised as they are.
        """
        for wait in (*WAITS, None):
            try:
                return call()
            except Exception as error:  # a file system may raise anything
                if is_local(error):
                    raise
                if isinstance(error, FileNotFoundError) and not is_missing_bucket(error):
                    raise
                if wait is None or not may_pass(error):
                    raise explain(error, self.address, self.protocol) from None
            time.sleep(wait)
        raise AssertionError


def _version(info: dict[str, Any]) -> str:
    """Text that changes with the content of a file, from the properties that the storage gives."""
    keys = [key for key in (*_VERSION_KEYS, *_TIME_KEYS) if info.get(key)]
    value = info[keys[0]] if keys else ""
    if isinstance(value, datetime):
        value = value.timestamp()
    text = f"{str(value).strip(chr(34))} {info.get('size')}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
