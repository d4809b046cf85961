"""Import of Matplotlib without the settings of its environment."""

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def import_matplotlib(*, with_settings: bool = True) -> None:
    """Import Matplotlib, unless that has happened.

    ``MPLBACKEND`` may name a backend that is not installed, such as the one of the notebook from
    which a program is started. The figures of a report need none.

    Args:
        with_settings: Whether to read ``matplotlibrc``. Matplotlib takes it from the working
            folder first, which may be a folder of somebody else: its settings could be damaged, or
            be a pipe or an endless file.
    """
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        with contextlib.nullcontext() if with_settings else _no_settings():
            import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend


@contextlib.contextmanager
def _no_settings() -> Iterator[None]:
    """Let Matplotlib find an empty file of settings."""
    file = os.environ.get("MATPLOTLIBRC")
    os.environ["MATPLOTLIBRC"] = os.devnull
    try:
        with contextlib.chdir(Path(__file__).parent):
            yield
    finally:
        del os.environ["MATPLOTLIBRC"]
        if file is not None:
            os.environ["MATPLOTLIBRC"] = file
