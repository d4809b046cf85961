"""A setting of the allocator that makes steps and forward passes on a processor faster."""

import ctypes
import os
from contextlib import suppress
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # names and numbers of malloc.h
_MALLOC_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@cache
def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next tensors instead of returning it to the system.

    Fresh memory costs a page fault for every 4 KiB: with gradients of 8 MB up to a third of a step
    (docs/log.md). Does nothing without glibc, or if the environment has settings of its own.
    """
    if any(name in os.environ for name in _MALLOC_SETTINGS):
        return
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 25)  # the largest value that it accepts
