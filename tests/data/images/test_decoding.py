import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.image_files import png_file

from limbeck._base.errors import ConfigError, DataError
from limbeck.data.images import decoding
from limbeck.data.images.decoding import Decoding, read_images


def pixels(high=8, wide=8, channels=3, seed=0):
    random = np.random.default_rng(seed)
    array = random.integers(0, 256, (high, wide, channels), dtype=np.uint8)
    return array[..., 0] if channels == 1 else array


def save(image, file, **options):
    image.save(file, **options)
    return file


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
def test_pixels_of_the_right_size_are_kept(tmp_path, suffix):
    array = pixels()
    lossless = {"lossless": True} if suffix == "webp" else {}
    file = save(Image.fromarray(array), tmp_path / f"image.{suffix}", **lossless)
    images = read_images([file, str(file)], Decoding(size=8, channels=3))
    assert images.dtype == torch.uint8
    np.testing.assert_array_equal(images[1].numpy(), array.transpose(2, 0, 1))


def test_the_content_tells_the_format_not_the_name(tmp_path):
    file = save(Image.fromarray(pixels()), tmp_path / "image.jpg", format="png")
    np.testing.assert_array_equal(
        read_images([file], Decoding(size=8, channels=3))[0], pixels().transpose(2, 0, 1)
    )


def test_grey_becomes_colour_and_colour_grey(tmp_path):
    grey = save(Image.fromarray(pixels(channels=1)), tmp_path / "grey.png")
    colour = save(Image.fromarray(pixels()), tmp_path / "colour.png")
    assert torch.equal(
        read_images([grey], Decoding(size=8, channels=3)),
        read_images([grey], Decoding(size=8, channels=1)).expand(1, 3, 8, 8),
    )
    weights = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    np.testing.assert_allclose(
        read_images([colour], Decoding(size=8, channels=1))[0, 0], pixels() @ weights, atol=1
    )


def test_sixteen_bits_are_scaled_by_their_range(tmp_path):
    values = np.array([[0, 128, 257], [32768, 65278, 65535], [1, 300, 4095]], np.uint16)
    png, tif = (
        save(Image.fromarray(values), tmp_path / f"deep.{suffix}") for suffix in ("png", "tif")
    )
    wide = save(Image.fromarray(values.astype(np.int32)), tmp_path / "wide.tif")
    for file in (png, tif, wide):
        np.testing.assert_array_equal(
            read_images([file], Decoding(size=3, channels=1))[0, 0], np.round(values / 257)
        )


def test_palettes_and_transparency_on_black(tmp_path):
    colours = Image.fromarray(pixels() // 86 * 85)
    palette = save(colours.convert("P", palette=Image.Palette.ADAPTIVE), tmp_path / "palette.png")
    expected = np.asarray(Image.open(palette).convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_images([palette], Decoding(size=8, channels=3))[0], expected)
    rgba = pixels(channels=4)
    rgba[:4, :, 3], rgba[4:, :, 3] = 0, 255
    file = save(Image.fromarray(rgba), tmp_path / "rgba.png")
    image = read_images([file], Decoding(size=8, channels=3))[0]
    assert not image[:, :4].any()
    np.testing.assert_array_equal(image[:, 4:], rgba[4:, :, :3].transpose(2, 0, 1))
    bits = save(Image.fromarray(pixels(channels=1) > 128), tmp_path / "bits.png")
    assert set(read_images([bits], Decoding(size=8, channels=1)).unique().tolist()) == {0, 255}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_put_upright(tmp_path, orientation):
    """Orientation n is what a camera notes that stores the image turned back by n."""
    upright = pixels()
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = save(Image.fromarray(np.ascontiguousarray(stored)), tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(
        read_images([file], Decoding(size=8, channels=3))[0], upright.transpose(2, 0, 1)
    )
    # Pillow confuses height and width of a TIFF file that it opens itself.
    grey = np.ascontiguousarray(stored[..., 0])
    file = save(Image.fromarray(grey), tmp_path / "photo.tif", exif=exif)
    np.testing.assert_array_equal(
        read_images([file], Decoding(size=8, channels=1))[0, 0], upright[..., 0]
    )


@pytest.mark.parametrize(("high", "wide"), [(8, 20), (21, 8)])
def test_the_middle_is_cut_out(tmp_path, high, wide):
    array = pixels(high, wide)
    file = save(Image.fromarray(array), tmp_path / "a.png")
    image = read_images([file], Decoding(size=8, channels=3))[0].numpy()
    top, left = (high - 8) // 2, (wide - 8) // 2
    if high == 8:
        np.testing.assert_array_equal(
            image, array[top : top + 8, left : left + 8].transpose(2, 0, 1)
        )
    else:  # half a pixel off: the mean of two neighbours
        between = (array[6:14].astype(float) + array[7:15]) / 2
        np.testing.assert_allclose(image, between.transpose(2, 0, 1), atol=1)


def test_smaller_images_are_means(tmp_path):
    array = np.kron(pixels(4, 4), np.ones((16, 16, 1), np.uint8))
    file = save(Image.fromarray(array), tmp_path / "a.png")
    image = read_images([file], Decoding(size=1, channels=3))
    np.testing.assert_allclose(image[0, :, 0, 0], array.mean((0, 1)), atol=40)


def test_a_black_border_is_cut_off(tmp_path):
    array = np.random.default_rng(0).integers(
        0, 6, (60, 90, 3), dtype=np.uint8
    )  # noise of a sensor
    array[10:50, 20:60] = np.random.default_rng(1).integers(50, 256, (40, 40, 3))
    array[0, 0] = 255  # one bright pixel is no picture
    file = save(Image.fromarray(array), tmp_path / "a.png")
    image = read_images([file], Decoding(size=40, channels=3, crop_border=True))[0]
    np.testing.assert_array_equal(image, array[10:50, 20:60].transpose(2, 0, 1))
    black = save(Image.new("RGB", (30, 30)), tmp_path / "black.png")
    assert not read_images([black], Decoding(size=8, channels=3, crop_border=True)).any()


def good_png():
    content = io.BytesIO()
    Image.fromarray(pixels(32, 32)).save(content, "png")
    return content.getvalue()


BAD = {
    "empty": (b"", "not an image of a known format: PNG, JPEG"),
    "text": (b"id,label\n", "not an image of a known format"),
    "postscript": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "not an image of a known format",
    ),
    "truncated": (good_png()[:600], "image file is truncated"),
    "bomb": (png_file(60_000, 60_000), "more than 134,217,728 pixels"),
    "half a bomb": (png_file(12_000, 12_000), "more than 134,217,728 pixels"),
}


@pytest.mark.parametrize("kind", BAD)
def test_unreadable_files_are_named(tmp_path, kind):
    content, message = BAD[kind]
    (tmp_path / "bad.png").write_bytes(content)
    file = save(Image.fromarray(pixels()), tmp_path / "good.png")
    with pytest.raises(DataError, match="1 of 2 image files cannot be read") as caught:
        read_images([file, tmp_path / "bad.png"], Decoding(size=8, channels=3))
    assert f"{tmp_path / 'bad.png'} (" in str(caught.value)
    assert message in str(caught.value)
    assert "good.png" not in str(caught.value)


def test_values_that_are_no_numbers_and_missing_files(tmp_path):
    values = np.ones((8, 8), np.float32)
    values[3, 4] = np.nan
    floats = save(Image.fromarray(values), tmp_path / "f.tif")
    (tmp_path / "link.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    missing = [tmp_path / "nowhere.png", tmp_path / "link.png"]
    with pytest.raises(DataError) as caught:
        read_images(
            [floats, *missing, tmp_path, tmp_path / "pipe.png"], Decoding(size=8, channels=3)
        )
    for part in (
        "5 of 5",
        "f.tif (values that are infinite or not a number)",
        "nowhere.png (missing)",
        "link.png (a link to a missing file)",
        "Is a directory",
        "pipe.png (neither a file nor a folder)",
    ):
        assert part in str(caught.value)


def test_ten_bad_files_are_listed_and_the_rest_counted(tmp_path):
    with pytest.raises(
        DataError, match=r"12 of 12 .*0\.png .*9\.png \(missing\); and 2 more\."
    ) as caught:
        read_images([tmp_path / f"{i}.png" for i in range(12)], Decoding(size=8, channels=3))
    assert "10.png" not in str(caught.value)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_damage_is_a_data_error(tmp_path_factory, data):
    good = good_png()
    cut = data.draw(st.integers(0, len(good)))
    content = (
        good[:cut] + data.draw(st.binary(max_size=12)) + good[cut + data.draw(st.integers(0, 6)) :]
    )
    file = tmp_path_factory.getbasetemp() / "damaged.png"
    file.write_bytes(content)
    message = None
    try:
        assert read_images([file], Decoding(size=8, channels=3)).shape == (1, 3, 8, 8)
    except DataError as error:  # any other error is not caught
        message = str(error)
    assert message is None or str(file) in message


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"size": 0}, "data.size=0"),
        ({"size": 2.5}, "data.size=2.5"),
        ({"size": 10**6}, "at most 4096"),
        ({"channels": 2}, "data.channels=2 should be 1"),
        ({"channels": True}, "data.channels=True"),
    ],
)
def test_bad_settings(tmp_path, setting, message):
    with pytest.raises(ConfigError, match=message):
        read_images([tmp_path / "a.png"], Decoding(**({"size": 8, "channels": 3} | setting)))


def test_no_files_at_all():
    with pytest.raises(DataError, match="no image files"):
        read_images([], Decoding(size=8, channels=3))


def test_a_stopped_reader_stops_its_threads(tmp_path, monkeypatch):
    files = [save(Image.fromarray(pixels()), tmp_path / f"{i}.png") for i in range(50)]
    calls = []
    stopped = threading.Event()
    plain = decoding.decode

    def decode(*arguments):
        calls.append(arguments)
        if len(calls) > 1:  # so that the thread cannot read all files before the reader is closed
            assert stopped.wait(30)
        return plain(*arguments)

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait=True, **options):
            super().shutdown(wait=False, **options)
            stopped.set()
            super().shutdown(wait=wait)

    monkeypatch.setattr(decoding, "decode", decode)
    monkeypatch.setattr(decoding, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(decoding, "MAX_AHEAD", 10)
    monkeypatch.setattr(decoding.os, "cpu_count", lambda: 1)
    images = decoding.decode_all(files, Decoding(size=8, channels=3))
    next(images)
    images.close()
    assert len(calls) <= 2


# Random images ------------------------------------------------------------------------------------

SUFFIXES = {
    "1": ("png", "tif", "bmp", "gif", "ppm"),
    "L": ("png", "jpg", "tif", "bmp", "webp", "gif", "pgm"),
    "LA": ("png", "tif"),
    "RGB": ("png", "jpg", "tif", "bmp", "webp", "ppm"),
    "RGBA": ("png", "tif", "webp", "gif"),
    "P": ("png", "gif", "tif", "bmp"),
    "CMYK": ("jpg", "tif"),
    "YCbCr": ("jpg", "tif"),
    "LAB": ("tif",),
    "I;16": ("png", "tif"),
    "I": ("tif",),
    "F": ("tif",),
}
"""Formats of files by the mode of the image."""
DTYPES = {"I;16": np.uint16, "I": np.int32, "F": np.float32}


def random_image(random, mode):
    """An image of random size and pixels, with or without transparency if it is a palette."""
    width, height = np.exp(random.uniform(0, np.log(800), 2)).astype(int)
    if mode in DTYPES:
        values = random.random((height, width)) * random.choice([1, 200, 4000, 60_000])
        return Image.fromarray(values.astype(DTYPES[mode]))
    rgba = Image.fromarray(random.integers(0, 256, (height, width, 4), dtype=np.uint8))
    if mode == "LAB":
        return Image.merge("LAB", rgba.split()[:3])
    return rgba if mode == "RGBA" else rgba.convert("RGB").convert(mode)


@pytest.mark.slow
def test_images_of_random_sizes_modes_and_orientations_are_read(tmp_path):
    random = np.random.default_rng(14)
    files = []
    for number in range(150):
        mode = random.choice(list(SUFFIXES))
        file = tmp_path / f"{number}.{random.choice(SUFFIXES[mode])}"
        exif = Image.Exif()
        exif[0x0112] = int(random.integers(1, 9))
        options = {"transparency": 1} if mode == "P" and random.random() < 0.5 else {}
        files.append(save(random_image(random, mode), file, exif=exif, **options))
    for size in (224, 240, 299):
        images = read_images(files, Decoding(size=size, channels=3, crop_border=size == 224))
        assert len(images) == 150
        assert (images.flatten(1).float().std(1) > 0).float().mean() > 0.8
