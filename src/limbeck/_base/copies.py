"""Inputs at an address, such as a dataset: they are copied to the cache of this machine once."""

from pathlib import Path

from limbeck._base.addresses import add_copy, path_of
from limbeck._base.errors import DataError, LimbeckError, ResourceError
from limbeck._base.mirror import Mirror

ATTEMPTS = 3
"""Number of times that files are listed and copied if some are gone meanwhile."""


def local_copy(source: str | Path, missing: type[LimbeckError] = DataError) -> Path:
    """Return the path of a file or folder; what is at an address is copied to the cache first.

    Only files that are new or have changed at the address are copied.

    Args:
        source: Path, or address of a file or folder.
        missing: Class of the error if there is nothing at the address.

    Raises:
        LimbeckError: If there is nothing at the address, in the class ``missing``.
        ResourceError: If it cannot be read.
    """
    path = path_of(source)
    return _copy(Mirror(str(source)), missing) if path is None else path


def _copy(mirror: Mirror, missing: type[LimbeckError]) -> Path:
    for _ in range(ATTEMPTS):
        with mirror.hold():
            files = mirror.storage.files()
            if not files:
                raise missing(f"{mirror.address} is missing or empty. Check the address.")
            names = [name for name in mirror.local_files() if name not in files]
            mirror.remove(names)
            mirror.forget(names)
            try:
                mirror.download([file for file in files.values() if not mirror.has(file)])
            except FileNotFoundError:
                continue
        first = next(iter(files.values()))
        if not mirror.storage.is_root(first):
            return mirror.folder
        path = mirror.path(first.name)
        add_copy(path, mirror.address)
        return path
    raise ResourceError(f"{mirror.address} changes while it is read. Try again later.")
