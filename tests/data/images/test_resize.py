"""Random parts of a split, and images in another size and number of channels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limbeck.data import Split
from limbeck.data.images.resize import draw_samples, resize


def random_split(count=7, size=28):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, size, size), dtype=np.uint8)
    return Split(torch.from_numpy(pixels), torch.arange(count))


@pytest.mark.parametrize("size", [1, 2, 7, 13, 27, 29, 40])
def test_resizing_agrees_with_pillow(size):
    split = random_split(3)
    resized = resize(split, size=size, channels=1).inputs
    assert resized.dtype == torch.uint8
    for image, result in zip(split.inputs, resized, strict=True):
        pillow_image = Image.fromarray(image[0].numpy())
        expected = np.asarray(pillow_image.resize((size, size), Image.Resampling.BILINEAR))
        assert np.abs(expected.astype(int) - result[0].numpy().astype(int)).max() <= 1


def test_channels_are_equal_and_an_image_of_the_right_size_stays():
    split = random_split()
    colour = resize(split, size=28, channels=3)
    assert torch.equal(colour.inputs, split.inputs.expand(-1, 3, -1, -1))
    assert torch.equal(resize(split, size=None, channels=1).inputs, split.inputs)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 5), extra=st.integers(0, 2), seed=st.integers(0, 9))
def test_samples_are_drawn_once_and_keep_their_order(count, extra, seed):
    split = random_split(size=4)
    part = draw_samples(split, count, "data.train", seed, extra=extra)
    assert len(part) == count + extra
    assert part.labels.tolist() == sorted(set(part.labels.tolist()))
    assert torch.equal(part.inputs, split.inputs[part.labels])
