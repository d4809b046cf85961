"""Errors that users can correct, with the exit codes of the command line."""

import errno

SHORTAGES = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""Errors of the system that no file is to blame for."""
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""Errors of writing a file that its name is not to blame for."""


class RuntimeFailure(Exception):
    """An error that a user can correct, with the exit code of the command line."""

    exit_code = 2


class InputError(RuntimeFailure):
    """An input file is missing, damaged, too large or of another kind."""

    exit_code = 3


class MissingLibraryError(RuntimeFailure):
    """A library or memory is missing."""

    exit_code = 6


class BundleError(RuntimeFailure):
    """A bundle is damaged, incomplete or cannot be trusted."""

    exit_code = 7


class DifferentOutputsError(RuntimeFailure):
    """The outputs of a model on this device differ from the exported ones."""

    exit_code = 8


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line of limited length."""
    return " ".join((str(error) or type(error).__name__).split())[:300]
