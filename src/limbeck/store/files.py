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
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from limbeck._base import cache
from limbeck._base.errors import ResourceError, UntrustedFileError
from limbeck._base.files import write_json
from limbeck.store.key import FORMAT, HEADER, Header, damage_error

ANSWERS, CHECKSUMS = "answers.bin", "shards.json"
_KEY = re.compile(r"[0-9a-f]{32}")
_STORE_FILE = re.compile(
    r"store\.json|(?:answers|logits)\.bin|shards\.json|\.(?:store|shards)\.json\.[a-z0-9_]+\.json"
)
"""Names of a store's files; ``logits.bin`` belongs to format 1."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ALTERNATIVES = (
    "Choose another folder with store.folder=DIR or LIMBECK_STORE=DIR, or run the teacher in every "
    "step with store=off."
)


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
            checksums = {int(shard): digest for shard, digest in content["shards"].items()}
        except (ValueError, TypeError, LookupError, AttributeError):
            raise damage_error(self.path, "it holds no checksums", CHECKSUMS) from None
        for shard, digest in checksums.items():
            if not 0 <= shard < self.header.shards or not isinstance(digest, str):
                raise damage_error(
                    self.path, f"shard {shard} is out of range or has no checksum", CHECKSUMS
                )
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
            with self.answers.open("rb") as file:
                for done, shard in enumerate(sorted(checksums), start=1):
                    if self._checksum(shard, self._read(file, shard)) != checksums[shard]:
                        damaged_shards.append(shard)
                    advance(done)
                if damaged_shards or len(checksums) < self.header.shards:
                    return Check(damaged_shards, None)
                if os.fstat(file.fileno()).st_size != self.header.size:
                    return Check([self.header.shards - 1], None)
                # The open file is mapped, not the path, which may belong to another file by now.
                content = mmap.mmap(file.fileno(), self.header.size, access=mmap.ACCESS_COPY)
                return Check([], content)
        except FileNotFoundError:
            return Check(sorted(checksums), None)
        except OSError as error:
            raise _unreadable(self.answers, error) from None

    def prepare(self, *, damaged_shards: list[int]) -> None:
        """Write the header, and drop the checksums of damaged shards.

        Raises:
            ResourceError: If the folder cannot be written to, or the disk is full.
        """
        with translate_write_errors(self.path.parent, self.header.size):
            self.path.mkdir(parents=True, exist_ok=True)
            self.answers.touch()
            size = self.answers.stat().st_size
            if cache.lacks_space(self.path, self.header.size - size):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if size > self.header.size:
                os.truncate(self.answers, self.header.size)
            write_json(self.path / HEADER, self.header.to_json())
            checksums: dict[int, str] = {}
            with suppress(UntrustedFileError):
                checksums = self.checksums()
            for shard in damaged_shards:
                checksums.pop(shard, None)
            self._write_checksums(checksums)

    def write(self, shard: int, content: bytes) -> None:
        """Write a shard, then its checksum.

        Raises:
            ResourceError: If the disk is full or fails.
        """
        with translate_write_errors(self.path.parent, self.header.size):
            with self.answers.open("r+b") as file:
                file.seek(self.header.rows_of(shard).start * self.header.row_bytes)
                file.write(content)
            self._write_checksums({**self.checksums(), shard: self._checksum(shard, content)})

    def _read(self, file: BinaryIO, shard: int) -> bytes:
        rows = self.header.rows_of(shard)
        file.seek(rows.start * self.header.row_bytes)
        return file.read(len(rows) * self.header.row_bytes)

    def _checksum(self, shard: int, content: bytes) -> str:
        """SHA-256 of the bytes and their position, so that shards cannot be swapped."""
        digest = hashlib.sha256(f"{self.header.key} {shard} {len(content)}\n".encode())
        digest.update(content)
        return digest.hexdigest()

    def _write_checksums(self, checksums: Mapping[int, str]) -> None:
        shards = {str(shard): checksums[shard] for shard in sorted(checksums)}
        write_json(self.path / CHECKSUMS, {"format": FORMAT, "shards": shards})


def _read_json(path: Path, name: str) -> Any:
    """Content of a JSON file of a store; None if it does not exist."""
    try:
        return json.loads((path / name).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path / name, error) from None
    except (ValueError, RecursionError) as error:
        raise damage_error(path, str(error), name) from None


# All stores of a folder ---------------------------------------------------------------------------


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
        raise _unreadable(root, error) from None


def is_store(path: Path) -> bool:
    """Whether a folder has the name of a store and contains only files of a store."""
    try:
        if not _KEY.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            return False
        return all(
            _STORE_FILE.fullmatch(file.name) and not file.is_dir() for file in path.iterdir()
        )
    except OSError:  # removed by another process, or owned by another user
        return False


def size_of(path: Path) -> int:
    """Total size of a store's files in bytes, skipping files that vanish during the call."""
    size = 0
    with suppress(OSError):
        for file in path.iterdir():
            with suppress(OSError):
                size += file.lstat().st_size
    return size


def remove_store(path: Path) -> None:
    """Delete a store's files and its folder, the header last."""
    for file in sorted(path.iterdir(), key=lambda file: file.name == HEADER):
        if _STORE_FILE.fullmatch(file.name):
            file.unlink(missing_ok=True)
    path.rmdir()


def check_folder(root: Path) -> None:
    """Check that a folder can hold stores, without writing anything.

    Raises:
        ResourceError: If it is a file, or can be neither read nor created.
    """
    existing = next(path for path in (root, *root.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise ResourceError(f"store.folder={root}: {existing} is not a folder. {_ALTERNATIVES}")
    usable = os.access(existing, os.R_OK | os.X_OK)
    if existing != root:
        usable = usable and os.access(existing, os.W_OK)
    if not usable:
        raise ResourceError(
            f"store.folder={root}: permission denied for {existing}. {_ALTERNATIVES}"
        )


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
            raise ResourceError(
                f"{error.filename or root} cannot be written ({error.strerror}), so the teacher's "
                f"answers cannot be stored. {_ALTERNATIVES}"
            ) from None
        free = 0
        with suppress(OSError):
            free = shutil.disk_usage(root).free
        raise ResourceError(
            f"The disk is full: the teacher's answers need {format_bytes(size)} in {root}, where "
            f"{format_bytes(free)} are free. Free some space ('limbeck store list' shows all "
            f"stores). {_ALTERNATIVES}"
        ) from None


def format_bytes(size: float) -> str:
    """Format a size in bytes, such as ``30.0 MB``."""
    if size < 1000:
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"


def describe_shards(shards: list[int]) -> str:
    """Subject and verb of a sentence about shards: ``shard 2 is``, ``shards 0, 1 are``."""
    if len(shards) == 1:
        return f"shard {shards[0]} is"
    return f"shards {', '.join(map(str, shards))} are"


def _unreadable(file: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"{error.filename or file} cannot be read ({error.strerror or error}), so the teacher's "
        f"stored answers cannot be used. {_ALTERNATIVES}"
    )
