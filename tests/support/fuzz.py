"""Fuzzing: odd input in a guarded sandbox, and what every outcome has to look like.

Three numbers of examples: ``QUICK`` in every run of the tests, ``LIMBECK_FUZZ_EXAMPLES`` of them
with ``-m slow`` (CI sets a smaller number), shared out among all tests in ``tests/fuzz``.
"""

import contextlib
import faulthandler
import io
import os
import re
import resource
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from limbeck._base.errors import LimbeckError
from limbeck.cli.main import main

QUICK = 100
MANY = int(os.environ.get("LIMBECK_FUZZ_EXAMPLES", "20000"))
SECONDS = 60
"""Deadline of one example."""
GIGABYTES = 4
"""Memory that one example may take."""
EXIT_CODES = {0, 2, 3, 4, 5, 6, 7, 8, 130, 143}
INTERNAL = re.compile(
    r"Traceback|object at 0x|<class '|'NoneType'|has no attribute|"
    r"not subscriptable|unhashable|index out of range|literal for|unsupported operand|unpack|"
    r"__\w+__|\[Errno|not iterable|not callable|HydraException|"
    r"\b(Key|Type|Value|Attribute|Index|Runtime|Recursion|Assertion|Overflow|OS)Error\b"
)
"""Signs of a message that was written for developers."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.mkdir": 1,
    "os.rmdir": 1,
    "os.remove": 1,
    "os.chmod": 1,
    "os.rename": 2,
    "os.link": 2,
    "os.symlink": 2,
    "shutil.rmtree": 1,
}
"""Events of Python's audit that change files, with the number of paths among their arguments."""
STARTS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect")


class Outcome(NamedTuple):
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str


class HangError(BaseException):
    """An example runs longer than ``SECONDS``."""


class EscapeError(BaseException):
    """An example touches what is outside its sandbox."""


class ReachedError(BaseException):
    """An example got past all checks, to the work that fuzzing leaves out."""


def stop(*arguments, **keywords):
    """Take the place of work that fuzzing leaves out."""
    raise ReachedError


def examples(share, *, is_quick=True):
    """Parametrise a test with its number of examples, a share of those of all tests."""
    many = pytest.param(max(1, round(share * MANY)), marks=pytest.mark.slow, id="many")
    quick = pytest.param(max(1, round(share * QUICK)), id="quick")
    return pytest.mark.parametrize("count", [quick, many] if is_quick else [many])


def fuzz(count, test, *strategies):
    """Call a test with examples of the strategies."""
    profile = settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize="LIMBECK_FUZZ_SEED" not in os.environ,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),  # to explain a failure takes a trace of each line
        suppress_health_check=list(HealthCheck),
    )

    def example(values):
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            test(Path(folder).resolve(), *values)

    profile(given(st.tuples(*strategies))(example))()


# What an example may do ---------------------------------------------------------------------------


class _Guard:
    """Hook of Python's audit that stops an example before it leaves its sandbox."""

    def __init__(self):
        self.folder = None
        self.escapes = []
        self.is_installed = False

    def __call__(self, event, arguments):
        if self.folder is None:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITES:
                self._check(event, path)
        elif event in CHANGES:
            count = CHANGES[event]
            folders = arguments[-count:] if len(arguments) > count else (-1,) * count
            for path, folder in zip(arguments, folders, strict=False):
                self._check(event, path, folder)
        elif event in STARTS or (
            event == "subprocess.Popen" and Path(str(arguments[0])).name != "git"
        ):
            self._stop(event, arguments)

    def _check(self, event, path, folder=-1):
        if isinstance(path, int) or path is None:
            return
        path = os.fsdecode(path)
        if isinstance(folder, int) and folder >= 0:  # the path starts from an open folder
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if event == "open":  # a link is followed
            real = os.path.realpath(path)
        is_cache = real.endswith(".pyc") or "__pycache__" in real
        if real.startswith(("/dev/", f"{self.folder}/")) or real == self.folder or is_cache:
            return
        self._stop(event, (real,))

    def _stop(self, event, arguments):
        self.escapes.append((event, arguments))
        raise EscapeError(f"{event} {arguments}")


_GUARD = _Guard()


@contextlib.contextmanager
def guarded(folder):
    """Limit time, memory and files of the block to an example's."""
    if not _GUARD.is_installed:
        sys.addaudithook(_GUARD)
        _GUARD.is_installed = True
    scratch = folder / "tmp"
    scratch.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, _limited_memory(), _deadline():
        patch.setenv("LIMBECK_STORE", str(folder / "store"))
        patch.setenv("LIMBECK_CACHE", str(folder / "cache"))
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(scratch))  # which torch.onnx creates
        patch.setattr(tempfile, "tempdir", str(scratch))
        _GUARD.escapes.clear()
        _GUARD.folder = str(folder)
        try:
            yield
        finally:
            _GUARD.folder = None
    assert not _GUARD.escapes


@contextlib.contextmanager
def _deadline():
    """Raise an error in the block when time is up; end the process if it does not react."""

    def stop(signum, frame):
        raise HangError(f"An example takes over {SECONDS} s.")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _limited_memory():
    """Limit the memory of the process to what it has and ``GIGABYTES`` more."""
    statistics = Path("/proc/self/statm")
    if not statistics.is_file():
        yield
        return
    size = int(statistics.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + GIGABYTES * 2**30, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


# What an example shows ----------------------------------------------------------------------------


def attempt(folder, *words):
    """Run a command in a sandbox and check its outcome, which is returned."""
    out, err = io.StringIO(), io.StringIO()
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with (
            guarded(folder),
            contextlib.chdir(folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main([str(word) for word in words])
    except ReachedError:
        code = 0
    except SystemExit as end:
        code = end.code
    finally:
        for number, handler in signals.items():
            signal.signal(number, handler)
    outcome = Outcome(code, out.getvalue(), err.getvalue())
    check_outcome(outcome, words)
    return outcome


def check_outcome(outcome, words=()):
    """Check that a command ended with a documented exit code, and one message if it failed."""
    code, out, err = outcome
    assert code in EXIT_CODES, outcome
    assert "Traceback" not in out + err, outcome
    if code in (0, 130, 143):
        return
    messages = re.split(r"(?:^|\n)(?:limbeck[\w ]*: )?error: ", err)[1:]
    assert len(messages) == 1, outcome
    check_message(messages[0], " ".join(map(str, words)))


def check_message(message, words=""):
    """Check that a message was written for users; words of theirs may be repeated in it."""
    assert len(message.split()) > 1, message
    for sign in INTERNAL.finditer(message):
        assert sign.group() in words, message


def attempt_call(folder, function, words=""):
    """Call a function in a sandbox; an error is one that users can fix, with a message."""
    try:
        with guarded(folder), contextlib.chdir(folder):
            return function()
    except LimbeckError as error:
        check_message(str(error), words)
        return error


def snapshot(folder):
    """Contents of all files of a folder, to show that a command changed none."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
