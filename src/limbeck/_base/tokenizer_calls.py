"""Calls of the package ``tokenizers``, which works in Rust: in limited time, with one message.

The file of a tokenizer may hold regular expressions that backtrack, and Python cannot stop Rust.
So the library works in a thread, which is left after some time.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread
from typing import TypeVar

from limbeck._base.errors import DataError, UntrustedFileError

MIN_SECONDS, BYTES_PER_SECOND = 10.0, 10_000
"""Time that any text may take, and rate for longer texts: a hundredth of a slow tokenizer's."""
_PANIC = b"panicked at"
_redirection = Lock()
Result = TypeVar("Result")


def call_tokenizer(function: Callable[[], Result], size: int, where: str) -> Result:
    """Call a function of the library in a thread, which is left if it takes too long.

    Args:
        function: Function of the library.
        size: Size of its text in bytes.
        where: Path of the tokenizer, for messages.

    Raises:
        UntrustedFileError: If it takes too long, or if the library fails with a panic of Rust.
        DataError: If the library fails in another way.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # a panic of Rust is not an Exception in Python
            errors.append(error)

    thread = Thread(target=run, name="limbeck-tokenizer", daemon=True)
    with _quiet_panics():
        thread.start()
        thread.join(max(MIN_SECONDS, size / BYTES_PER_SECOND))
    if thread.is_alive():
        raise UntrustedFileError(
            f"{where} takes more than {MIN_SECONDS:.0f} s for a text of {size:,} bytes: probably "
            "one of its regular expressions. Use the tokenizer of a model that you trust."
        )
    if errors:
        _raise(errors[0], where)
    return results[0]


def _raise(error: BaseException, where: str) -> None:
    """Raise a message of one line for a failure of the library."""
    if isinstance(error, MemoryError):
        raise error
    is_panic = not isinstance(error, Exception)
    reason = " ".join(str(error).split())[:200]
    raise (UntrustedFileError if is_panic else DataError)(
        f"{where} cannot be used by the package tokenizers: {reason}. Download or create it again."
    ) from None


@contextmanager
def _quiet_panics() -> Iterator[None]:
    """Keep panics of Rust, which are written to standard error, off the terminal.

    Whatever else is written there during the block is written after it.
    """
    if not _redirection.acquire(blocking=False):  # another thread does it
        yield
        return
    try:
        terminal = _copy_of_stderr()
        if terminal is None:
            yield
        else:
            with _redirect(terminal):
                yield
    finally:
        _redirection.release()


def _copy_of_stderr() -> int | None:
    try:
        sys.stderr.flush()
        return os.dup(2)
    except (OSError, ValueError, AttributeError):  # there is no standard error
        return None


@contextmanager
def _redirect(terminal: int) -> Iterator[None]:
    """Redirect standard error to a file, of which ``terminal`` gets all but panics at the end."""
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            file.seek(0)
            _write_all(_without_panics(file.read()))


def _without_panics(output: bytes) -> bytes:
    """Return output up to the line in which a panic begins."""
    before, panic, _ = output.partition(_PANIC)
    if not panic:
        return output
    lines = before[: before.rfind(b"\n") + 1]
    return lines if lines.strip() else b""  # a panic begins with an empty line


def _write_all(output: bytes) -> None:
    while output:
        output = output[os.write(2, output) :]
