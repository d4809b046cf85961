"""Trainings as bytes: large tensors are left out, sent once and shared."""

import pickle

import pytest
import torch
from torch import nn

from limbeck.study.cluster.packing import MIN_SHARED_BYTES, SharedTensor, pack, unpack

LARGE = MIN_SHARED_BYTES


def send(content):
    """The object as another process gets it, and the size of its bytes."""
    packed, tensors = pack(content, pickle.Pickler)
    shared = [SharedTensor.of(tensor) for tensor in tensors]
    return unpack(packed, shared), len(packed), tensors


def test_large_tensors_are_left_out_and_shared_by_those_who_refer_to_them():
    x = torch.arange(LARGE, dtype=torch.uint8)
    copy, size, tensors = send({"x": x, "again": [x], "small": torch.ones(3)})
    assert size < 2000
    assert tensors == [x]
    assert copy["x"] is copy["again"][0]
    assert torch.equal(copy["x"], x)
    assert torch.equal(copy["small"], torch.ones(3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.bool, torch.int64])
def test_every_type_arrives_as_it_was(dtype):
    x = torch.randn(LARGE, generator=torch.Generator().manual_seed(0)).to(dtype)
    copy, _, tensors = send(x)
    assert len(tensors) == 1
    assert copy.dtype == dtype
    assert torch.equal(copy, x)


def test_views_of_a_tensor_keep_their_values():
    x = torch.arange(2 * LARGE).reshape(2, LARGE)
    copy, _, _ = send([x.T, x[:, ::2], x.expand(3, 2, LARGE)])
    for result, expected in zip(copy, [x.T, x[:, ::2], x.expand(3, 2, LARGE)], strict=True):
        assert torch.equal(result, expected)


def test_weights_that_are_trained_are_copied_and_frozen_ones_are_shared():
    trained, frozen = nn.Linear(300, 300), nn.Linear(300, 300).requires_grad_(False)
    packed, tensors = pack([trained, frozen], pickle.Pickler, changing=trained.parameters())
    assert [id(tensor) for tensor in tensors] == [id(frozen.weight)]
    first, second = unpack(packed, [SharedTensor.of(tensor) for tensor in tensors])
    assert first.weight.requires_grad
    assert isinstance(second.weight, nn.Parameter)
    assert not second.weight.requires_grad
    assert torch.equal(first.weight, trained.weight)
    assert torch.equal(second.weight, frozen.weight)


def test_shared_memory_that_is_read_only_gives_no_warning(recwarn):
    x = SharedTensor.of(torch.zeros(LARGE))
    x.values.flags.writeable = False
    assert x.tensor().sum() == 0
    assert not recwarn.list
