"""Flips and crops against numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck._base.errors import ConfigError
from limbeck.data import Crop, Flip, Shift

NUMPY_MODE = {"zeros": "constant", "reflect": "reflect", "edge": "edge"}
NONE = torch.zeros(0, dtype=torch.int64)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_flips_mirror_left_and_right(dtype):
    images = np.random.default_rng(0).integers(0, 255, (6, 3, 4, 5)).astype(dtype)
    view = torch.tensor([0, 1, 1, 0, 1, 0])
    shown = Flip().apply(torch.from_numpy(images), view, NONE).numpy()
    assert shown.dtype == dtype
    for image, seen, found in zip(images, view, shown, strict=True):
        np.testing.assert_array_equal(found, image[..., ::-1] if seen else image)
    assert (Flip().count, Flip().plain, Flip().name) == (2, 0, "flips")


@settings(max_examples=60, deadline=None)
@given(
    fill=st.sampled_from(list(NUMPY_MODE)),
    padding=st.integers(1, 5),
    extra=st.tuples(*[st.integers(1, 4)] * 2),
    channels=st.integers(1, 3),
    dtype=st.sampled_from([np.uint8, np.float32, np.float64]),
)
def test_every_crop_is_one_of_the_padded_image(fill, padding, extra, channels, dtype):
    crop = Crop(padding, fill)
    height, width = padding + extra[0], padding + extra[1]
    rng = np.random.default_rng(padding)
    images = rng.integers(1, 255, (crop.count, channels, height, width)).astype(dtype)
    shown = crop.apply(torch.from_numpy(images), torch.arange(crop.count), NONE).numpy()
    assert shown.dtype == dtype
    padded = np.pad(images, [(0, 0)] * 2 + [(padding, padding)] * 2, mode=NUMPY_MODE[fill])
    side = 2 * padding + 1
    for view in range(crop.count):
        top, left = 2 * padding - view // side, 2 * padding - view % side
        np.testing.assert_array_equal(
            shown[view], padded[view, :, top : top + height, left : left + width]
        )


def test_a_shift_is_a_crop_with_zeros():
    images = torch.rand(81, 2, 6, 7)
    assert torch.equal(
        Shift(4).apply(images, torch.arange(81), NONE),
        Crop(4).apply(images, torch.arange(81), NONE),
    )


def test_names_and_counts_of_crops():
    assert (Crop().count, Crop().plain, Crop().name) == (81, 40, "crops with padding 4")
    assert Crop(1, "reflect").name == "crops with padding 1 (reflect)"


@pytest.mark.parametrize("padding", [0, -1, 65, 1.5, True, "2", None])
def test_bad_padding(padding):
    with pytest.raises(ConfigError, match=r"views\.padding=.*from 1 to 64"):
        Crop(padding)


@pytest.mark.parametrize("fill", ["zero", None, 0])
def test_bad_fill(fill):
    with pytest.raises(
        ConfigError, match=r"views\.fill=.* is unknown; choose one of zeros, reflect, edge"
    ):
        Crop(2, fill)


@pytest.mark.parametrize(
    "views", [Shift(4), Crop(4), Crop(4, "reflect"), Crop(4, "edge")], ids=lambda v: v.name
)
@pytest.mark.parametrize("size", [(4, 9), (9, 4), (3, 3), (1, 1)])
def test_a_padding_as_large_as_the_image_is_refused(views, size):
    plain = torch.tensor([views.plain])
    with pytest.raises(ConfigError, match=f"images of {size[0]} x {size[1]} pixels altogether"):
        views.apply(torch.zeros(1, 1, *size), plain, NONE)
    views.apply(torch.zeros(1, 1, 5, 5), plain, NONE)
