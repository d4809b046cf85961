"""Samples in memory-mapped files, read by whoever needs them."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from limbeck._base.mapped_memory import MAPPED_FILES
from limbeck.study.cluster.file_tensors import FileTensor, UnreadableSamplesError
from limbeck.study.cluster.packing import MIN_SHARED_BYTES, pack

HEADER = 12
SHAPE = (10, 7)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "values.bin"
    values = np.random.default_rng(0).integers(0, 1000, SHAPE, dtype=np.int32)
    path.write_bytes(bytes(HEADER) + values.tobytes())
    return path


@pytest.fixture(params=[True, False], ids=["in memory", "on the disk"])
def mapped(file, request):
    with file.open("rb") as stream:
        content = MAPPED_FILES.map(stream, in_memory=request.param, path=file)
    return torch.from_numpy(np.frombuffer(content, np.int32, offset=HEADER).reshape(SHAPE))


@pytest.mark.parametrize(
    "choose",
    [
        lambda x: x,
        lambda x: x[3:5],
        lambda x: x[9],
        lambda x: x[2:, :6],  # inputs of text: labels are the same tokens, one further
        lambda x: x[:, 1:],
        lambda x: x[1:2, 3:4],
    ],
)
def test_a_part_of_a_file_is_read_as_it_was_seen(mapped, choose):
    part = choose(mapped)
    packed = pickle.dumps(FileTensor.of(part))
    assert len(packed) < 1000
    copy = pickle.loads(packed).tensor()
    assert copy.dtype == part.dtype
    assert torch.equal(copy, part)


def test_other_tensors_are_in_no_file(mapped):
    assert FileTensor.of(torch.arange(5)) is None
    assert FileTensor.of(mapped.clone()) is None
    assert FileTensor.of(mapped[:0]) is None


def test_a_file_that_is_not_there_is_one_message(mapped, tmp_path):
    elsewhere = replace(FileTensor.of(mapped), file=tmp_path / "gone.bin")
    with pytest.raises(UnreadableSamplesError, match=r"cannot read .*gone\.bin \(No such file"):
        elsewhere.tensor()


@pytest.mark.parametrize("change", ["of the file", "in memory", "cut"])
def test_other_values_are_noticed(mapped, file, change):
    content = bytearray(file.read_bytes())
    if change == "in memory":
        mapped[4, 2] += 1
    part = FileTensor.of(mapped[4:])
    if change == "of the file":
        content[-1] ^= 1
    if change != "in memory":
        other = file.with_name("other.bin")
        other.write_bytes(content[:-1] if change == "cut" else content)
        part = replace(part, file=other)
    with pytest.raises(UnreadableSamplesError, match="reads other samples"):
        part.tensor()


def test_a_small_part_of_large_memory_is_sent_alone():
    """PyTorch pickles the whole memory of which a tensor is a part."""
    x = torch.arange(MIN_SHARED_BYTES)
    packed, tensors = pack(x[3:5], pickle.Pickler)
    assert len(packed) < 1000
    assert [tensor.tolist() for tensor in tensors] == [[3, 4]]
