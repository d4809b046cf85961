"""A part of a data set, in another size and in three channels."""

import gzip

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limbeck._base.errors import ConfigError
from limbeck.data import Split, mnist
from limbeck.data.images.resize import fitted, part_of


def split(n=7, size=28):
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.integers(0, 256, (n, 1, size, size), dtype=np.uint8))
    return Split(images, torch.arange(n))


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 40))
def test_resizing_agrees_with_pillow(size):
    found = fitted(split(3), size=size, channels=1).inputs
    assert found.dtype == torch.uint8
    for image, own in zip(split(3).inputs, found, strict=True):
        theirs = np.asarray(
            Image.fromarray(image[0].numpy()).resize((size, size), Image.Resampling.BILINEAR)
        )
        assert np.abs(theirs.astype(int) - own[0].numpy().astype(int)).max() <= 1


def test_channels_are_alike_and_what_fits_is_left():
    found = fitted(split(), size=28, channels=3)
    assert torch.equal(found.inputs, split().inputs.expand(-1, 3, -1, -1))
    assert torch.equal(fitted(split(), size=None, channels=1).inputs, split().inputs)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 5), beside=st.integers(0, 2), seed=st.integers(0, 9))
def test_a_part_is_a_part(count, beside, seed):
    found = part_of(split(), count, "data.train", seed, beside=beside)
    assert len(found) == count + beside
    assert found.labels.tolist() == sorted(set(found.labels.tolist()))
    assert torch.equal(found.inputs, split().inputs[found.labels])


@pytest.mark.parametrize(
    "setting",
    [
        {"size": 0},
        {"size": 2.5},
        {"channels": 2},
        {"train": 0},
        {"train": 90},
        {"test": 21},
        {"test": "x"},
    ],
)
def test_settings_out_of_range(tmp_path, setting):
    for stem, count in (("train", 90), ("t10k", 20)):
        for kind, array in (
            ("images-idx3", np.zeros((count, 28, 28))),
            ("labels-idx1", np.arange(count) % 10),
        ):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(
                n.to_bytes(4, "big") for n in array.shape
            )
            content = head + array.astype(np.uint8).tobytes()
            (tmp_path / f"{stem}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    data = mnist(tmp_path, val=10, size=32, channels=3, train=30, test=5)
    assert (data.shape, len(data.train), len(data.val), data.test_size) == ((3, 32, 32), 30, 10, 5)
    with pytest.raises(ConfigError, match=rf"data\.{next(iter(setting))}="):
        mnist(tmp_path, val=10, **setting)
