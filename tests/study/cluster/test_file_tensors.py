"""Samples in memory-mapped files, read by whoever needs them."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from limbeck._base.mapped_memory import MAPPED_FILES
from limbeck.study.cluster.file_tensors import FileTensor, MappedTensor, UnreadableSamplesError
from limbeck.study.cluster.packing import MIN_SHARED_BYTES, pack

HEADER = 12
SHAPE = (10, 7)


def map_values(path, *, in_memory):
    with path.open("rb") as stream:
        content = MAPPED_FILES.map(stream, in_memory=in_memory, path=path)
    return torch.from_numpy(np.frombuffer(content, np.int32, offset=HEADER).reshape(SHAPE))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "values.bin"
    values = np.random.default_rng(0).integers(0, 1000, SHAPE, dtype=np.int32)
    path.write_bytes(bytes(HEADER) + values.tobytes())
    return path


@pytest.fixture(params=[True, False], ids=["in memory", "on the disk"])
def mapped(file, request):
    return map_values(file, in_memory=request.param)


PARTS = pytest.mark.parametrize(
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


@PARTS
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


@PARTS
def test_a_tensor_that_stays_on_the_disk_is_mapped(file, choose):
    part = choose(map_values(file, in_memory=False))
    packed = pickle.dumps(MappedTensor.of(part))
    assert len(packed) < 1000
    copy = pickle.loads(packed).tensor()
    assert copy.dtype == part.dtype
    assert torch.equal(copy, part)
    assert MAPPED_FILES.holds(copy.data_ptr())
    assert MappedTensor.of(copy) == MappedTensor.of(part)


def test_tensors_in_memory_are_not_mapped(file):
    mapped = map_values(file, in_memory=False)
    assert MappedTensor.of(mapped.clone()) is None
    assert MappedTensor.of(mapped[:0]) is None
    assert MappedTensor.of(map_values(file, in_memory=True)) is None
    file.unlink()
    assert MappedTensor.of(mapped) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.bool])
def test_mapped_tensors_have_any_type(tmp_path, dtype):
    file = tmp_path / "values.bin"
    file.write_bytes(bytes([0, 1, 1, 0, 1, 0, 0, 1] * 6))
    with file.open("rb") as stream:
        content = MAPPED_FILES.map(stream, in_memory=False, path=file)
    values = torch.from_numpy(np.frombuffer(content, np.uint8)).view(dtype)[1:]
    copy = MappedTensor.of(values).tensor()
    assert copy.dtype == dtype
    assert torch.equal(copy, values)


@pytest.mark.parametrize("change", ["first", "last", "cut", "longer", "empty"])
def test_another_file_is_not_mapped(file, change):
    part = MappedTensor.of(map_values(file, in_memory=False))
    content = bytearray(file.read_bytes())
    if change in ("first", "last"):
        content[HEADER if change == "first" else -1] ^= 1
    other = file.with_name("other.bin")
    other.write_bytes({"cut": content[:-1], "longer": content + b"x"}.get(change, content))
    if change == "empty":
        other.write_bytes(b"")
    words = "cannot read" if change == "empty" else "reads other samples"
    with pytest.raises(UnreadableSamplesError, match=words):
        replace(part, file=other).tensor()


def test_a_large_file_is_compared_at_places_from_the_first_to_the_last(tmp_path):
    file, other = tmp_path / "values.bin", tmp_path / "other.bin"
    values = np.arange(1 << 20, dtype=np.int32)
    file.write_bytes(values.tobytes())
    with file.open("rb") as stream:
        content = MAPPED_FILES.map(stream, in_memory=False, path=file)
    part = MappedTensor.of(torch.from_numpy(np.frombuffer(content, np.int32)))
    assert torch.equal(part.tensor(), torch.from_numpy(values))
    other.write_bytes((values + 1).tobytes())
    with pytest.raises(UnreadableSamplesError, match="reads other samples"):
        replace(part, file=other).tensor()


def test_a_mapped_file_that_is_not_there_is_one_message(file, tmp_path):
    part = MappedTensor.of(map_values(file, in_memory=False))
    elsewhere = replace(part, file=tmp_path / "gone.bin")
    with pytest.raises(UnreadableSamplesError, match=r"cannot read .*gone\.bin \(No such file"):
        elsewhere.tensor()


def test_a_small_part_of_large_memory_is_sent_alone():
    """PyTorch pickles the whole memory of which a tensor is a part."""
    x = torch.arange(MIN_SHARED_BYTES)
    packed, tensors = pack(x[3:5], pickle.Pickler)
    assert len(packed) < 1000
    assert [tensor.tolist() for tensor in tensors] == [[3, 4]]
