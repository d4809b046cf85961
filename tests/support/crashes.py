"""Processes that are killed before each of their calls to the file system."""

import multiprocessing
import os
import sys
import threading

CALLS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "fcntl.flock")
"""Audit events of the calls that may change a folder."""
CRASH = 86


def _run(action, point, folder):
    """Run an action and end the process, as by SIGKILL, before its call number ``point``."""
    calls, lock = 0, threading.Lock()

    def count(event, arguments):
        nonlocal calls
        path = arguments[0] if event == "open" else ""
        is_elsewhere = isinstance(path, str) and os.path.isabs(path)  # a module, say
        if event not in CALLS or (is_elsewhere and not path.startswith(str(folder))):
            return
        with lock:
            calls += 1
            if calls == point:
                os._exit(CRASH)

    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 2)
    sys.addaudithook(count)
    action()
    os._exit(0)


def crash_at(point, action, folder):
    """Run an action in a process that is killed before a call to the file system.

    Args:
        point: Number of the call, from 1.
        action: Function to run.
        folder: Folder whose calls count.

    Returns:
        Whether the process was killed; false if it ended before.
    """
    process = multiprocessing.get_context("fork").Process(target=_run, args=(action, point, folder))
    process.start()
    process.join(60)
    assert process.exitcode in (0, CRASH), process.exitcode
    return process.exitcode == CRASH
