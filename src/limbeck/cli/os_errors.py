"""What failed file operations mean, and what to do about them."""

import errno
import os
from pathlib import Path
from typing import NamedTuple

from limbeck._base.errors import SHORTAGES, ConfigError, ResourceError

DISK_FAULTS = {
    errno.ENOSPC: ("The disk is full", "Free some space"),
    errno.EDQUOT: ("The quota of the disk is used up", "Free some space"),
    errno.EFBIG: ("A file is larger than this system allows", "Raise the limit ('ulimit -f')"),
    errno.EIO: ("The disk reports an error", "Check the disk"),
    errno.ESTALE: ("The network disk has lost a file", "Check the connection"),
    errno.EROFS: ("The disk is read-only", "Make it writable, or choose another folder"),
    **SHORTAGES,
}
"""What is wrong and what to do, by the number of an error with which a run can continue later."""
_PERMISSION = (errno.EACCES, errno.EPERM)
_PATH = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)


class Explanation(NamedTuple):
    """Explanation of an error of the operating system.

    Attributes:
        fault: Name of the fault and of the file, without a full stop.
        advice: Action that fixes it, without a full stop.
        exit_code: Exit code of the command line.
    """

    fault: str
    advice: str
    exit_code: int


def system_error_in(error: BaseException) -> OSError | None:
    """Return the fault of the disk or system that a library reports as an error of its own.

    Args:
        error: Any error, such as a ``RuntimeError`` of PyTorch.
    """
    if isinstance(error, OSError):
        return error
    for code in DISK_FAULTS:
        if os.strerror(code) in str(error):
            return OSError(code, " ".join(str(error).split())[:300])
    return None


def explain(error: OSError) -> Explanation | None:
    """Explain a failed file operation; None if it is no fault of the disk, files or settings."""
    code, file = error.errno, error.filename
    if code in DISK_FAULTS:
        fault, advice = DISK_FAULTS[code]
        return Explanation(f"{fault}: {error}", advice, ResourceError.exit_code)
    if code == errno.ENOENT and "temporary directory" in str(error.strerror):
        advice = "Free some space there, or set TMPDIR to a folder that can be written"
        return Explanation(f"{error.strerror}", advice, ResourceError.exit_code)
    if file is None:
        return None
    if code in _PATH:
        fault = f"Cannot create the folder {file}: {error.strerror}"
        return Explanation(fault, "Choose another path", ConfigError.exit_code)
    blocked = _unreadable_part(file) if code in _PERMISSION else None
    if blocked is not None:
        fault = f"Permission denied: {blocked} cannot be read"
        return Explanation(fault, "Change its permissions", ConfigError.exit_code)
    if code in _PERMISSION:
        fault = f"Permission denied: {file} cannot be written"
        advice = "Change the permissions of the file or its folder, or choose another path"
        return Explanation(fault, advice, ConfigError.exit_code)
    return Explanation(
        f"{file} cannot be used: {error.strerror}", "Check the path", ResourceError.exit_code
    )


def _unreadable_part(file: str | bytes | int) -> str | None:
    """Return a file, or the folder on the way to it, that this user may not read; None if all may
    be read.
    """
    if isinstance(file, int):
        return None
    path = os.fsdecode(file)
    for part in (path, *map(str, Path(path).parents)):
        if is_unreadable(part):
            return part
    return None


def is_unreadable(path: str | bytes | int) -> bool:
    """Whether a file or folder exists that this user may not read."""
    is_effective = os.access in os.supports_effective_ids
    try:
        needed = os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK
        return os.path.exists(path) and not os.access(path, needed, effective_ids=is_effective)
    except (OSError, ValueError):
        return True
