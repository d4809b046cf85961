"""Threads of OpenMP, on which PyTorch computes on a CPU."""

import os


def limit_spinning() -> None:
    """Let idle OpenMP threads wait instead of spin, unless the environment says otherwise.

    Threads that spin slow down other processes several times (docs/log.md). This has an effect only
    before PyTorch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
