"""Uploading in the background: what a run has completed goes to its address while it goes on."""

import warnings
from collections.abc import Callable
from threading import Event, Thread

from limbeck._base.errors import LimbeckError, LimbeckWarning, ResourceError
from limbeck._base.signals import set_failure
from limbeck.run.lease import RENEW_SECONDS, Lease, LeaseLostError

UPLOAD_SECONDS = 3.0
"""Number of seconds between two looks for completed files."""


class Uploader:
    """Threads that renew the lease and upload files during a block.

    Args:
        address: Address of the run.
        lease: Lease that this process holds.
        upload: Function that uploads all completed files; ``with_logs`` says whether also logs.
    """

    def __init__(self, address: str, lease: Lease, upload: Callable[..., None]):
        self.address, self.lease, self.upload = address, lease, upload
        self._stop = Event()
        self._error: LeaseLostError | None = None
        self._is_cut_off = False
        tasks = {RENEW_SECONDS: lease.renew, UPLOAD_SECONDS: self._upload}
        self._threads = [
            Thread(target=self._repeat, args=task, name="limbeck-storage", daemon=True)
            for task in tasks.items()
        ]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        set_failure(None)
        if self._error is not None:
            if kind is None:
                raise self._error
            return
        try:
            self.lease.check()
            self.upload(with_logs=True)
        except LeaseLostError:
            if kind is None:
                raise
        except LimbeckError as error:
            message = (
                f"{error} What is missing there is kept on this machine; 'limbeck resume "
                f"{self.address}' uploads it."
            )
            if kind is None:
                raise ResourceError(message) from None
            warnings.warn(message, LimbeckWarning, stacklevel=2)

    def _upload(self) -> None:
        self.lease.check()  # an owner that was cut off must not write over the next one's files
        self.upload(with_logs=False)
        self._is_cut_off = False

    def _repeat(self, seconds: float, task: Callable[[], None]) -> None:
        """Call a function again and again. Faults of the storage are left to the next call."""
        while not self._stop.is_set():
            try:
                task()
            except LeaseLostError as error:
                self._error = error
                set_failure(error)
                self._stop.set()
            except (LimbeckError, OSError) as error:
                self._warn(error)
            self._stop.wait(seconds)

    def _warn(self, error: Exception) -> None:
        """Warn once that files wait to be uploaded."""
        if not self._is_cut_off:
            self._is_cut_off = True
            warnings.warn(
                f"{error} The run goes on; its files are uploaded as soon as that is possible.",
                LimbeckWarning,
                stacklevel=2,
            )
