"""Splits follow from the content of the images."""

import pytest
from PIL import Image
from support.image_files import SIZE, images_of, picture, splits_of, write_folder

from limbeck._base.errors import DataError
from limbeck.data import image_folder
from limbeck.data.images.decoding import decode
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
    data = image_folder(root, **SIZE, split_seed=3)
    images = images_by_split(root, split_seed=3)
    assert sum(map(len, images.values())) == 60
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
        if split_position(decode(file, **SIZE)[1], 0) < 0.2:
            break
    with pytest.raises(DataError, match="test has images of bird, but training has none"):
        image_folder(root, **SIZE)


def test_statistics_are_those_of_the_pixels(tmp_path):
    data = image_folder(write_folder(tmp_path / "in"), **SIZE)
    shares = data.train.inputs.double().div(255).transpose(0, 1).flatten(1)
    mean, std = data.statistics
    assert mean == pytest.approx(shares.mean(1).tolist(), rel=1e-12)
    assert std == pytest.approx(shares.std(1).tolist(), rel=1e-12)
