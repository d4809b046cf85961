"""Folders of the parts of a teacher's answers, on this machine or at an address."""

from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from limbeck._base.digests import file_digest
from limbeck._base.errors import TeacherError
from limbeck._base.files import is_temporary, to_json, write_bytes, write_json
from limbeck._base.reading import parse_json, read_json
from limbeck._base.storage import Storage
from limbeck.run.lease import LEASE, Lease
from limbeck.run.lock import LOCK

MANIFEST = "answers.json"
FORMAT = 1
SAVE_SECONDS = 1.0
"""Minimum number of seconds between two writes of the digests."""
REMOTE_SAVE_SECONDS = 5.0
"""The same at an address."""


class PartFolder(Protocol):
    """Folder of parts on this machine or elsewhere.

    Attributes:
        name: Path or address for messages.
        save_seconds: Minimum number of seconds between two writes of the digests.
    """

    name: str
    save_seconds: float

    def read_manifest(self) -> dict[str, Any] | None:
        """Return the manifest; None if there is none that limbeck has written."""

    def has_others(self) -> bool:
        """Whether there are files that a writer of parts does not leave."""

    def is_sound(self, name: str, digest: str) -> bool:
        """Whether a part is there as it was written."""

    def write(self, name: str, content: bytes) -> None:
        """Write a part; nobody sees half of it."""

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write the manifest."""


class Folder(PartFolder):
    """A folder on this machine.

    Args:
        path: Path of the folder.
    """

    save_seconds = SAVE_SECONDS

    def __init__(self, path: Path):
        self.path, self.name = path, str(path)

    def read_manifest(self) -> dict[str, Any] | None:
        """Return the manifest; see :class:`PartFolder`."""
        return read_manifest(self.path)

    def has_others(self) -> bool:
        """Whether there are other files; see :class:`PartFolder`."""
        names = [path.name for path in self.path.iterdir()]
        return not all(is_temporary(name) or name.startswith(LOCK) for name in names)

    def is_sound(self, name: str, digest: str) -> bool:
        """Whether a part has its digest."""
        with suppress(OSError):
            return file_digest(self.path / name) == digest
        return False

    def write(self, name: str, content: bytes) -> None:
        """Write a part atomically."""
        write_bytes(self.path / name, content)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write the manifest atomically."""
        write_json(self.path / MANIFEST, manifest)


class RemoteFolder(PartFolder):
    """A folder at an address. Until its manifest lists all parts, it cannot be used.

    Args:
        address: Address of the folder.
        lease: Lease that this process holds; None for a folder that it does not write to.
    """

    save_seconds = REMOTE_SAVE_SECONDS

    def __init__(self, address: str, lease: Lease | None = None):
        self.name, self.lease = address, lease
        self.storage = Storage(address) if lease is None else lease.storage
        self._files: dict[str, Any] | None = None

    def read_manifest(self) -> dict[str, Any] | None:
        """Return the manifest; see :class:`PartFolder`."""
        content = self.storage.read(MANIFEST)
        if content is None:
            return None
        try:
            return _check_manifest(parse_json(content), f"{self.name}/{MANIFEST}")
        except ValueError as error:
            raise TeacherError(f"{self.name}/{MANIFEST} cannot be read ({error}).") from None

    def has_others(self) -> bool:
        """Whether there are other files; see :class:`PartFolder`."""
        return any(name != LEASE for name in self.storage.files())

    def is_sound(self, name: str, digest: str) -> bool:
        """Whether a part is there; its digest is checked when it is used."""
        if self._files is None:
            self._files = dict(self.storage.files())
        return name in self._files

    def write(self, name: str, content: bytes) -> None:
        """Write a part, unless another process has taken over the folder."""
        if self.lease is not None:
            self.lease.check()
        self.storage.write(name, content)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, unless another process has taken over the folder."""
        self.write(MANIFEST, to_json(manifest).encode())


def read_manifest(folder: Path) -> dict[str, Any] | None:
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
    return _check_manifest(manifest, str(folder / MANIFEST))


def _check_manifest(manifest: Any, where: str) -> dict[str, Any] | None:
    """Return a manifest if limbeck has written it.

    Raises:
        TeacherError: If it is of a newer version.
    """
    if not isinstance(manifest, dict) or "sha256" not in manifest:
        return None  # a file of somebody else
    if manifest.get("format") != FORMAT:
        raise TeacherError(
            f"{where} has format {manifest.get('format')!r}, and this version reads {FORMAT}. "
            "Update limbeck, or write the answers again."
        )
    return manifest


def digests_of(manifest: dict[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each part by its name."""
    digests = manifest.get("sha256")
    return digests if isinstance(digests, dict) else {}
