"""Processes of this machine."""

import os


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
