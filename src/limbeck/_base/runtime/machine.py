"""Facts of the machine and of the process."""

import os
import platform
from contextlib import suppress


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str:
    """Return the name of the processor."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):  # on x86, on a Raspberry Pi
                return value.strip()
    return platform.processor() or platform.machine()


def peak_memory() -> int | None:
    """Return the peak memory of this process in bytes; None if the system does not report it."""
    # getrusage includes the memory of the parent if the process was started by fork.
    with suppress(OSError), open("/proc/self/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    return None
