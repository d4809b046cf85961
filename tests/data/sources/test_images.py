"""Unlabelled images from an array, an idx file or a folder."""

import gzip

import numpy as np
import pytest
import torch
from PIL import Image
from support.idx_files import idx

from limbeck._base.errors import ConfigError, DataError
from limbeck.data import Dataset, ImagesFrom

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 6, 6)).astype(np.uint8)


def read(path, shape=(1, 6, 6), **options):
    source = ImagesFrom(path, **options)
    return source.make(shape=shape, classes=3, teacher=None, progress=None)


def test_an_array_an_idx_file_and_a_folder_give_the_same_images(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    (tmp_path / "images.gz").write_bytes(gzip.compress(idx(IMAGES)))
    (tmp_path / "folder" / "deeper").mkdir(parents=True)
    for number, image in enumerate(IMAGES):
        folder = tmp_path / "folder" / "deeper" if number == 0 else tmp_path / "folder"
        Image.fromarray(image).save(folder / f"z{number}.png")
    for name in ("images.npy", "images.gz", "folder"):
        images = read(tmp_path / name)
        assert images.dtype == torch.uint8
        assert torch.equal(images, torch.from_numpy(IMAGES)[:, None]), name
        assert torch.equal(read(tmp_path / name, samples=3), images[:3])
        assert len(read(tmp_path / name, samples=99)) == 7


def test_image_files_are_prepared_like_those_of_the_dataset(tmp_path):
    (tmp_path / "in").mkdir()
    values = np.zeros((10, 12), np.uint16)
    values[2:8, 3:9] = IMAGES[0].astype(np.uint16) * 8 + 1000
    Image.fromarray(values).save(tmp_path / "in" / "a.tif")
    data = Dataset.from_arrays(IMAGES, [0, 1, 2] * 2 + [0], IMAGES[:2] // 2, [0, 1])
    data.crop_border, data.value_range = True, (0, 16_383)
    source = ImagesFrom(tmp_path / "in")
    assert source.for_data(data) == source
    images = source.for_data(data).make(shape=(1, 6, 6), classes=3, teacher=None, progress=None)
    np.testing.assert_array_equal(images[0, 0], np.rint(values[2:8, 3:9] / 16_383 * 255))


def test_an_array_may_have_the_shape_of_the_data_itself(tmp_path):
    np.save(tmp_path / "flat.npy", IMAGES.reshape(7, 36))
    assert read(tmp_path / "flat.npy", shape=(36,)).shape == (7, 36)
    np.save(tmp_path / "rgb.npy", np.stack([IMAGES] * 3, 1))
    assert read(tmp_path / "rgb.npy", shape=(3, 6, 6)).shape == (7, 3, 6, 6)


def test_a_small_source_has_the_first_images():
    source = ImagesFrom("x.npy")
    assert source.name == "images from x.npy"
    assert source.small(5) == ImagesFrom("x.npy", samples=5)
    assert ImagesFrom("x.npy", samples=3).small(5).samples == 3


def test_unsuitable_files_are_named(tmp_path):
    np.save(tmp_path / "wide.npy", IMAGES[:, :, :4])
    np.save(tmp_path / "float.npy", IMAGES.astype(float))
    np.save(tmp_path / "none.npy", IMAGES[:0])
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "torn.npy").write_bytes(b"torn")
    (tmp_path / "empty").mkdir()
    for name, message in {
        "wide.npy": r"shape \[7, 1, 6, 4\]; expected at least one input of shape \[1, 6, 6\]",
        "float.npy": "contains float64; expected an array of uint8",
        "none.npy": "at least one input",
        "object.npy": "cannot be read as a NumPy array",
        "torn.npy": "cannot be read as a NumPy array",
        "missing.npy": "cannot be read",
        "missing": "cannot be read",
        "empty": "is empty; expected images",
    }.items():
        with pytest.raises(DataError, match=message):
            read(tmp_path / name)
    Image.fromarray(IMAGES[0]).save(tmp_path / "empty" / "one.ppm")
    (tmp_path / "empty" / "._one.ppm").write_bytes(b"left by a file system")
    assert read(tmp_path / "empty").tolist() == IMAGES[:1, None].tolist()
    with pytest.raises(DataError, match="square images of 1 or 3 channels"):
        read(tmp_path / "empty", shape=(36,))
    with pytest.raises(ConfigError, match=r"transfer\.source\.samples=0"):
        ImagesFrom("x.npy", samples=0)
