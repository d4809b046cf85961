"""``python -m limbeck`` in a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import limbeck

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


def interruptible():
    """A job in the background of a shell ignores interrupts, and so would all it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*arguments, cwd):
    """In the background."""
    settings = {**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "limbeck", *arguments],
        cwd=cwd,
        env=settings,
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=interruptible,
    )


def run(*arguments, cwd):
    """Exit code, standard output and standard error."""
    process = start(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=240)
    assert "Traceback" not in err, err
    return process.returncode, out, err
