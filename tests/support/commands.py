"""The command line, called in this process or started in a process of its own."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import limbeck
from limbeck.cli.main import main

SOURCE = str(Path(limbeck.__file__).parents[1])
QUICK = (
    "logger=csv",
    "student.hidden=[16]",
    "seeds=2",
    "epochs=6",
    "teacher=mlp",
    "teacher.model.hidden=[32]",
    "teacher.epochs=6",
)
TINY = (
    "logger=csv",
    "student.hidden=[4]",
    "seeds=2",
    "teacher=mlp",
    "teacher.model.hidden=[8]",
    "teacher.epochs=1",
)


def call(*arguments, cwd="."):
    """Exit code, standard output and standard error of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def interruptible():
    """Undo that background jobs of a shell, ``nohup`` and all they start ignore signals."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


def start(*arguments, cwd, **environment):
    """Start ``python -m limbeck`` in the background."""
    own = {"PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "limbeck", *arguments],
        cwd=cwd,
        env={**os.environ, **own, **environment},
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=interruptible,
    )


def run(*arguments, cwd, **environment):
    """Exit code, standard output and standard error of a command in a process of its own."""
    process = start(*arguments, cwd=cwd, **environment)
    out, err = process.communicate(timeout=240)
    assert "Traceback" not in err, err
    return process.returncode, out, err


@contextlib.contextmanager
def killed_at_the_end(process):
    """Kill a process if the block leaves it running."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
