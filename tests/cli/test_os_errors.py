"""Failed file operations are explained: reading, writing, and the disk."""

import errno
import os

import pytest

from limbeck.cli.os_errors import explain


def error(code, file=None):
    return OSError(code, os.strerror(code), *([] if file is None else [str(file)]))


def test_reading_and_writing_are_told_apart(open_folder):
    closed = open_folder / "closed.csv"
    closed.write_text("")
    closed.chmod(0)
    assert "cannot be read" in explain(error(errno.EACCES, closed)).fault
    assert explain(error(errno.EACCES, closed)).advice == "Change its permissions"
    locked = open_folder / "locked"
    locked.mkdir(mode=0)
    assert "cannot be read" in explain(error(errno.EACCES, locked)).fault
    inside = explain(error(errno.EACCES, locked / "deep" / "model.json"))
    assert inside.fault == f"Permission denied: {locked} cannot be read"
    assert "cannot be written" in explain(error(errno.EACCES, open_folder / "new")).fault
    closed.chmod(0o400)
    assert "cannot be written" in explain(error(errno.EACCES, closed)).fault


@pytest.mark.parametrize(
    ("code", "exit_code", "text"),
    [
        (errno.EIO, 6, "The disk reports an error"),
        (errno.EROFS, 6, "The disk is read-only"),
        (errno.ESTALE, 6, "The network disk has lost a file"),
        (errno.ENXIO, 6, "there cannot be used: No such device or address"),
        (errno.ELOOP, 2, "Cannot create the folder there"),
    ],
)
def test_any_error_with_a_path_has_a_message(code, exit_code, text):
    explanation = explain(error(code, "there"))
    assert text in explanation.fault
    assert explanation.exit_code == exit_code


def test_errors_that_are_not_of_the_system_have_no_explanation():
    assert explain(OSError("no")) is None
