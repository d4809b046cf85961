import gzip

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck._base.errors import ConfigError, DataError
from limbeck.data import ImagesFrom
from limbeck.data.sources.base import as_pool

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 6, 6)).astype(np.uint8)


def made(path, shape=(1, 6, 6), **options):
    return ImagesFrom(path, **options).make(shape=shape, classes=3, teacher=None, progress=None)


def test_an_array_an_idx_file_and_a_folder_give_the_same_images(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in IMAGES.shape)
    (tmp_path / "images.gz").write_bytes(gzip.compress(header + IMAGES.tobytes()))
    (tmp_path / "folder" / "deeper").mkdir(parents=True)
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(
            tmp_path / "folder" / ("deeper" if number == 0 else "") / f"z{number}.png"
        )
    for name in ("images.npy", "images.gz", "folder"):
        found = made(tmp_path / name)
        assert found.dtype == torch.uint8
        assert torch.equal(found, torch.from_numpy(IMAGES)[:, None]), name
        assert torch.equal(made(tmp_path / name, samples=3), found[:3])
        assert len(made(tmp_path / name, samples=99)) == 7


def test_an_array_may_have_the_shape_of_the_data_itself(tmp_path):
    np.save(tmp_path / "flat.npy", IMAGES.reshape(7, 36))
    assert made(tmp_path / "flat.npy", shape=(36,)).shape == (7, 36)
    np.save(tmp_path / "rgb.npy", np.stack([IMAGES] * 3, 1))
    assert made(tmp_path / "rgb.npy", shape=(3, 6, 6)).shape == (7, 3, 6, 6)


def test_small_and_equal():
    source = ImagesFrom("x.npy")
    assert source.name == "images from x.npy"
    assert source.small(5) == ImagesFrom("x.npy", samples=5)
    assert ImagesFrom("x.npy", samples=3).small(5).samples == 3


def test_files_that_will_not_do(tmp_path):
    np.save(tmp_path / "wide.npy", IMAGES[:, :, :4])
    np.save(tmp_path / "float.npy", IMAGES.astype(float))
    np.save(tmp_path / "none.npy", IMAGES[:0])
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "torn.npy").write_bytes(b"torn")
    (tmp_path / "empty").mkdir()
    for name, message in {
        "wide.npy": r"shape \[7, 1, 6, 4\]; at least one input of shape \[1, 6, 6\]",
        "float.npy": "holds float64; an array of uint8",
        "none.npy": "at least one input",
        "object.npy": "cannot be read as a NumPy array",
        "torn.npy": "cannot be read as a NumPy array",
        "missing.npy": "cannot be read",
        "missing": "cannot be read",
        "empty": "is empty; it should hold images",
    }.items():
        with pytest.raises(DataError, match=message):
            made(tmp_path / name)
    Image.fromarray(IMAGES[0]).save(tmp_path / "empty" / "one.ppm")
    (tmp_path / "empty" / "._one.ppm").write_bytes(b"left by a file system")
    assert made(tmp_path / "empty").tolist() == IMAGES[:1, None].tolist()
    with pytest.raises(DataError, match="square images of 1 or 3 channels"):
        made(tmp_path / "empty", shape=(36,))
    with pytest.raises(ConfigError, match=r"transfer\.source\.samples=0"):
        ImagesFrom("x.npy", samples=0)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((3, 2)), "made ndarray"),
        (torch.zeros(3, 4), r"made shape \[3, 4\] torch.float32; \[N, 2\], floats, was expected"),
        (torch.zeros(0, 2), "made shape"),
        (torch.zeros(3, 2, dtype=torch.uint8), "uint8"),
        (torch.full((3, 2), float("nan")), "infinite or not a number"),
    ],
)
def test_what_a_source_may_not_make(inputs, message):
    with pytest.raises(ConfigError, match=message):
        as_pool(ImagesFrom("x"), inputs, torch.zeros(5, 2))


def test_a_pool_is_unlabelled_and_of_a_dtype_that_students_read():
    pool = as_pool(
        ImagesFrom("x"), torch.ones(3, 2, dtype=torch.float64), torch.zeros(5, 2, dtype=torch.uint8)
    )
    assert pool.inputs.dtype == torch.float32
    assert pool.labels.tolist() == [-100] * 3
