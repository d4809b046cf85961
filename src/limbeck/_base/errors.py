"""Every error a user can mend, each with the exit code of the command line.

A message says what was found, where, what was expected and what to do. The command line prints it
without a traceback; in Python these are ordinary exceptions.
"""

OUT_OF_MEMORY = "Memory"
"""How messages of memory that ran out begin."""


class LimbeckError(Exception):
    """Base of all errors that a user can mend."""

    exit_code = 1


class LimbeckWarning(UserWarning):
    """Something works, but most likely not as it was meant."""


class ConfigError(LimbeckError, ValueError):
    """A setting is unknown, missing or out of range."""

    exit_code = 2


class DataError(LimbeckError):
    """A data set is missing, damaged or not of the form it should have."""

    exit_code = 3


class TeacherError(LimbeckError):
    """A teacher is missing, damaged or does not fit the data."""

    exit_code = 4


class DivergedError(LimbeckError):
    """A loss became infinite or not a number."""

    exit_code = 5


class ResourceError(LimbeckError):
    """Disk, memory or network ran out or cannot be reached."""

    exit_code = 6


class UntrustedFileError(LimbeckError):
    """A file is damaged or of a kind that could run code when it is read."""

    exit_code = 7


class ExportError(LimbeckError):
    """An exported model does not answer like the student it was made from."""

    exit_code = 8


def is_out_of_memory(reason: str) -> bool:
    """Whether a student failed for want of memory, by the message kept of it; another time it may
    not.
    """
    return reason.startswith(OUT_OF_MEMORY)
