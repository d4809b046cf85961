"""The processes that train together: their start on one machine, and the end of one of them.

The first process starts the others and watches them. When one is lost, the first process says so,
and all end; the others are silent, unless it is the first one that is lost.
"""

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Thread

from limbeck._base.errors import ResourceError
from limbeck._base.printable import printable

PARENT = "LIMBECK_PARENT"
"""Environment variable with the number of the process that has started this one."""
POLL_SECONDS = 0.5
GRACE_SECONDS = 5.0
"""Number of seconds in which a training itself notices that a process is lost."""
REPORT_SECONDS = 10.0
"""Number of seconds after which another process than the first reports an error, which the first
may have had as well.
"""
END_SECONDS = 60.0
"""Maximum number of seconds that the other processes take to end after the first one."""


class LostProcessError(ResourceError):
    """A process of the training has ended, without which the others cannot go on."""


class _State:
    """What this process knows about the others.

    Attributes:
        rank: Rank of this process; None before the processes have met.
        children: Processes that it has started, of ranks 1, 2 and so on.
        is_training: Whether a training runs, which the end of a process ends.
        is_handled: Whether the loss of a process has been noticed, or this process is ending.
    """

    def __init__(self) -> None:
        self.rank: int | None = None
        self.children: list[subprocess.Popen[bytes]] = []
        self.is_training = False
        self.is_handled = Event()


_state = _State()


def is_first() -> bool:
    """Whether this is the first process of a training, or the only one."""
    if _state.rank is not None:
        return _state.rank == 0
    rank = os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0"
    node = "0" if "RANK" in os.environ else os.environ.get("NODE_RANK") or "0"
    return rank == "0" and node == "0"


def reports_loss() -> bool:
    """Whether this process says that another is lost: the first one, or the one after it."""
    is_next = os.environ.get("LOCAL_RANK") == "1" and PARENT in os.environ
    return is_first() or (is_next and not _has_parent())


def set_rank(rank: int) -> None:
    """Set the rank of this process, which not every launcher tells in the environment."""
    _state.rank = rank


@contextmanager
def training() -> Iterator[None]:
    """Mark the time in which this process cannot go on without the others."""
    _state.is_training = True
    try:
        yield
    finally:
        _state.is_training = False


# Start --------------------------------------------------------------------------------------------


def start_children(processes: int, variables: Mapping[str, str]) -> None:
    """Start the other processes of this machine, which run the same command.

    Args:
        processes: Number of processes on this machine, with this one.
        variables: Environment variables of all of them.
    """
    os.environ.update(variables)
    for rank in range(1, processes):
        own = {"LOCAL_RANK": str(rank), PARENT: str(os.getpid())}
        _state.children.append(subprocess.Popen(_command(), env={**os.environ, **own}))
    os.environ["LOCAL_RANK"] = "0"
    if _state.children:
        atexit.register(_finish_children)
        Thread(target=_watch_children, name="limbeck-processes", daemon=True).start()


def _command() -> list[str]:
    """Return the command that has started this process."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = [os.path.abspath(sys.argv[0])] if spec is None else ["-m", spec.name]
    return [sys.executable, *program, *sys.argv[1:]]


def watch_parent() -> None:
    """End this process some seconds after the one that has started it, if one has."""
    if PARENT in os.environ:
        Thread(target=_watch_parent, name="limbeck-parent", daemon=True).start()


# End ----------------------------------------------------------------------------------------------


def lost_process() -> LostProcessError:
    """Return the error that says which process is lost; it waits for its exit code."""
    _state.is_handled.set()
    deadline = time.monotonic() + GRACE_SECONDS
    while _state.children and _first_failure() is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS / 5)
    return LostProcessError(_message())


def end_children() -> None:
    """End the processes that this one has started."""
    _state.is_handled.set()
    for child in _state.children:
        with suppress(OSError):
            child.kill()
        child.wait()
    _state.children.clear()


def _finish_children() -> None:
    """Let the other processes end when this one does; at once if it ends with an error."""
    _state.is_handled.set()
    if getattr(sys, "last_value", None) is None:
        with suppress(subprocess.TimeoutExpired):
            for child in _state.children:
                child.wait(END_SECONDS)
    end_children()


def _watch_children() -> None:
    """End this process if another is lost while it trains and does not notice by itself."""
    while not _state.is_handled.wait(POLL_SECONDS):
        if not _state.is_training or _first_failure() is None:
            continue
        if not _state.is_handled.wait(GRACE_SECONDS):
            _end_without_exception()
        return


def _watch_parent() -> None:
    while _has_parent():
        time.sleep(POLL_SECONDS)
    time.sleep(GRACE_SECONDS)
    _end_without_exception()


def _end_without_exception() -> None:
    """Say what is lost, and end this process, whose main thread may wait forever."""
    if reports_loss():
        with suppress(OSError):
            os.write(2, f"error: {printable(_message())}\n".encode("utf-8", "backslashreplace"))
    end_children()
    os._exit(LostProcessError.exit_code)


def _has_parent() -> bool:
    return str(os.getppid()) == os.environ.get(PARENT)


def _first_failure() -> tuple[int, int] | None:
    """Return rank and exit code of the first of the other processes that has failed."""
    for rank, child in enumerate(_state.children, start=1):
        code = child.poll()
        if code:
            return rank, code
    return None


def _message() -> str:
    failure = _first_failure()
    if failure is None:
        what = "Another process of this training has ended; see its own message"
        if not is_first():
            what = "The first process of this training has ended"
    else:
        rank, code = failure
        what = f"Process {rank} of this training has ended with exit code {code}, see above"
        if code < 0:
            reason = " (memory may have run out)" if code == -signal.SIGKILL else ""
            what = f"Process {rank} of this training was ended by signal {-code}{reason}"
    return (
        f"{what}. The others cannot go on without it. A run goes on from its last checkpoint with "
        "'limbeck resume RUN'."
    )
