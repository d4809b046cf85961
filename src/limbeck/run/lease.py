"""The lease of a run at an address: one process at a time writes there.

A storage such as S3 has no locks. The lease is a file that names its owner, who writes it again
every few seconds. Only its creation is decided by the storage, where it can. A lease that no longer
changes has expired, and another process may replace it; an owner that was merely cut off notices
this before it writes again. No clocks are compared.
"""

import json
import os
import secrets
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from limbeck._base.errors import ConfigError, LimbeckError, LimbeckWarning
from limbeck._base.reading import parse_json
from limbeck._base.signals import check_interrupt, set_failure
from limbeck._base.storage import Storage
from limbeck.run.lock import Holder

LEASE = ".lease.json"
"""Name of the file below the address."""
RENEW_SECONDS = 5.0
"""Number of seconds between two writes of a lease."""
EXPIRY_SECONDS = 30.0
"""Number of seconds without a change after which a lease of another machine has expired."""


class LeaseLostError(ConfigError):
    """Another process has taken over the run."""


class Lease:
    """The right of this process to write at an address.

    Args:
        storage: Storage at the address.
    """

    def __init__(self, storage: Storage):
        self.storage = storage
        self._owner = secrets.token_hex(8)
        self._renewals = 0

    def acquire(self) -> None:
        """Create the lease, after waiting to see whether an earlier one is still renewed.

        Raises:
            ConfigError: If another process holds it.
            ResourceError: If the storage cannot be written to.
        """
        while True:
            check_interrupt()
            content = self.storage.read(LEASE)
            if content is not None:
                self._wait_for_expiry(content)
                if self.storage.read(LEASE) == content:
                    self.storage.remove([LEASE])
            if self.storage.create(LEASE, self._content()) and self._is_ours():
                return

    def renew(self) -> None:
        """Write the lease again.

        Raises:
            LeaseLostError: If another process has replaced it.
            ResourceError: If the storage cannot be reached.
        """
        self.check()
        self._renewals += 1
        self.storage.write(LEASE, self._content())

    def check(self) -> None:
        """Check that this process still holds the lease.

        Raises:
            LeaseLostError: If another process has replaced it.
            ResourceError: If the storage cannot be reached.
        """
        if not self._is_ours():
            holder = _holder(self.storage.read(LEASE))
            raise LeaseLostError(
                f"{self.storage.address} was taken over by {_name(holder)} while this process "
                "could not reach it. This process writes nothing more there."
            )

    def release(self) -> None:
        """Remove the lease, if this process holds it."""
        if self._is_ours():
            self.storage.remove([LEASE])

    def _content(self) -> bytes:
        facts = {
            "owner": self._owner,
            "renewals": self._renewals,
            "holder": vars(Holder.current()),
        }
        return json.dumps(facts).encode()

    def _is_ours(self) -> bool:
        content = self.storage.read(LEASE)
        return content is not None and self._owner.encode() in content

    def _wait_for_expiry(self, content: bytes) -> None:
        """Wait until a lease has not been renewed for some time.

        One of this process is left from an earlier run: its folder has a lock, too.

        Raises:
            ConfigError: If it is renewed meanwhile, or its process runs on this machine.
        """
        holder = _holder(content)
        if holder is not None and not holder.is_elsewhere:
            if holder.is_alive and holder.pid != os.getpid():
                raise self._in_use(holder)
            return
        warnings.warn(
            f"{self.storage.address} was last in use by {_name(holder)}. Waiting "
            f"{EXPIRY_SECONDS:.0f} s to see whether it still runs.",
            LimbeckWarning,
            stacklevel=2,
        )
        end = time.monotonic() + EXPIRY_SECONDS
        while time.monotonic() < end:
            time.sleep(min(1.0, EXPIRY_SECONDS / 10))
            check_interrupt()
            current = self.storage.read(LEASE)
            if current is None:
                return
            if current != content:
                raise self._in_use(_holder(current))

    def _in_use(self, holder: Holder | None) -> ConfigError:
        return ConfigError(
            f"{self.storage.address} is in use by {_name(holder)}. Wait until it has finished, or "
            "stop it."
        )


@contextmanager
def hold_lease(storage: Storage) -> Iterator[Lease]:
    """Hold a lease during a block, and renew it in the background.

    If another process takes it over, the next check for an interrupt ends the block.

    Args:
        storage: Storage at the address.

    Raises:
        ConfigError: If another process holds it.
        ResourceError: If the storage cannot be written to.
    """
    lease = Lease(storage)
    lease.acquire()
    stop = Event()

    def renew() -> None:
        while not stop.wait(RENEW_SECONDS):
            try:
                lease.renew()
            except LeaseLostError as error:
                set_failure(error)
                return
            except (LimbeckError, OSError):
                continue  # the storage may be reached again before the lease expires

    thread = Thread(target=renew, name="limbeck-lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        stop.set()
        thread.join()
        set_failure(None)
        with suppress(LimbeckError):
            lease.release()


def _holder(content: bytes | None) -> Holder | None:
    """Process that a lease names; None if it names none."""
    try:
        return Holder.parse(json.dumps(parse_json(content or b"{}")["holder"]).encode())
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def _name(holder: Holder | None) -> str:
    return "another process" if holder is None else f"another process ({holder})"
