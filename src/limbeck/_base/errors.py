"""Errors that users can fix, each with the exit code of the command line.

The command line prints the message without a traceback. In Python they are ordinary exceptions.
"""

import errno

from limbeck._base.addresses import with_addresses

OUT_OF_MEMORY = "Memory"
"""First word of all messages about a lack of memory."""


MEMORY_PHRASES = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "failed to allocate memory",
    "bad_alloc",
    "could not create a primitive",  # oneDNN, whose convolutions need memory of their own
    "failed to map segment",  # a library that does not fit into memory
    "can't start new thread",  # the stack of a thread
)
"""Phrases in the messages with which PyTorch reports that memory ran out."""

SHORTAGES = {
    errno.EMFILE: ("Too many files are open", "Raise the limit ('ulimit -n')"),
    errno.ENFILE: ("Too many files are open on this machine", "Close other programs"),
    errno.ENOMEM: ("Memory ran out", "Close other programs"),
}
"""What the machine lacks and what to do, by the number of an error. No file is at fault."""


class LimbeckError(Exception):
    """Base class of all errors that users can fix."""

    exit_code = 1

    def __str__(self) -> str:
        return with_addresses(super().__str__())


class LimbeckWarning(UserWarning):
    """A setting is valid but probably not intended."""


class ConfigError(LimbeckError, ValueError):
    """A setting is unknown, missing or out of range."""

    exit_code = 2


class DataError(LimbeckError):
    """A dataset is missing, damaged or in an unexpected format."""

    exit_code = 3


class TeacherError(LimbeckError):
    """A teacher is missing, damaged or does not fit the dataset."""

    exit_code = 4


class DivergedError(LimbeckError):
    """A loss became infinite or NaN."""

    exit_code = 5


class ResourceError(LimbeckError):
    """Disk, memory or a library is missing, or the network cannot be reached."""

    exit_code = 6


class UntrustedFileError(LimbeckError):
    """A file is damaged, or could run code when it is read."""

    exit_code = 7


class ExportError(LimbeckError):
    """The outputs of an exported model differ from those of the student."""

    exit_code = 8


def shortage_error(error: OSError) -> ResourceError | None:
    """The error for something that the machine lacks; None if a file or folder is at fault.

    Args:
        error: Error of a file operation, whose usual advice is another folder.
    """
    shortage = SHORTAGES.get(error.errno or 0)
    if shortage is None:
        return None
    fault, advice = shortage
    return ResourceError(f"{fault}: {error}. {advice} and try again.")


def is_memory_error(error: BaseException) -> bool:
    """Whether an error of Python or PyTorch says that memory ran out."""
    if isinstance(error, (RuntimeError, ImportError)):  # torch.OutOfMemoryError is a RuntimeError
        message = str(error).lower()
        return any(phrase in message for phrase in MEMORY_PHRASES)
    return isinstance(error, MemoryError)


def is_out_of_memory(reason: str) -> bool:
    """Whether a student failed because memory ran out, in which case a retry may succeed.

    Args:
        reason: Message recorded for the failed student.
    """
    return reason.startswith(OUT_OF_MEMORY)


def first_line(error: BaseException) -> str:
    """First line of an error's message, or the name of its class."""
    return (str(error).splitlines() or [type(error).__name__])[0]
