"""Files of a store; incomplete or damaged answers are never read.

A store is one folder, named by its key:

``store.json``
    the header: what produced the answers, and their sizes
``answers.bin``
    the answers ``[rows, views, positions]`` in row-major order, little-endian (see ``codec.py``)
``shards.json``
    the SHA-256 of each finished shard, a block of rows in all their views

A shard whose checksum is missing or wrong is computed again. The order of writes therefore does not
matter, and an interrupted build continues from its finished shards.
"""

import errno
import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from limbeck._base import cache
from limbeck._base.errors import (
    SHORTAGES,
    ResourceError,
    UntrustedFileError,
    shortage_error,
)
from limbeck._base.mapped_memory import MAPPED_FILES
from limbeck._base.open_folder import OpenFolder, PlantedFileError
from limbeck._base.sizes import format_bytes
from limbeck.store.key import FORMAT, HEADER, Header, damage_error

ANSWERS, CHECKSUMS = "answers.bin", "shards.json"
_MAX_JSON_BYTES = 1 << 28
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ALTERNATIVES = (
    "Choose another folder with store.folder=DIR or LIMBECK_STORE=DIR, or run the teacher in every "
    "step with store=off."
)
"""Advice for a folder that cannot be used."""


class Check(NamedTuple):
    """Result of reading a store.

    Attributes:
        damaged_shards: Finished shards whose bytes do not match their checksums.
        content: Memory map of all answers; None unless every shard is finished and intact. Writing
            to it does not change the file.
    """

    damaged_shards: list[int]
    content: mmap.mmap | None


class StoreFolder:
    """The files of one store.

    Args:
        path: Folder of the store.
        header: Header of the store.
    """

    def __init__(self, path: Path, header: Header):
        self.path = path
        self.header = header

    @classmethod
    def open(cls, path: Path) -> "StoreFolder | None":
        """Open the store in a folder; returns None if there is no header.

        Raises:
            UntrustedFileError: If the header is damaged or belongs to another store.
            ResourceError: If the header cannot be read.
        """
        content = _read_json(path, HEADER)
        if content is None:
            return None
        return cls(path, Header.from_json(content, path))

    @property
    def answers(self) -> Path:
        """File of the answers."""
        return self.path / ANSWERS

    def checksums(self) -> dict[int, str]:
        """SHA-256 of each finished shard.

        Raises:
            UntrustedFileError: If the file of checksums is damaged.
            ResourceError: If it cannot be read.
        """
        content = _read_json(self.path, CHECKSUMS)
        if content is None:
            return {}
        try:
            checksums = parse_checksums(content, self.header)
        except ValueError as error:
            raise damage_error(self.path, str(error), CHECKSUMS) from None
        return checksums

    @property
    def complete(self) -> bool:
        """Whether every shard is finished, without reading the shards."""
        return len(self.checksums()) == self.header.shards

    def check(self, advance: Callable[[int], object] = lambda done: None) -> Check:
        """Read every finished shard and compare it with its checksum.

        Args:
            advance: Function to call with the number of shards read.

        Raises:
            UntrustedFileError: If the file of checksums is damaged.
            ResourceError: If a file cannot be read.
        """
        checksums = self.checksums()
        damaged_shards = []
        try:
            with OpenFolder.open_entry(self.path) as folder, folder.read(ANSWERS) as file:
                for done, shard in enumerate(sorted(checksums), start=1):
                    if self.checksum(shard, self._read(file, shard)) != checksums[shard]:
                        damaged_shards.append(shard)
                    advance(done)
                if damaged_shards or len(checksums) < self.header.shards:
                    return Check(damaged_shards, None)
                if os.fstat(file.fileno()).st_size != self.header.size:
                    return Check([self.header.shards - 1], None)
                # The open file is mapped, not the path, which may belong to another file by now.
                content = MAPPED_FILES.map(file, self.header.size, path=self.answers)
                return Check([], content)
        except (FileNotFoundError, PlantedFileError):
            return Check(sorted(checksums), None)
        except OSError as error:
            raise unreadable(self.answers, error) from None

    def prepare(self, *, damaged_shards: list[int]) -> None:
        """Write the header, and drop the checksums of damaged shards.

        Raises:
            ResourceError: If the folder cannot be written to, or the disk is full.
        """
        with (
            translate_write_errors(self.path.parent, self.header.size),
            cache.open_root(self.path.parent, create=True) as root,
            cache.open_entry(root, self.path.name) as folder,
        ):
            folder.remove_temporary_files(HEADER, CHECKSUMS)
            with folder.edit(ANSWERS) as file:
                size = os.fstat(file.fileno()).st_size
                if cache.lacks_space(self.path, self.header.size - size):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if size > self.header.size:
                    file.truncate(self.header.size)
            _write_json(folder, HEADER, self.header.to_json(), sync=True)
            checksums: dict[int, str] = {}
            with suppress(UntrustedFileError):
                checksums = self.checksums()
            for shard in damaged_shards:
                checksums.pop(shard, None)
            self._write_checksums(folder, checksums)

    def write(self, shard: int, content: bytes) -> None:
        """Write a shard, then its checksum.

        Raises:
            ResourceError: If the disk is full or fails.
        """
        with (
            translate_write_errors(self.path.parent, self.header.size),
            OpenFolder.open_entry(self.path) as folder,
        ):
            with folder.edit(ANSWERS) as file:
                file.seek(self.header.rows_of(shard).start * self.header.row_bytes)
                file.write(content)
            checksums = {**self.checksums(), shard: self.checksum(shard, content)}
            self._write_checksums(folder, checksums)

    def read(self, shard: int) -> bytes:
        """Read a shard, without a check of its checksum.

        Raises:
            ResourceError: If it cannot be read.
        """
        try:
            with OpenFolder.open_entry(self.path) as folder, folder.read(ANSWERS) as file:
                return self._read(file, shard)
        except OSError as error:
            raise unreadable(self.answers, error) from None

    def remove_leftovers(self) -> None:
        """Remove the temporary files of processes that were killed; the lock has to be held."""
        with suppress(FileNotFoundError), OpenFolder.open_entry(self.path) as folder:
            folder.remove_temporary_files(HEADER, CHECKSUMS)

    def _read(self, file: BinaryIO, shard: int) -> bytes:
        rows = self.header.rows_of(shard)
        file.seek(rows.start * self.header.row_bytes)
        return file.read(len(rows) * self.header.row_bytes)

    def checksum(self, shard: int, content: bytes) -> str:
        """SHA-256 of the bytes and their position, so that shards cannot be swapped."""
        digest = hashlib.sha256(f"{self.header.key} {shard} {len(content)}\n".encode())
        digest.update(content)
        return digest.hexdigest()

    def _write_checksums(self, folder: OpenFolder, checksums: Mapping[int, str]) -> None:
        shards = {str(shard): checksums[shard] for shard in sorted(checksums)}
        _write_json(folder, CHECKSUMS, {"format": FORMAT, "shards": shards})


def parse_checksums(content: Any, header: Header) -> dict[int, str]:
    """Read the checksums of shards from the content of their file.

    Raises:
        ValueError: If it is damaged; the message is a sentence without a full stop.
    """
    try:
        checksums = {int(shard): digest for shard, digest in content["shards"].items()}
    except (ValueError, TypeError, LookupError, AttributeError):
        raise ValueError("it holds no checksums") from None
    for shard, digest in checksums.items():
        if not 0 <= shard < header.shards or not isinstance(digest, str):
            raise ValueError(f"shard {shard} is out of range or has no checksum")
    return checksums


def _read_json(path: Path, name: str) -> Any:
    """Content of a JSON file of a store; None if it does not exist."""
    try:
        with OpenFolder.open_entry(path) as folder, folder.read(name) as file:
            if os.fstat(file.fileno()).st_size > _MAX_JSON_BYTES:
                raise damage_error(path, "it is too large", name)
            return json.loads(file.read().decode())
    except PlantedFileError as error:
        if error.filename == str(path):
            raise UntrustedFileError(f"{path} is a link, not a store. Remove it.") from None
        raise damage_error(path, str(error.strerror), name) from None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(path / name, error) from None
    except (ValueError, RecursionError) as error:
        raise damage_error(path, str(error), name) from None


def _write_json(
    folder: OpenFolder, name: str, content: Mapping[str, Any], *, sync: bool = False
) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    folder.replace(name, lambda file: file.write(text.encode()), sync=sync)


@contextmanager
def translate_write_errors(root: Path, size: int = 0) -> Iterator[None]:
    """Turn errors of writing a store into a ``ResourceError``; finished shards are kept.

    Args:
        root: Folder of all stores.
        size: Bytes of the store.

    Raises:
        ResourceError: If an ``OSError`` occurs.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise shortage_error(error) or ResourceError(
                f"{error.filename or root} cannot be written ({error.strerror}), so the teacher's "
                f"answers cannot be stored. {ALTERNATIVES}"
            ) from None
        free = 0
        with suppress(OSError):
            free = shutil.disk_usage(root).free
        raise ResourceError(
            f"The disk is full: the teacher's answers need {format_bytes(size)} in {root}, where "
            f"{format_bytes(free)} are free. Free some space ('limbeck store list' shows all "
            f"stores). {ALTERNATIVES}"
        ) from None


def describe_shards(shards: list[int]) -> str:
    """Subject and verb of a sentence about shards: ``shard 2 is``, ``shards 0, 1 are``."""
    if len(shards) == 1:
        return f"shard {shards[0]} is"
    return f"shards {', '.join(map(str, shards))} are"


class UnreadableStoreError(ResourceError):
    """A file of a store cannot be read.

    Args:
        fault: Name of the file and the reason, without advice.
        advice: Sentence that says what to do.
    """

    def __init__(self, fault: str, advice: str = ALTERNATIVES):
        super().__init__(f"{fault}, so the teacher's stored answers cannot be used. {advice}")
        self.fault = fault


def unreadable(file: Path, error: OSError) -> UnreadableStoreError:
    """The error for a file of a store that cannot be read."""
    reason = error.strerror or error
    fault = f"{error.filename or file} cannot be read ({reason})"
    if error.errno in SHORTAGES:
        return UnreadableStoreError(fault, f"{SHORTAGES[error.errno][1]} and try again.")
    return UnreadableStoreError(fault)
