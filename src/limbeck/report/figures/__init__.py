"""The figures of a report, each an inline SVG."""

import os
import sys
from contextlib import suppress


def _import_matplotlib() -> None:
    """Import Matplotlib even if ``MPLBACKEND`` names a backend that is not installed.

    A program started from a notebook inherits the backend of the notebook. The figures need none.
    """
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend


if "matplotlib" not in sys.modules:
    _import_matplotlib()
