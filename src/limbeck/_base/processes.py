"""Processes of this machine."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO


def may_run(process: int) -> bool:
    """Whether a process with this number may be running; on Windows, which cannot tell, always."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def start_module(name: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a module of limbeck in a process of its own, with pipes for its input and output.

    Args:
        name: Name of the module, such as ``limbeck.deploy.latency``.
        errors: File for what the process writes to standard error.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", name],  # -P: no modules of this folder
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": _python_path()},
    )


def _python_path() -> str:
    """Return a ``PYTHONPATH`` with which a child process imports this copy of limbeck.

    Relative folders are left out: the working directory may be another one, of an unknown author.
    """
    source = str(Path(__file__).parents[2])
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join([source, *filter(os.path.isabs, inherited)])
