"""Files of checkpoints: any damage is found, and no error of the disk is lost."""

import errno
import os
import resource

import pytest
import torch

from limbeck.training.cohort.checkpoint_file import (
    UnusableError,
    read_checkpoint,
    write_checkpoint,
)


@pytest.fixture(scope="module")
def content():
    return {"weights": torch.arange(2.0), "step": 3}


def test_what_is_written_is_read(tmp_path, content):
    file = tmp_path / "new" / "step3.ckpt"
    write_checkpoint(file, content)
    result = read_checkpoint(file)
    assert torch.equal(result.pop("weights"), content["weights"])
    assert result == {"step": 3}
    assert os.listdir(file.parent) == ["step3.ckpt"]


def test_every_flipped_bit_and_every_cut_is_found(tmp_path, content):
    file = tmp_path / "step3.ckpt"
    write_checkpoint(file, content)
    whole = file.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        file.write_bytes(damaged)
        with pytest.raises(UnusableError, match="checksum"):
            read_checkpoint(file)
    for length in (*range(0, len(whole), 97), len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(UnusableError, match="checksum"):
            read_checkpoint(file)
    file.write_bytes(whole + b"0")
    with pytest.raises(UnusableError, match="checksum"):
        read_checkpoint(file)


def test_other_content_with_a_digest_is_refused(tmp_path, content):
    file = tmp_path / "step3.ckpt"
    write_checkpoint(file, ["a list"])
    with pytest.raises(UnusableError, match="holds no checkpoint"):
        read_checkpoint(file)
    write_checkpoint(file, {"code": pytest.raises})
    with pytest.raises(UnusableError, match="cannot be read"):
        read_checkpoint(file)
    file.unlink()
    with pytest.raises(UnusableError, match="cannot be read"):
        read_checkpoint(file)


@pytest.mark.parametrize("bytes_written", [0, 100, 700, 2000])
def test_a_full_disk_is_an_error_of_the_system(tmp_path, content, bytes_written):
    """PyTorch hides it behind an error of its own."""
    file = tmp_path / "step3.ckpt"
    write_checkpoint(file, content)
    whole = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_written, hard))
    try:
        with pytest.raises(OSError, match=r"step3\.ckpt") as error:
            write_checkpoint(file, {**content, "weights": torch.randn(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.errno == errno.EFBIG
    assert os.listdir(tmp_path) == ["step3.ckpt"]
    assert file.read_bytes() == whole
