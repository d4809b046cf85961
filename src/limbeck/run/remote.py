"""Runs at an address, such as ``s3://bucket/run``.

A process works in a copy on its own machine, see :mod:`limbeck._base.mirror`, whose files go to the
address as they are completed: the manifest last, so that whoever reads there finds a whole state of
the run. If the address cannot be reached, the copy has what is missing there.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from limbeck._base.addresses import path_of
from limbeck._base.copies import local_copy
from limbeck._base.errors import (
    ConfigError,
    LimbeckError,
    ResourceError,
    TeacherError,
)
from limbeck._base.mirror import Mirror
from limbeck._base.storage import RemoteFile, Storage, protocol_of
from limbeck.run.lease import LEASE, Lease
from limbeck.run.lock import is_at_work
from limbeck.run.uploader import Uploader

MANIFEST = "manifest.json"
LOG_SECONDS = 60.0
"""Number of seconds between two uploads of logs, which grow at every step."""
ATTEMPTS = 3
"""Number of times that a run is read if it changes meanwhile."""
READ_ONLY = ("hf", "http", "https", "data", "zip", "tar", "github")
"""Protocols of storage in which a run cannot be written file by file."""
CHECKPOINTS, LOGS = "checkpoints/", "logs/"

Selection = Callable[[str], bool]
"""Function that says by its name whether a file is needed."""

_runs: dict[Path, "RemoteRun"] = {}
"""Runs at addresses by the folder of their copy."""


def results(name: str) -> bool:
    """Whether a file is one of the results, which lie in the run folder itself."""
    return "/" not in name


def results_and_models(name: str) -> bool:
    """Whether a file is not only needed to resume the run."""
    return not name.startswith((CHECKPOINTS, LOGS))


def everything(name: str) -> bool:
    """Select all files."""
    return True


def new_run_folder(out: str | Path, *, resume: bool = False, is_first: bool = True) -> Path:
    """Return the folder to run a study in: the path itself, or the copy of an address.

    Args:
        out: Path, or address of a run that may exist.
        resume: Whether the run is to be continued, so that all its files are needed.
        is_first: Whether this process is the first of those that train together, which writes.

    Raises:
        ConfigError: If files other than those of a run are at the address.
        ResourceError: If it cannot be reached.
    """
    path = path_of(out)
    if path is not None:
        return path
    run = RemoteRun.at(str(out))
    if resume:
        run.fetch(everything)
    elif is_first:
        run.fetch(results)
        run.check_no_other_files()
    return run.folder


def fetch_run(address: str | Path, select: Selection = results_and_models) -> Path:
    """Return the folder of a run to read: the path itself, or an up-to-date copy of an address.

    Args:
        address: Path or address of a run.
        select: Function that says by its name whether a file is needed.

    Raises:
        ResourceError: If the address cannot be reached.
    """
    path = path_of(address)
    if path is not None:
        return path
    run = RemoteRun.at(str(address))
    run.fetch(select)
    return run.folder


def local_model(source: str | Path) -> Path:
    """Return the path of a model: a run, or a file or folder; those at an address are copied first.

    Args:
        source: Path or address.

    Raises:
        TeacherError: If there is nothing at the address.
        ResourceError: If it cannot be read.
    """
    path = path_of(source)
    if path is not None:
        return path
    storage = Storage(str(source))
    if storage.protocol not in READ_ONLY and storage.read(MANIFEST) is not None:
        return fetch_run(source)
    return local_copy(source, missing=TeacherError)


def remote_run(folder: Path) -> "RemoteRun | None":
    """Return the run whose copy is in a folder; None for a folder that is no copy."""
    return _runs.get(folder.absolute())


@contextmanager
def hold_address(folder: Path, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Hold the lease of a run at an address, and upload its files; does nothing for other runs.

    Args:
        folder: Run folder, which may be the copy of an address.
        resume: Whether the run is continued.
        overwrite: Whether the run at the address is deleted.

    Raises:
        ConfigError: If another process works there.
        ResourceError: If files could not be uploaded.
    """
    run = remote_run(folder)
    with nullcontext() if run is None else run.hold(resume=resume, overwrite=overwrite):
        yield


class RemoteRun:
    """A run at an address, and its copy on this machine. Use :meth:`at` to get one.

    Args:
        address: Address of the run, which need not exist.

    Attributes:
        folder: Folder of the copy.

    Raises:
        ConfigError: If a run cannot be written there.
        ResourceError: If a package is missing.
    """

    def __init__(self, address: str):
        protocol = protocol_of(address)
        if protocol in READ_ONLY:
            raise ConfigError(
                f"{address}: a run cannot be at an address of {protocol}://. Use an object "
                "storage, such as s3:// or gs://, or copy the run to this machine."
            )
        self.mirror = Mirror(address)
        self.address, self.folder = self.mirror.address, self.mirror.folder
        self._last_logs = 0.0

    @classmethod
    def at(cls, address: str) -> "RemoteRun":
        """Return the run at an address, the same one for each call."""
        run = cls(address)
        return _runs.setdefault(run.folder, run)

    # Reading --------------------------------------------------------------------------------------

    def fetch(self, select: Selection) -> None:
        """Bring the copy up to date, unless a process of this machine works in it.

        What this machine has not uploaded yet stays, if nobody else has continued the run since.

        Args:
            select: Function that says by its name whether a file is needed.

        Raises:
            ResourceError: If the address cannot be reached, or the run changes all the time.
        """
        if not is_at_work(self.folder):
            self._fetch(select)

    def _fetch(self, select: Selection) -> None:
        for _ in range(ATTEMPTS):
            with self.mirror.hold():
                files = self._files()
                manifest = files.get(MANIFEST)
                if manifest is None:
                    if MANIFEST in self.mirror.transfers:  # somebody has deleted the run
                        self.mirror.clear()
                    return
                with suppress(FileNotFoundError):  # removed since it was listed
                    self._match(files, select)
                    if self._files().get(MANIFEST) == manifest:
                        return
        raise ResourceError(
            f"{self.address} changes while it is read, because a process works there. Try again "
            "when it has finished."
        )

    def check_no_other_files(self) -> None:
        """Check that there are no files at the address, unless there is a run.

        Raises:
            ConfigError: If there are.
        """
        files = self._files()
        if files and MANIFEST not in files:
            names = ", ".join(sorted(files)[:4])
            raise ConfigError(
                f"out={self.address} is not empty (it contains {names}). Choose another address."
            )

    def has_unsent_files(self) -> bool:
        """Whether this machine has results of the run that are not at the address."""
        return any(map(self._is_unsent, self.mirror.local_files()))

    def _files(self) -> dict[str, RemoteFile]:
        files = self.mirror.storage.files()
        files.pop(LEASE, None)
        return files

    def _match(self, files: dict[str, RemoteFile], select: Selection) -> None:
        """Download what is newer at the address, and remove what is no longer there."""
        mirror = self.mirror
        last = mirror.transfers.get(MANIFEST)
        is_current = last is not None and last.version == files[MANIFEST].version
        outdated = [name for name in mirror.transfers if name not in files]
        if not is_current:
            names = mirror.local_files()
            outdated += [name for name in names if name not in files or not mirror.has(files[name])]
            mirror.remove(outdated)
        mirror.forget(outdated)
        downloads = [
            file
            for name, file in sorted(files.items())
            if select(name) and not (self._is_ours(file) if is_current else mirror.has(file))
        ]
        mirror.download(downloads)

    def _is_ours(self, file: RemoteFile) -> bool:
        """Whether the copy is newer than a file that this machine was the last to upload."""
        exists = self.mirror.path(file.name).is_file()
        if not exists:  # an old checkpoint that this machine has removed
            return file.name.startswith(CHECKPOINTS) and file.name in self.mirror.transfers
        return self.mirror.has(file) or self._is_unsent(file.name)

    def _is_unsent(self, name: str) -> bool:
        transfer = self.mirror.transfers.get(name)
        return transfer is None or not transfer.is_unchanged(self.mirror.path(name))

    # Writing --------------------------------------------------------------------------------------

    @contextmanager
    def hold(self, *, resume: bool, overwrite: bool) -> Iterator[None]:
        """Hold the lease, and upload files as they are completed.

        Args:
            resume: Whether the run is continued.
            overwrite: Whether the run at the address is deleted.

        Raises:
            ConfigError: If another process works there.
            ResourceError: If files could not be uploaded.
        """
        lease = Lease(self.mirror.storage)
        lease.acquire()
        try:
            if resume:
                self._fetch(everything)
            elif overwrite:
                self._delete()
            with Uploader(self.address, lease, self.upload):
                yield
        finally:
            with suppress(LimbeckError):
                lease.release()

    def upload(self, *, with_logs: bool = True) -> None:
        """Upload all completed files, the manifest last, and remove what the run has removed.

        Args:
            with_logs: Whether to upload logs in any case, or only from time to time.

        Raises:
            ResourceError: If the storage cannot be written to.
        """
        mirror = self.mirror
        manifest = mirror.path(MANIFEST)
        status = content = None
        with suppress(FileNotFoundError):  # of this moment: it names no file that comes later
            status, content = manifest.lstat(), manifest.read_bytes()
        files = mirror.local_files()
        now = time.monotonic()
        with_logs = with_logs or now - self._last_logs > LOG_SECONDS
        for name in files:
            is_due = name != MANIFEST and (with_logs or not name.startswith(LOGS))
            if is_due and self._is_unsent(name):
                mirror.upload(name)
        if with_logs:
            self._last_logs = now
        if status is not None and content is not None and self._is_unsent(MANIFEST):
            mirror.upload_content(MANIFEST, content, status)
        self._remove([name for name in mirror.transfers if name not in files])
        mirror.save()

    def upload_outputs(self) -> None:
        """Upload what a command has written that only reads the run, such as the report.

        Raises:
            ResourceError: If the storage cannot be written to.
        """
        with self.mirror.hold():
            if MANIFEST not in self.mirror.transfers or is_at_work(self.folder):
                return
            for name in self.mirror.local_files():
                if name != MANIFEST and self._is_unsent(name):
                    self.mirror.upload(name)
            self.mirror.save()

    def _delete(self) -> None:
        """Delete the run at the address, the manifest last, and its copy."""
        self._remove(sorted(self._files(), key=lambda name: name == MANIFEST))
        self.mirror.remove(self.mirror.local_files())

    def _remove(self, names: Iterable[str]) -> None:
        names = list(names)
        self.mirror.storage.remove(names)
        self.mirror.forget(names)
