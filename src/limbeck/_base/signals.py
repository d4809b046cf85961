"""Signals that end a command: each sets a flag, which every long loop reads.

An exception that a signal handler raises can get lost in the queue of a logger, a callback or a C
extension, or cut a write short. So a study is interrupted only where it calls
:func:`check_interrupt`. A watchdog ends the process if that takes too long, and at the second
signal.
"""

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from types import FrameType

from limbeck._base.peers import is_first
from limbeck._base.printable import printable

GRACE_SECONDS = 3.0
"""Maximum number of seconds between a signal and the end of the process."""
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_SHOW_CURSOR = "\x1b[?25h"


class Interrupted(KeyboardInterrupt):
    """A signal has interrupted the process."""


class _State:
    """What this process knows about signals.

    Attributes:
        first: Number of the first signal; None without a signal.
        is_handled: Whether the handler has run in the main thread.
        defers: Whether a signal only sets the flag.
        failure: Error of another thread that ends the command; None without one.
        advice: Function that returns what to do next, for the message.
        is_reported: Whether the user has been told about the interrupt.
        sockets: Reading and writing end of the watchdog's channel; None without a watchdog.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self.is_handled = False
        self.defers = False
        self.failure: Exception | None = None
        self.advice: Callable[[], str] = str
        self.is_reported = False
        self.sockets: tuple[socket.socket, socket.socket] | None = None


_state = _State()


def received_signal() -> int | None:
    """The first signal that this process has received; None without one."""
    return _state.first


def exit_code() -> int:
    """The exit code of an interrupted process: 128 and the number of the signal."""
    return 128 + (_state.first or signal.SIGINT)


def check_interrupt() -> None:
    """Raise an exception if a signal has been received. Every long loop calls this at each step.

    Raises:
        Interrupted: If a signal has been received.
        Exception: If another thread has failed, see :func:`set_failure`.
    """
    if _state.first is not None:
        raise Interrupted
    if _state.failure is not None:
        raise _state.failure


def set_failure(error: Exception | None) -> None:
    """Let :func:`check_interrupt` raise the error of another thread; None for no error."""
    _state.failure = error


@contextmanager
def defer_interrupts() -> Iterator[None]:
    """Let signals set only the flag during a block, which then calls :func:`check_interrupt`."""
    defers = _state.defers
    _state.defers = True
    try:
        yield
    finally:
        _state.defers = defers


def set_advice(advice: Callable[[], str]) -> None:
    """Set how the message about an interrupt ends, such as with the command that continues.

    Args:
        advice: Function that returns a sentence; called when the message is shown.
    """
    _state.advice = advice


def interrupt_message() -> str:
    """The message about an interrupt; call it when the message is shown."""
    _state.is_reported = True
    return printable(f"interrupted. {_state.advice()}".rstrip())


def install_handlers() -> None:
    """Handle signals in this process from now on. Call it in the main thread.

    Signals that the caller of this process ignores, as ``nohup`` does, stay ignored.
    """
    _state.sockets = reading, writing = socket.socketpair()
    writing.setblocking(False)
    # Python writes to it as soon as a signal arrives, even if a C function keeps the main thread.
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    Thread(target=_watch, args=(reading,), name="limbeck-signals", daemon=True).start()
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _handle)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_reset)


def end_process(code: int) -> int:
    """Return the exit code of a command; from now on, signals raise no exception.

    The interpreter is about to end, where exceptions would be shown with a traceback.
    """
    _state.defers = True
    return code


def _handle(number: int, frame: FrameType | None) -> None:
    """Set the flag, and raise the exception unless it is deferred."""
    if _state.is_handled:
        return  # the watchdog ends the process
    _state.is_handled = True
    _state.first = _state.first or number
    if not _state.defers:
        raise Interrupted


def _watch(channel: socket.socket) -> None:
    """End the process at its second signal, or some seconds after the first one."""
    first = _next_signal(channel)
    _state.first = _state.first or first  # a C function may keep the main thread from its handler
    _next_signal(channel, time.monotonic() + GRACE_SECONDS)
    if not _state.is_reported:
        _write_message()
    os._exit(exit_code())


def _next_signal(channel: socket.socket, deadline: float | None = None) -> int | None:
    """Wait for one of our signals; None if it does not arrive before the deadline."""
    while True:
        seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([channel], [], [], seconds)
        if not ready:
            return None
        number = channel.recv(1)[0]
        if number in SIGNALS and signal.getsignal(number) == _handle:
            return number


def _write_message() -> None:
    """Write the message without Python's streams, whose locks the main thread may hold."""
    if not is_first():
        return  # the first process of a training has had the signal as well
    with suppress(OSError, ValueError):
        descriptor = sys.__stderr__.fileno() if sys.__stderr__ is not None else 2
        cursor = _SHOW_CURSOR if os.isatty(descriptor) else ""
        message = f"{cursor}\nerror: {interrupt_message()}\n"
        os.write(descriptor, message.encode("utf-8", "backslashreplace"))


def _reset() -> None:
    """Restore the usual handlers in a process that this one has forked."""
    if _state.sockets is None:
        return
    _state.sockets = None
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        if signal.getsignal(number) == _handle:
            signal.signal(number, signal.SIG_DFL)
