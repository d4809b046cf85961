"""Splits follow from the content of the images."""

import warnings

import numpy as np
import pytest
from PIL import Image
from support.image_files import SIZE, images_of, picture, splits_of, write_folder

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck.data import image_folder
from limbeck.data.images.decoding import Decoding, decode
from limbeck.data.randomness import split_position


def images_by_split(root, **settings):
    data = image_folder(root, **(SIZE | settings))
    return {part: set(images_of(split)) for part, split in splits_of(data).items()}


def test_splits_have_their_shares(tmp_path):
    data = image_folder(write_folder(tmp_path / "in", count=100), **SIZE, test=0.3, val=0.2)
    shares = [len(split) / 200 for split in splits_of(data).values()]
    assert shares == pytest.approx([0.5, 0.2, 0.3], abs=0.1)


def test_copies_of_an_image_fall_into_one_split(tmp_path):
    root = write_folder(tmp_path / "in")
    for number in range(30):  # another format, another name, another class
        Image.open(root / "cat" / f"{number}.png").save(root / "dog" / f"copy {number}.bmp")
    pair = r"cat/\d+\.png = dog/copy \d+\.bmp \(cat and dog\)"
    with pytest.warns(LimbeckWarning, match=rf"30 images have two labels.*: {pair}.*20 more"):
        data = image_folder(root, **SIZE, split_seed=3)
    images = [set(images_of(split)) for split in splits_of(data).values()]
    assert sum(map(len, images)) == 60
    assert sum(len(split) for split in splits_of(data).values()) == 90


def test_images_stay_in_their_split_when_others_join(tmp_path):
    root = write_folder(tmp_path / "in")
    before = images_by_split(root)
    for number in range(40):
        picture([9, number]).save(root / "dog" / f"new {number}.png")
    after = images_by_split(root)
    assert all(before[part] < after[part] for part in before)


def test_images_stay_in_their_split_in_every_size(tmp_path):
    root = write_folder(tmp_path / "in")
    for number, file in enumerate(sorted(root.rglob("*.png"))):  # each of another brightness
        Image.new("RGB", (8, 8), (40 + 3 * number,) * 3).save(file)

    def brightness_by_split(settings):
        data = image_folder(root, **(SIZE | settings))
        brightness = {}
        for part, split in splits_of(data).items():
            brightness[part] = sorted(split.inputs.flatten(1)[:, 0].tolist())
        return brightness

    expected = brightness_by_split({})
    assert all(expected.values())
    for other in (
        {"size": 3},
        {"channels": 1},
        {"crop_border": True},
        {"size": 9, "channels": 1},
    ):
        assert brightness_by_split(other) == expected


def test_too_few_images_for_a_split(tmp_path):
    root = write_folder(tmp_path / "in", count=2)
    with pytest.raises(
        DataError,
        match=r"none of the 4 images is left for (test|val|train)\. Add images",
    ):
        image_folder(root, **SIZE, val=0.001)


def test_a_class_that_training_lacks_is_named(tmp_path):
    root = write_folder(tmp_path / "in")
    file = root / "bird" / "a.png"
    file.parent.mkdir()
    for number in range(200):  # until an image falls into the test split
        picture(number).save(file)
        if split_position(decode(file, Decoding(**SIZE))[1], 0) < 0.2:
            break
    with pytest.raises(DataError, match="test has images of bird, but training has none"):
        image_folder(root, **SIZE)


def test_a_class_that_the_test_lacks_is_named(tmp_path):
    root = write_folder(tmp_path / "in")
    file = root / "bird" / "a.png"
    file.parent.mkdir()
    for number in range(200):  # until an image falls into the training split
        picture(number).save(file)
        if split_position(decode(file, Decoding(**SIZE))[1], 0) > 0.5:
            break
    with pytest.warns(LimbeckWarning, match="the test split has no images of bird"):
        image_folder(root, **SIZE)


def test_statistics_are_those_of_the_pixels(tmp_path):
    data = image_folder(write_folder(tmp_path / "in"), **SIZE)
    shares = data.train.inputs.double().div(255).transpose(0, 1).flatten(1)
    mean, std = data.statistics
    assert mean == pytest.approx(shares.mean(1).tolist(), rel=1e-12)
    assert std == pytest.approx(shares.std(1).tolist(), rel=1e-12)


def write_deep(root, high, dtype):
    """Two classes of random images whose values reach ``high``."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(20):
            values = random.integers(0, high, (6, 6), endpoint=True)
            values[0, 0] = high
            Image.fromarray(values.astype(dtype)).save(root / name / f"{number}.tif")
    return root


@pytest.mark.parametrize(
    ("high", "dtype", "limit"),
    [(4000, np.uint16, 4095), (255, np.int32, 255), (250, np.float32, 255), (100, np.uint16, 255)],
)
def test_the_range_of_the_files_becomes_0_to_255_and_is_reported(tmp_path, high, dtype, limit):
    root = write_deep(tmp_path / "in", high, dtype)
    with pytest.warns(LimbeckWarning, match=rf"values from 0 to {limit} become 0 to 255"):
        data = image_folder(root, size=6, channels=1)
    assert data.value_range == (0, limit)
    assert data.train.inputs.max() == round(high / limit * 255)
    assert len(data.train.inputs.unique()) > 80
    with pytest.warns(LimbeckWarning, match="become 0 to 255"):  # from the cache too
        assert image_folder(root, size=6, channels=1).value_range == (0, limit)


def test_nothing_is_reported_of_images_of_8_or_16_bits(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        root = write_deep(tmp_path / "deep", 60_000, np.uint16)
        assert image_folder(root, size=6, channels=1).value_range == (0, 65_535)
        assert image_folder(write_folder(tmp_path / "in"), **SIZE).value_range is None


def test_the_range_of_other_images_moves_no_image_to_another_split(tmp_path):
    root = write_deep(tmp_path / "in", 4000, np.uint16)
    positions = {path: decode(path, Decoding(**SIZE))[1] for path in sorted(root.rglob("*.tif"))}
    for path, digest in positions.items():
        assert decode(path, Decoding(**SIZE, value_range=(0, 65_535)))[1] == digest
    assert len(set(positions.values())) == 40
