"""The files of a soft-target store, so written that what is half done or damaged is never read.

A store is one folder, named by its key, the digest of what produced it:

``store.json``
    the header: what produced the answers, and their sizes
``answers.bin``
    answers ``[rows, views, positions]`` in row-major order, little-endian, all of one size (see
    ``records.py``)
``shards.json``
    the journal: the SHA-256 of each finished shard, added when its bytes are on the disk

A shard is a block of rows in all their views. One that is not in the journal does not exist.
"""

import errno
import hashlib
import json
import mmap
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from limbeck._base.errors import ResourceError, UntrustedFileError
from limbeck._base.files import write_atomically
from limbeck.store.key import FORMAT, HEADER, Header, advice, checked_header

ANSWERS, JOURNAL = "answers.bin", "shards.json"
_KEY = re.compile(r"[0-9a-f]{32}")
_OURS = re.compile(
    r"store\.json|(?:answers|logits)\.bin|shards\.json|\.(?:store|shards)\.json\.[a-z0-9_]+\.json"
)
"""Names of a store's files, ``logits.bin`` in those of format 1."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_FALLOCATE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)


class StoreFolder:
    """The files of one store.

    Args:
        path: its folder.
        header: what it holds, or is to hold.
    """

    def __init__(self, path: Path, header: Header):
        self.path, self.header = path, header

    @classmethod
    def open(cls, path: Path) -> "StoreFolder | None":
        """The store in a folder; None where there is no header, so no store.

        Raises:
            UntrustedFileError: the header is damaged, or is not that of the store that the folder
                names.
            ResourceError: it may not be read.
        """
        try:
            content = json.loads((path / HEADER).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(path / HEADER, error) from None
        except (ValueError, RecursionError) as error:
            raise UntrustedFileError(
                f"{path / HEADER} is damaged ({error}). {advice(path)}"
            ) from None
        header = checked_header(content, path)
        if header.key != path.name:
            raise UntrustedFileError(
                f"{path / HEADER} is that of another store ({header.key}), or was changed: what it "
                "holds does not give "
                f"the key {path.name}. {advice(path)}"
            )
        return cls(path, header)

    # Reading --------------------------------------------------------------------------------------

    def journal(self) -> dict[int, str]:
        """SHA-256 of each finished shard.

        Raises:
            UntrustedFileError: the journal is damaged.
            ResourceError: it may not be read.
        """
        file = self.path / JOURNAL
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            found = {int(shard): digest for shard, digest in content["shards"].items()}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _unreadable(file, error) from None
        except (ValueError, RecursionError, TypeError, LookupError, AttributeError):
            raise UntrustedFileError(f"{file} is damaged. {advice(self.path)}") from None
        if not all(
            0 <= shard < self.header.shards and isinstance(digest, str)
            for shard, digest in found.items()
        ):
            raise UntrustedFileError(
                f"{file} is damaged: it names shards that do not exist. {advice(self.path)}"
            )
        return found

    def check(
        self, advance: Callable[[int], object] = lambda done: None
    ) -> tuple[list[int], mmap.mmap | None]:
        """Read every finished shard.

        Args:
            advance: told how many shards were read.

        Returns:
            The shards whose bytes are not those that were written; and if all shards are finished
            and sound, a map of the very file that was read, whatever has that name by then.

        Raises:
            UntrustedFileError: the journal is damaged.
            ResourceError: the files may not be read.
        """
        journal = self.journal()
        try:
            with self.answers.open("rb") as file:
                bad = []
                for done, (shard, digest) in enumerate(sorted(journal.items()), start=1):
                    if self._digest(shard, self._read(file, shard)) != digest:
                        bad.append(shard)
                    advance(done)
                if not bad and os.fstat(file.fileno()).st_size != self.header.size:
                    bad = sorted(journal)[-1:]
                complete = not bad and len(journal) == self.header.shards
                return bad, self._mapped(file) if complete else None
        except FileNotFoundError:
            return sorted(journal), None
        except OSError as error:
            raise _unreadable(self.answers, error) from None

    def mapped(self) -> mmap.mmap:
        """A map of the answers; what is written to it never reaches the file.

        Raises:
            ResourceError: the file may not be read.
        """
        try:
            with self.answers.open("rb") as file:
                return self._mapped(file)
        except OSError as error:
            raise _unreadable(self.answers, error) from None

    def _mapped(self, file: BinaryIO) -> mmap.mmap:
        return mmap.mmap(file.fileno(), self.header.size, access=mmap.ACCESS_COPY)

    @property
    def answers(self) -> Path:
        """The file of the answers."""
        return self.path / ANSWERS

    def _read(self, file: BinaryIO, shard: int) -> bytes:
        first, end = self.header.rows_of(shard)
        file.seek(first * self.header.row_bytes)
        return file.read((end - first) * self.header.row_bytes)

    def _digest(self, shard: int, content: bytes) -> str:
        """Of the bytes and of where they belong, so that shards cannot be swapped."""
        found = hashlib.sha256(f"{self.header.key} {shard} {len(content)}\n".encode())
        found.update(content)
        return found.hexdigest()

    # Writing --------------------------------------------------------------------------------------

    def prepare(self, *, without: list[int]) -> None:
        """Write the header, reserve the whole space and forget some shards.

        Raises:
            ResourceError: the folder cannot be written to, or the disk is full.
        """
        with writing(self.path.parent, self.header.size):
            self.path.mkdir(parents=True, exist_ok=True)
            _write_synced(self.path / HEADER, {"format": FORMAT, **asdict(self.header)})
            try:
                journal = self.journal()
            except UntrustedFileError:
                journal = {}
            _write_synced(
                self.path / JOURNAL,
                _entries({s: d for s, d in journal.items() if s not in without}),
            )
            self._reserve()

    def _reserve(self) -> None:
        """Give the file its whole size, so that a full disk is met now."""
        self.answers.touch()
        before = self.answers.stat().st_size
        try:
            with self.answers.open(
                "r+b"
            ) as file:  # not "ab": without fallocate, glibc reserves nothing in such a file
                if not _allocated(file.fileno(), self.header.size):
                    _check_room(self.path, self.header.size - before)
                    file.seek(before)
                    for start in range(before, self.header.size, 1 << 20):
                        file.write(bytes(min(1 << 20, self.header.size - start)))
                file.flush()
                os.ftruncate(file.fileno(), self.header.size)
                os.fsync(file.fileno())
        except OSError:
            if self.answers.exists():  # give back what was taken, keep what was there
                os.truncate(self.answers, min(before, self.header.size))
            raise

    def write(self, shard: int, content: bytes) -> None:
        """Write a shard, and when its bytes are on the disk, its line in the journal.

        Raises:
            ResourceError: the disk is full, or failed.
        """
        first, _ = self.header.rows_of(shard)
        with writing(self.path.parent, self.header.size):
            with self.answers.open("r+b") as file:
                file.seek(first * self.header.row_bytes)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            journal = {**self.journal(), shard: self._digest(shard, content)}
            _write_synced(self.path / JOURNAL, _entries(journal))


# All stores of a folder ---------------------------------------------------------------------------


def find_stores(root: Path) -> list[Path]:
    """The folders in ``root`` that are stores, sound or not, in the order of their names.

    Raises:
        ResourceError: ``root`` may not be read.
    """
    if not root.is_dir():
        return []
    try:
        return [path for path in sorted(root.iterdir()) if is_store(path)]
    except OSError as error:
        raise _unreadable(root, error) from None


def is_store(path: Path) -> bool:
    """Whether a folder has the name of a store, and nothing in it but files of a store, as far as
    one can see.
    """
    try:
        if not _KEY.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            return False
        return all(_OURS.fullmatch(file.name) and not file.is_dir() for file in path.iterdir())
    except OSError:  # it was cleared just now, or is another user's
        return False


def size_of(path: Path) -> int:
    """Bytes of a store's files; those that vanish meanwhile, as in a build, are not counted."""
    size = 0
    with suppress(OSError):
        for file in path.iterdir():
            with suppress(OSError):
                size += file.lstat().st_size
    return size


def remove_store(path: Path) -> None:
    """Delete a store's files and its folder, the header last."""
    for file in sorted(path.iterdir(), key=lambda file: file.name == HEADER):
        if _OURS.fullmatch(file.name):
            file.unlink(missing_ok=True)
    path.rmdir()


def check_folder(root: Path) -> None:
    """Check that stores may be kept in a folder, and write nothing.

    Raises:
        ResourceError: it is a file, or can be neither read nor made.
    """
    existing = next(path for path in (root, *root.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise ResourceError(f"store.folder={root}: {existing} is not a folder. {_other_place()}")
    if not os.access(existing, os.R_OK | os.X_OK) or (
        existing != root and not os.access(existing, os.W_OK)
    ):
        raise ResourceError(
            f"store.folder={root}: {existing} may not be used (permission denied). {_other_place()}"
        )


@contextmanager
def writing(root: Path, size: int = 0) -> Iterator[None]:
    """Tell in one message what stops a store from being written; what was finished stays.

    Raises:
        ResourceError: instead of an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            free = 0
            with suppress(OSError):
                free = shutil.disk_usage(root).free
            raise ResourceError(
                f"The disk is full: the teacher's answers need {in_bytes(size)} in {root}, "
                f"{in_bytes(free)} are free "
                "there. Free some space ('limbeck store list' shows what is kept). "
                f"{_other_place()}"
            ) from None
        raise ResourceError(
            f"{error.filename or root} cannot be written ({error.strerror}), so the teacher's "
            "answers cannot be kept. "
            f"{_other_place()}"
        ) from None


def in_bytes(size: float) -> str:
    """A size for people, as in ``30.0 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _other_place() -> str:
    return "Name a folder with store.folder=DIR or LIMBECK_STORE=DIR, or ask the teacher in every step with store=off."


def _unreadable(file: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"{error.filename or file} cannot be read ({error.strerror or error}), so the teacher's "
        "stored answers cannot "
        f"be used. {_other_place()}"
    )


def _check_room(folder: Path, size: int) -> None:
    """Refuse a file that the disk has no room for; some file systems do not know how much they
    have.
    """
    usage = shutil.disk_usage(folder)
    if usage.total and usage.free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _allocated(file: int, size: int) -> bool:
    """Reserve a file's space at once, where system and file system know how."""
    try:
        os.posix_fallocate(file, 0, size)
    except AttributeError:
        return False
    except OSError as error:
        if error.errno in _NO_FALLOCATE:
            return False
        raise
    return True


def _entries(journal: dict[int, str]) -> dict[str, Any]:
    return {"format": FORMAT, "shards": {str(shard): journal[shard] for shard in sorted(journal)}}


def _write_synced(file: Path, content: dict[str, Any]) -> None:
    """Write JSON atomically, on the disk before it gets its name."""

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8") as out:
            json.dump(content, out, indent=1, allow_nan=False)
            out.write("\n")
            out.flush()
            os.fsync(out.fileno())

    write_atomically(file, write)
