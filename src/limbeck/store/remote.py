"""Stores at an address: finished shards go there, and are read from there by other machines.

At an address, a store is a folder named by its key:

``shard-<N>.bin``
    the answers of a shard
``shards.json``
    the SHA-256 of each shard that is there
``store.json``
    the header, written last: with it, the store is complete

Files go up in this order. A shard that does not match its checksum is computed again, so nothing is
lost if two machines write the same store.
"""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck._base.addresses import path_of
from limbeck._base.errors import LimbeckWarning, ResourceError
from limbeck._base.mirror import Mirror
from limbeck._base.reading import parse_json
from limbeck.store.files import CHECKSUMS, StoreFolder, parse_checksums
from limbeck.store.key import FORMAT, HEADER, Header

if TYPE_CHECKING:
    from limbeck._base.progress import StageProgress

_folders: dict[Path, "RemoteStores"] = {}
"""Folders of stores at addresses by the folder of their copy."""


def store_folder(folder: str | Path) -> Path:
    """Return the folder of all stores: a path itself, or the copy of an address.

    Args:
        folder: Path, or address such as ``s3://bucket/answers``.

    Raises:
        ConfigError: If the address holds a secret, or its protocol is unknown.
        ResourceError: If the package for the protocol is missing.
    """
    path = path_of(folder)
    if path is not None:
        return path.expanduser()
    mirror = Mirror(str(folder))
    if mirror.folder not in _folders:
        _folders[mirror.folder] = RemoteStores(mirror)
    return mirror.folder


def remote_stores(root: Path) -> "RemoteStores | None":
    """Return the stores whose copies are in a folder; None for a folder that is no copy."""
    return _folders.get(root)


class RemoteStores:
    """Stores at an address.

    Args:
        mirror: Place of their copies.
    """

    def __init__(self, mirror: Mirror):
        self.address = mirror.address
        self._storage = mirror.storage
        self._damaged: set[tuple[str, int]] = set()
        self._is_cut_off = False

    def check(self) -> None:
        """Check that the address can be read.

        Raises:
            ResourceError: If not.
        """
        self._storage.read(HEADER)

    def is_complete(self, header: Header) -> bool:
        """Whether a store is there with all its shards."""
        return self._storage.read(f"{header.key}/{HEADER}") is not None

    def download(self, store: StoreFolder, progress: "StageProgress") -> None:
        """Copy the shards that are there and not here yet; those that are damaged stay missing.

        Args:
            store: Copy of the store, prepared for writing.
            progress: Progress display.

        Raises:
            ResourceError: If the address cannot be read, or the disk is full.
        """
        header = store.header
        checksums = self._checksums(header)
        missing = sorted(checksums.keys() - store.checksums().keys())
        if not missing:
            return
        with progress.stage(f"downloading answers of {self.address}", len(missing)) as advance:
            for done, shard in enumerate(missing, start=1):
                content = self._storage.read(_shard(header, shard))
                if content is not None and store.checksum(shard, content) == checksums[shard]:
                    store.write(shard, content)
                else:
                    self._damaged.add((header.key, shard))
                advance(done)

    def upload(self, store: StoreFolder) -> None:
        """Copy the finished shards that are not there yet, then their checksums and the header.

        A warning says that the answers stay on this machine if the address cannot be written to.

        Args:
            store: Copy of the store.
        """
        header, checksums = store.header, store.checksums()
        try:
            present = self._checksums(header)
            new = {
                shard: digest
                for shard, digest in checksums.items()
                if present.get(shard) != digest or (header.key, shard) in self._damaged
            }
            for shard in new:
                self._storage.write(_shard(header, shard), store.read(shard))
                self._damaged.discard((header.key, shard))
            if new:
                self._write(header, CHECKSUMS, {"format": FORMAT, "shards": {**present, **new}})
            if len(checksums) == header.shards and (new or not self.is_complete(header)):
                self._write(header, HEADER, header.to_json())
        except ResourceError as error:
            if not self._is_cut_off:
                self._is_cut_off = True
                warnings.warn(
                    f"{error} The teacher's answers are kept on this machine; the next study that "
                    "uses them here uploads them.",
                    LimbeckWarning,
                    stacklevel=2,
                )

    def _checksums(self, header: Header) -> dict[int, str]:
        """Checksums of the shards that are there; none if their file is damaged."""
        content = self._storage.read(f"{header.key}/{CHECKSUMS}")
        if content is None:
            return {}
        try:
            return parse_checksums(parse_json(content), header)
        except (ValueError, RecursionError):
            return {}

    def _write(self, header: Header, name: str, content: dict[str, object]) -> None:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        self._storage.write(f"{header.key}/{name}", text.encode())


def _shard(header: Header, shard: int) -> str:
    return f"{header.key}/shard-{shard:06d}.bin"
