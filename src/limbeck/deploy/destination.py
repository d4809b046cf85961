"""Destination of a bundle: checks before the export, and replacement in one step after it."""

import errno
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from limbeck._base import cache, ownership
from limbeck._base.errors import ConfigError
from limbeck._base.files import (
    BACKUP,
    move,
    remove_leftovers,
    restore,
    temporary_folder,
    write_bytes,
)
from limbeck._base.open_folder import OpenFolder
from limbeck._base.runtime.file_names import SUMS
from limbeck.deploy.bundle import files_in, zip_bundle

MARKS = (SUMS, "modules.json")
"""Files by which a bundle, and a folder for sentence-transformers, are recognised."""
C_FILES = {"model.h", "model.c", "test.c", "test", "README.md"}
"""Files of an export to C. A folder with others, such as a user's own sources, is none."""


@dataclass(frozen=True)
class Destination:
    """Folder of a bundle and its zip file.

    Attributes:
        folder: Folder of the bundle.
        archive: Zip file of the bundle, or None.
    """

    folder: Path
    archive: Path | None

    @classmethod
    def of(cls, to: str | Path | None, run: Path, *, zipped: bool) -> "Destination":
        """Return the destination of a user's setting ``to``, without creating anything.

        Args:
            to: Folder of the bundle. None for ``bundle`` in the run folder.
            run: Run folder.
            zipped: Whether to write a zip file next to the folder.

        Raises:
            ConfigError: If ``to`` cannot be a folder, or its place is not writable.
        """
        folder = run / "bundle" if to is None else Path(to).absolute()
        if not folder.name or folder.suffix == ".zip":
            raise ConfigError(
                f"to={folder} should be a folder, e.g. to=digits. The zip file is written next to "
                "it."
            )
        if folder.is_symlink() and not folder.exists():
            raise ConfigError(f"to={folder} is a broken link. Choose another folder.")
        parent = next(path for path in folder.absolute().parents if os.path.lexists(path))
        if not parent.is_dir():
            raise ConfigError(
                f"to={folder} cannot be created: {parent} is not a folder. Choose another folder."
            )
        reason = ownership.reason_not_writable(parent)
        if reason is not None:
            raise ConfigError(
                f"to={folder} cannot be created: {parent} is not writable ({reason}). Choose "
                "another folder with to=."
            )
        return cls(folder, folder.with_name(f"{folder.name}.zip") if zipped else None)

    @classmethod
    def of_format(
        cls, run: Path, to: str | Path | None, name: str, *, overwrite: bool
    ) -> "Destination":
        """Return the destination of an export in another format, after a check that it is free.

        Args:
            run: Run folder.
            to: Folder of the export. None for one with the name of the format in the run folder.
            name: Name of the format.
            overwrite: Whether an earlier export may be replaced.

        Raises:
            ConfigError: If it cannot be written there, or may not replace what is there.
        """
        destination = cls.of(run / name if to is None else to, run, zipped=False)
        destination.recover()
        destination.check_free(overwrite=overwrite)
        return destination

    def recover(self) -> None:
        """Restore what a killed export had moved away, and remove its temporary files.

        Nothing happens while another export to the same destination is at work.
        """
        if not self.folder.parent.is_dir():
            return
        with OpenFolder.open(self.folder.parent) as parent:
            cache.clean_up(parent, self._lock, self._remove_leftovers)

    def _remove_leftovers(self) -> None:
        remove_leftovers(self.folder.parent, self.folder.name)

    @property
    def _lock(self) -> str:
        """Key of the lock that an export holds while it moves files to the destination."""
        return f".{self.folder.name}"

    def check_free(self, *, overwrite: bool) -> None:
        """Check that the destination is free, or may be replaced.

        Args:
            overwrite: Whether an earlier bundle may be replaced.

        Raises:
            ConfigError: If an existing file or folder may not be replaced.
        """
        if self.folder.is_file():
            raise ConfigError(f"to={self.folder} is a file. Choose a folder.")
        for path in filter(None, (self.folder, self.archive)):
            if not path.exists() or _is_empty_folder(path):
                continue
            if not overwrite:
                raise ConfigError(
                    f"to={path} already exists. Choose another folder, or replace it with "
                    "overwrite=true."
                )
            if not _is_bundle(path):
                raise ConfigError(
                    f"to={path} is not a bundle, so overwrite=true does not replace it. Choose "
                    "another folder."
                )

    def publish(self, bundle: Path, *, overwrite: bool) -> None:
        """Move a finished bundle and its zip file to the destination.

        If the move fails, earlier files are restored.

        Args:
            bundle: Folder of the finished bundle.
            overwrite: Whether an earlier bundle may be replaced.

        Raises:
            ConfigError: If another process has written there in the meantime.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            OpenFolder.open(self.folder.parent) as parent,
            cache.hold_lock(parent, self._lock),
            temporary_folder(self.folder) as staging,
        ):
            ownership.warn_if_open(self.folder.parent, parent.folder_status())
            new_folder = staging / self.folder.name
            for file in files_in(bundle):
                write_bytes(new_folder / file.relative_to(bundle), file.read_bytes())
            moves = [(new_folder, self.folder)]
            if self.archive is not None:
                new_archive = staging / self.archive.name
                zip_bundle(new_folder, new_archive)
                moves.append((new_archive, self.archive))
            self.check_free(overwrite=overwrite)
            self._move_all(moves, staging)

    def _move_all(self, moves: list[tuple[Path, Path]], staging: Path) -> None:
        """Move new files to their places, and earlier ones to the staging folder."""
        backups: list[tuple[Path, Path]] = []
        try:
            for new, path in moves:
                if os.path.lexists(path):
                    backup = staging / f"{BACKUP}{path.name}"
                    backups.append((backup, path))
                    os.replace(path, backup)
                move(new, path)
        except BaseException as error:
            for backup, path in backups:
                restore(backup, path)
            if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise ConfigError(
                    f"to={self.folder} already exists: another export finished first."
                ) from None
            raise


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _is_bundle(path: Path) -> bool:
    if path.is_dir():
        names = {entry.name for entry in path.iterdir()}
        is_c_export = "model.h" in names and names <= C_FILES
        return is_c_export or any((path / name).is_file() for name in MARKS)
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(Path(name).name == SUMS for name in archive.namelist())
