"""A folder of Parquet files that is written part by part, and continued after an interrupt."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from limbeck._base.digests import file_digest
from limbeck._base.errors import ConfigError, TeacherError
from limbeck._base.files import is_temporary, move, remove_leftovers, write_bytes, write_json
from limbeck._base.reading import read_json

MANIFEST = "answers.json"
UNFINISHED = ".unfinished"
"""Suffix of a folder that is not complete."""
FORMAT = 1
SAVE_SECONDS = 1.0
"""Minimum number of seconds between two writes of the digests."""


class Parts:
    """The parts in a folder that is being written.

    Args:
        folder: Folder of the parts.
        key: Digest of all that determines their content.
        count: Number of parts of the complete folder.

    Raises:
        ConfigError: If the folder holds parts of another key.
    """

    def __init__(self, folder: Path, key: str, count: int):
        self.folder, self.key, self.count = folder, key, count
        self._digests: dict[str, str] = {}
        self._saved = 0.0
        manifest = _read_manifest(folder)
        if manifest is not None:
            if manifest.get("key") != key:
                raise ConfigError(
                    f"{folder} holds the unfinished answers of another teacher, to other data "
                    "or with another top=. Remove it, or choose another name for to=."
                )
            self._digests = {
                name: digest
                for name, digest in _digests_of(manifest).items()
                if _is_sound(folder / name, digest)
            }
        elif folder.exists() and not all(is_temporary(path.name) for path in folder.iterdir()):
            raise ConfigError(f"{folder} holds something else. Remove it, or choose another to=.")

    @property
    def missing(self) -> list[int]:
        """Numbers of the parts that are not there yet."""
        return [number for number in range(self.count) if name_of(number) not in self._digests]

    def write(self, number: int, content: bytes) -> None:
        """Write a part, and its digest soon after.

        Raises:
            OSError: If the disk is full or fails.
        """
        name = name_of(number)
        write_bytes(self.folder / name, content)
        self._digests[name] = hashlib.sha256(content).hexdigest()
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.write_digests()

    def write_digests(self) -> None:
        """Write the digests of the parts that are there.

        Raises:
            OSError: If the disk is full or fails.
        """
        content = {
            "format": FORMAT,
            "key": self.key,
            "parts": self.count,
            "sha256": dict(sorted(self._digests.items())),
        }
        write_json(self.folder / MANIFEST, content)
        self._saved = time.monotonic()


@contextmanager
def open_parts(to: Path, key: str, count: int) -> Iterator[Parts]:
    """Open a folder of parts; it has its name only after the block, when it is complete.

    Until then its name ends in ``.unfinished``. The parts there are used again if their digests are
    right.

    Args:
        to: Folder to write.
        key: Digest of all that determines the content of the parts.
        count: Number of parts.

    Raises:
        ConfigError: If an unfinished folder of another key is in the way.
        OSError: If the disk is full or fails.
    """
    folder = to.with_name(to.name + UNFINISHED)
    parts = Parts(folder, key, count)
    remove_leftovers(folder)
    parts.write_digests()
    try:
        yield parts
    finally:
        parts.write_digests()
    move(folder, to)


def name_of(number: int) -> str:
    """Return the name of a part."""
    return f"part-{number:05}.parquet"


def check_parts(folder: Path, files: Sequence[Path]) -> None:
    """Check Parquet files against the manifest in their folder, if it has one.

    Args:
        folder: Folder of the files.
        files: Its Parquet files.

    Raises:
        TeacherError: If a part is missing or damaged.
    """
    manifest = _read_manifest(folder)
    if manifest is None:
        return
    digests = _digests_of(manifest)
    if len(digests) != manifest.get("parts"):
        raise TeacherError(
            f"{folder} is unfinished: {len(digests)} of {manifest.get('parts')} parts are there. "
            "Run the same 'limbeck answers' again to finish it."
        )
    names = {file.name for file in files}
    missing = sorted(set(digests) - names)
    if missing:
        raise TeacherError(f"{folder}: {missing[0]} is missing. Write the answers again.")
    for file in files:
        if file.name in digests and file_digest(file) != digests[file.name]:
            raise TeacherError(f"{file} is damaged: its SHA-256 is not that of {MANIFEST}.")


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a folder; None if it has none that limbeck has written.

    Raises:
        TeacherError: If it is damaged, or of a newer version.
    """
    try:
        manifest = read_json(folder / MANIFEST)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise TeacherError(f"{folder / MANIFEST} cannot be read ({error}).") from None
    if not isinstance(manifest, dict) or "sha256" not in manifest:
        return None  # a file of somebody else
    if manifest.get("format") != FORMAT:
        raise TeacherError(
            f"{folder / MANIFEST} has format {manifest.get('format')!r}, and this version reads "
            f"{FORMAT}. Update limbeck, or write the answers again."
        )
    return manifest


def _digests_of(manifest: dict[str, Any]) -> dict[str, str]:
    digests = manifest.get("sha256")
    return digests if isinstance(digests, dict) else {}


def _is_sound(file: Path, digest: str) -> bool:
    with suppress(OSError):
        return file_digest(file) == digest
    return False
