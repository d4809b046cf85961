"""A folder of Parquet files that is written part by part, and continued after an interrupt."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from limbeck._base.addresses import path_of
from limbeck._base.errors import ConfigError, TeacherError
from limbeck._base.files import move, remove_leftovers, remove_new_folder_on_failure
from limbeck._base.storage import Storage
from limbeck.run.lease import hold_lease
from limbeck.run.lock import hold_lock, is_at_work
from limbeck.teacher.answer_files.part_folders import (
    FORMAT,
    MANIFEST,
    Folder,
    PartFolder,
    RemoteFolder,
    digests_of,
    read_manifest,
)

UNFINISHED = ".unfinished"
"""Suffix of a folder that is not complete."""


class Parts:
    """The parts in a folder that is being written.

    Args:
        place: Folder of the parts.
        key: Digest of all that determines their content.
        count: Number of parts of the complete folder.

    Raises:
        ConfigError: If the folder holds parts of another key.
    """

    def __init__(self, place: PartFolder, key: str, count: int):
        self.place, self.key, self.count = place, key, count
        self._digests: dict[str, str] = {}
        self._saved = 0.0
        manifest = place.read_manifest()
        if manifest is not None:
            if manifest.get("key") != key:
                raise ConfigError(
                    f"{place.name} holds the unfinished answers of another teacher, to other data "
                    "or with another top=. Remove it, or choose another name for to=."
                )
            self._digests = {
                name: digest
                for name, digest in digests_of(manifest).items()
                if place.is_sound(name, digest)
            }
        elif place.has_others():
            raise ConfigError(
                f"{place.name} holds something else. Remove it, or choose another to=."
            )

    @property
    def missing(self) -> list[int]:
        """Numbers of the parts that are not there yet."""
        return [number for number in range(self.count) if name_of(number) not in self._digests]

    def write(self, number: int, content: bytes) -> None:
        """Write a part, and its digest soon after.

        Raises:
            OSError: If the disk is full or fails.
            ResourceError: If the storage cannot be written to.
        """
        name = name_of(number)
        self.place.write(name, content)
        self._digests[name] = hashlib.sha256(content).hexdigest()
        if time.monotonic() - self._saved > self.place.save_seconds:
            self.write_digests()

    def write_digests(self) -> None:
        """Write the digests of the parts that are there.

        Raises:
            OSError: If the disk is full or fails.
            ResourceError: If the storage cannot be written to.
        """
        content = {
            "format": FORMAT,
            "key": self.key,
            "parts": self.count,
            "sha256": dict(sorted(self._digests.items())),
        }
        self.place.write_manifest(content)
        self._saved = time.monotonic()


@contextmanager
def open_parts(to: Path | str, key: Callable[[], str], count: int) -> Iterator[Parts]:
    """Open a folder of parts; it can be used only after the block, when it is complete.

    On this machine its name ends in ``.unfinished`` until then; at an address its manifest lists
    the parts that are there, of all. These are used again. One process at a time writes there.

    Args:
        to: Path or address of the folder to write.
        key: Function that returns the digest of all that determines the content of the parts.
        count: Number of parts.

    Raises:
        ConfigError: If another process writes there, or an unfinished folder of another key is in
            the way.
        OSError: If the disk is full or fails.
        ResourceError: If the storage cannot be reached.
    """
    path = path_of(to)
    if path is None:
        with hold_lease(Storage(str(to))) as lease:
            parts = Parts(RemoteFolder(str(to), lease), key(), count)
            with _writing(parts):
                yield parts
        return
    folder = unfinished(path)
    with remove_new_folder_on_failure(path.absolute().parent):
        folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(folder):
            if path.exists():  # another process was faster
                raise ConfigError(f"{path} already exists. Choose another to=, or remove it.")
            parts = Parts(Folder(folder), key(), count)
            remove_leftovers(folder)
            with _writing(parts):
                yield parts
        move(folder, path)


@contextmanager
def _writing(parts: Parts) -> Iterator[Parts]:
    """Write the digests at the start and at the end of a block, also of one that fails."""
    parts.write_digests()
    try:
        yield parts
    finally:
        parts.write_digests()


def unfinished(to: Path) -> Path:
    """Return the path of a folder that is not complete."""
    return to.with_name(to.name + UNFINISHED)


def check_idle(to: Path) -> None:
    """Check that no other process writes a folder of parts.

    Raises:
        ConfigError: If one does.
    """
    if is_at_work(unfinished(to)):
        with hold_lock(unfinished(to)):
            pass


def is_complete(address: str) -> bool:
    """Whether an address holds all parts of a folder."""
    manifest = RemoteFolder(address).read_manifest()
    return manifest is not None and len(digests_of(manifest)) == manifest.get("parts")


def name_of(number: int) -> str:
    """Return the name of a part."""
    return f"part-{number:05}.parquet"


def check_parts(folder: Path, digests: Mapping[str, str], where: str) -> None:
    """Check Parquet files against the manifest in their folder, if it has one.

    Args:
        folder: Folder of the files.
        digests: SHA-256 of each Parquet file by its name.
        where: Path or address of the folder for messages.

    Raises:
        TeacherError: If a part is missing or damaged.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return
    expected = digests_of(manifest)
    if len(expected) != manifest.get("parts"):
        raise TeacherError(
            f"{where} is unfinished: {len(expected)} of {manifest.get('parts')} parts are there. "
            "Run the same 'limbeck answers' again to finish it."
        )
    missing = sorted(expected.keys() - digests.keys())
    if missing:
        raise TeacherError(f"{where}: {missing[0]} is missing. Write the answers again.")
    for name, digest in digests.items():
        if name not in expected:
            raise TeacherError(f"{where}/{name} is not listed in {MANIFEST}. Move it elsewhere.")
        if digest != expected[name]:
            raise TeacherError(f"{where}/{name} is damaged: its SHA-256 is not that of {MANIFEST}.")
