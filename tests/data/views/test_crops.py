"""Flips, crops and shifts against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck._base.errors import ConfigError
from limbeck.data import Crop, Flip, NoViews, Shift

NUMPY_MODE = {"zeros": "constant", "reflect": "reflect", "edge": "edge"}
NONE = torch.zeros(0, dtype=torch.int64)
"""These views need no samples."""


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_flips_mirror_left_and_right(dtype):
    images = np.random.default_rng(0).integers(0, 255, (6, 3, 4, 5)).astype(dtype)
    view = torch.tensor([0, 1, 1, 0, 1, 0])
    results = Flip().apply(torch.from_numpy(images), view, NONE).numpy()
    assert results.dtype == dtype
    for image, mirrored, result in zip(images, view, results, strict=True):
        np.testing.assert_array_equal(result, image[..., ::-1] if mirrored else image)
    assert (Flip().count, Flip().plain, Flip().name) == (2, 0, "flips")


@settings(max_examples=25, deadline=None)
@given(
    fill=st.sampled_from(list(NUMPY_MODE)),
    padding=st.integers(1, 4),
    extra=st.tuples(*[st.integers(1, 4)] * 2),
    channels=st.integers(1, 3),
    dtype=st.sampled_from([np.uint8, np.float32, np.float64]),
)
def test_every_crop_is_one_of_the_padded_image(fill, padding, extra, channels, dtype):
    crop = Crop(padding, fill)
    height, width = padding + extra[0], padding + extra[1]
    rng = np.random.default_rng(padding)
    images = rng.integers(1, 255, (crop.count, channels, height, width)).astype(dtype)
    results = crop.apply(torch.from_numpy(images), torch.arange(crop.count), NONE).numpy()
    assert results.dtype == dtype
    padded = np.pad(images, [(0, 0)] * 2 + [(padding, padding)] * 2, mode=NUMPY_MODE[fill])
    side = 2 * padding + 1
    for view in range(crop.count):
        top, left = 2 * padding - view // side, 2 * padding - view % side
        np.testing.assert_array_equal(
            results[view], padded[view, :, top : top + height, left : left + width]
        )


def rolled(image, down, right):
    """Roll an image, then clear what came in over its edge."""
    height, width = image.shape[-2:]
    rows, columns = np.arange(height) - down, np.arange(width) - right
    inside_rows = (rows >= 0) & (rows < height)
    inside_columns = (columns >= 0) & (columns < width)
    inside = inside_rows[:, None] & inside_columns[None, :]
    moved = np.roll(image, (down, right), axis=(-2, -1))
    return np.where(inside, moved, 0).astype(image.dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(("channels", "size"), [(1, (7, 5)), (3, (4, 9)), (2, (6, 6)), (1, (3, 3))])
@pytest.mark.parametrize("pixels", [1, 2])
def test_every_shift_is_a_roll_with_zeros(dtype, channels, size, pixels):
    shift, side = Shift(pixels), 2 * pixels + 1
    images = np.random.default_rng(0).integers(1, 255, (side**2, channels, *size)).astype(dtype)
    results = shift.apply(torch.from_numpy(images), torch.arange(side**2), NONE)
    assert results.dtype == torch.from_numpy(images).dtype
    for view in range(side**2):
        expected = rolled(images[view], view // side - pixels, view % side - pixels)
        np.testing.assert_array_equal(results[view].numpy(), expected)


def test_one_image_shows_all_its_views():
    image = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    down, right = Shift(1).apply(image.expand(2, 1, 3, 3), torch.tensor([7, 5]), NONE)
    assert down[0].tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert right[0].tolist() == [[0, 1, 2], [0, 4, 5], [0, 7, 8]]


def test_a_shift_is_a_crop_with_zeros():
    images = torch.rand(81, 2, 6, 7)
    assert torch.equal(
        Shift(4).apply(images, torch.arange(81), NONE),
        Crop(4).apply(images, torch.arange(81), NONE),
    )


def test_names_and_counts():
    assert (NoViews().count, NoViews().plain, NoViews().name) == (1, 0, "none")
    assert (Shift().count, Shift().plain, Shift().name) == (25, 12, "shifts of 2")
    assert (Crop().count, Crop().plain, Crop().name) == (81, 40, "crops with padding 4")
    assert Crop(1, "reflect").name == "crops with padding 1 (reflect)"


@pytest.mark.parametrize("padding", [0, -1, 65, 1.5, True, "2", None])
def test_a_bad_padding_is_named(padding):
    with pytest.raises(ConfigError, match=r"views\.padding=.*from 1 to 64"):
        Crop(padding)


@pytest.mark.parametrize("pixels", [0, -1, 65, 1.5, 2.0, True, "2", None])
def test_bad_pixels_are_named(pixels):
    with pytest.raises(ConfigError, match=r"views\.pixels=.*from 1 to 64"):
        Shift(pixels)


@pytest.mark.parametrize("fill", ["zero", None, 0])
def test_a_bad_fill_is_named(fill):
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
    with pytest.raises(ConfigError, match=f"images of {size[0]} x {size[1]} pixels"):
        views.apply(torch.zeros(1, 1, *size), plain, NONE)
    views.apply(torch.zeros(1, 1, 5, 5), plain, NONE)
