"""Digests of files that claim to be larger than they are."""

import hashlib
import time

from limbeck._base.digests import file_digest


def test_the_digest_is_sha_256(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert file_digest(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()


def test_a_file_with_a_terabyte_of_nothing_takes_no_time(tmp_path):
    """It takes no space on the disk, either, but ten minutes to read."""
    with open(tmp_path / "file", "wb") as file:
        file.write(b"content")
        file.truncate(1 << 40)
    start = time.monotonic()
    assert file_digest(tmp_path / "file") == ""
    assert time.monotonic() - start < 10


def test_a_small_gap_is_read(tmp_path):
    with open(tmp_path / "file", "wb") as file:
        file.truncate(1 << 20)
    assert file_digest(tmp_path / "file") == hashlib.sha256(bytes(1 << 20)).hexdigest()
