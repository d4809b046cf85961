"""The runtime of bundles: image files as models see them, and the files in folders."""

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from support.bundles import images
from support.image_files import png_file

from limbeck._base.runtime.bundle import Bundle
from limbeck._base.runtime.errors import InputError
from limbeck._base.runtime.folders import files_below
from limbeck._base.runtime.images import decode, decode_with_digest, largest_box, value_limits
from limbeck._base.runtime.value_range import common_range
from limbeck.data.images.decoding import Decoding, read_images

SIZES = [16, 24, 28, 32, 48, 64, 96, 112, 128, 160, 176, 192]
SIZES += [224, 240, 256, 260, 288, 299, 300, 320, 331, 384, 448, 512]
"""Usual sizes of the inputs of networks."""


# Images -------------------------------------------------------------------------------------------


def test_images_of_any_kind_become_the_same_pixels(shared_bundle, tmp_path):
    grey = images(1, 7)[0, 0]
    image = Image.fromarray(grey)
    kinds = {
        "grey.png": image,
        "rgb.png": image.convert("RGB"),
        "rgba.png": image.convert("RGBA"),
        "la.png": image.convert("LA"),
        "palette.png": image.convert("P"),
        "bmp.bmp": image,
        "tiff.tif": image,
        "sixteen.png": Image.fromarray(grey.astype(np.uint16) * 257),
    }
    bundle = Bundle(shared_bundle)
    for name, picture in kinds.items():
        picture.save(tmp_path / name)
        pixels = bundle.array(tmp_path / name)
        assert pixels.dtype == np.uint8
        tolerance = 1 if name == "palette.png" else 0
        assert np.abs(pixels[0].astype(int) - grey).max() <= tolerance, name
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter clockwise to be upright
    image.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(bundle.array(tmp_path / "turned.png")[0], grey)


def test_another_size_is_resized(shared_bundle, tmp_path):
    ramp = (np.arange(48)[:, None] * 2 + np.arange(40) * 3).astype(np.uint8)  # 4 pixels for each
    Image.fromarray(np.pad(ramp, ((0, 0), (17, 17)))).save(tmp_path / "large.png")
    pixels = Bundle(shared_bundle).array(tmp_path / "large.png")[0].astype(int)
    assert pixels.shape == (12, 10)
    difference = np.abs(pixels - ramp.reshape(12, 4, 10, 4).mean((1, 3)))
    assert difference[1:-1, 1:-1].max() <= 1
    Image.new("L", (1, 1), 7).save(tmp_path / "dot.png")
    assert (Bundle(shared_bundle).array(tmp_path / "dot.png") == 7).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_those_of_training(tmp_path, channels):
    pixels = np.random.default_rng(3).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    settings = {"channels": channels, "crop_border": True}
    own = decode(tmp_path / "a.png", size=(16, 16), **settings)
    trained_on = read_images([tmp_path / "a.png"], Decoding(size=16, **settings))[0].numpy()
    assert np.array_equal(own, trained_on)
    assert own.flags["C_CONTIGUOUS"]


def test_inverted_images(shared_bundle, tmp_path):
    grey = images(1, 7)[0, 0]
    Image.fromarray(255 - grey).save(tmp_path / "dark.png")
    pixels = Bundle(shared_bundle).array(tmp_path / "dark.png", invert=True)
    assert np.array_equal(pixels[0], grey)


def test_a_picture_error_is_one_line(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(InputError) as error:
        decode(tmp_path / "a.png", size=(4, 4), channels=1)
    assert "\n" not in str(error.value)


# Boxes --------------------------------------------------------------------------------------------


def assert_inside(image_size, size):
    """The box is inside the image, centred, and has the aspect ratio of ``size``."""
    width, height = image_size
    left, top, right, bottom = largest_box(image_size, size)
    assert 0 <= left < right <= width, image_size
    assert 0 <= top < bottom <= height, image_size
    is_centred = abs(left + right - width) < 1e-9 and abs(top + bottom - height) < 1e-9
    has_ratio = abs((right - left) * size[0] - (bottom - top) * size[1]) < 1e-6
    assert is_centred, image_size
    assert has_ratio, image_size


def test_boxes_are_inside_images_of_every_size():
    rounded_outside = 0
    for size in SIZES:
        for side in range(1, 6001):
            left, top, right, bottom = largest_box((side, side + 1), (size, size))
            is_inside = 0 <= left < right <= side and 0 <= top < bottom <= side + 1
            assert is_inside, (side, size)
            rounded_outside += side - side / size * size < 0
    assert rounded_outside > 1000, "otherwise nothing is tested"


def test_boxes_of_odd_aspect_ratios_are_inside():
    random = np.random.default_rng(0)
    for _ in range(2000):
        width, height, rows, columns = random.integers(1, 6001, 4).tolist()
        assert_inside((width, height), (rows % 600 + 1, columns % 600 + 1))
        assert_inside((width, 1 + height % 3), (rows % 600 + 1, columns % 600 + 1))


@pytest.mark.parametrize(
    ("size", "sides"), [(224, (29, 225, 450)), (299, (11, 175, 349)), (240, (31, 248, 481))]
)
def test_images_whose_box_would_be_rounded_outside_are_read(tmp_path, size, sides):
    for side in sides:
        assert side - side / size * size < 0, "the box must be larger than the image"
        Image.new("L", (side, side + 7), 9).save(tmp_path / "wide.bmp")
        Image.new("L", (side + 7, side), 9).save(tmp_path / "high.bmp")
        for name in ("wide", "high"):
            pixels = decode(tmp_path / f"{name}.bmp", size=(size, size), channels=1)
            assert (pixels == 9).all()


# Values of more than 8 bits -----------------------------------------------------------------------


def saved(folder, values, name="a.tif"):
    Image.fromarray(values).save(folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.uint16([[0, 4095]]), (0, 4095)),
        (np.uint16([[0, 300]]), (0, 511)),
        (np.uint16([[0, 40_000]]), (0, 65_535)),
        (np.int32([[0, 200]]), (0, 255)),
        (np.int32([[0, 1]]), (0, 1)),
        (np.int32([[0, 70_000]]), (0, 131_071)),
        (np.int32([[-1024, 3071]]), (-1024, 3071)),
        (np.float32([[0, 1]]), (0, 1)),
        (np.float32([[0, 255]]), (0, 255)),
        (np.float32([[0.25, 10.5]]), (0, 10.5)),
        (np.float32([[-0.5, 0.5]]), (-0.5, 0.5)),
    ],
)
def test_the_range_of_an_image(tmp_path, values, expected):
    file = saved(tmp_path, values)
    assert common_range([value_limits(file)]) == expected
    low, high = expected
    pixels = decode(file, size=values.shape, channels=1)[0]
    np.testing.assert_array_equal(pixels, np.rint((values - low) / (high - low) * 255))


def test_the_range_of_a_set_is_that_of_its_deep_images(tmp_path):
    files = [
        saved(tmp_path, np.uint16([[100, 900]]), "dark.tif"),
        saved(tmp_path, np.uint16([[0, 2100]]), "bright.png"),
        saved(tmp_path, np.uint8([[0, 255]]), "8 bits.png"),
    ]
    limits = [value_limits(file) for file in (*files, tmp_path / "missing.png")]
    assert limits[2:] == [None, None]
    value_range = common_range(limits)
    assert value_range == (0, 4095)
    settings = {"size": (1, 2), "channels": 1, "value_range": value_range}
    pixels = [decode(file, **settings).ravel().tolist() for file in files]
    assert pixels == [[6, 56], [0, 131], [0, 255]]


def test_values_far_outside_the_range_are_refused(tmp_path):
    file = saved(tmp_path, np.uint16([[0, 60_000]]))
    with pytest.raises(InputError, match=r"values from 0 to 60000; expected 0 to 4095"):
        decode(file, size=(1, 2), channels=1, value_range=(0, 4095))


def test_digests_of_deep_images_do_not_depend_on_the_set(tmp_path):
    file = saved(tmp_path, np.uint16([[0, 300, 4000]]))
    settings = {"size": (1, 3), "channels": 1}
    pairs = [
        decode_with_digest(file, **settings, value_range=value_range)
        for value_range in (None, (0, 4095), (0, 65_535))
    ]
    assert len({digest for _, digest in pairs}) == 1
    assert [pixels.ravel().tolist() for pixels, _ in pairs[1:]] == [[0, 19, 249], [0, 1, 16]]


@pytest.mark.parametrize("orientation", [3, 6])  # Pillow confuses height and width of the second
def test_deep_images_are_put_upright(tmp_path, orientation):
    upright = np.arange(0, 6000, 1000).reshape(2, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(np.rot90(upright, {3: 2, 6: 1}[orientation]))
    Image.fromarray(stored.astype(np.uint16)).save(tmp_path / "a.tif", exif=exif)
    pixels = decode(tmp_path / "a.tif", size=(2, 3), channels=1)[0]
    np.testing.assert_array_equal(pixels, np.rint(upright / 8191 * 255))


def test_a_dark_colour_image_of_16_bits_is_refused(tmp_path):
    """Pillow reads the upper 8 bits, so values of 12 bits would have 16 levels."""
    for high, file in ((15, "dark"), (16, "bright"), (0, "black")):
        deep = png(np.arange(3 * 4).reshape(1, 4, 3) * 0 + high * 256 + 255 * (high > 0))
        (tmp_path / f"{file}.png").write_bytes(deep)
    settings = {"size": (1, 4), "channels": 3}
    with pytest.raises(InputError, match=r"values up to 4095.*convert it to 8 bits"):
        decode(tmp_path / "dark.png", **settings)
    assert (decode(tmp_path / "bright.png", **settings) == 16).all()
    assert not decode(tmp_path / "black.png", **settings).any()


def png(values):
    """A PNG file of colour with 16 bits per channel, which Pillow cannot write."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png_file(width, height, bits=16, colour=2, content=rows)


# Modes and metadata -------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_lab_images_are_read(tmp_path, channels):
    Image.new("LAB", (8, 8), (200, 128, 128)).save(tmp_path / "lab.tif")
    pixels = decode(tmp_path / "lab.tif", size=(8, 8), channels=channels)
    assert 150 < pixels.mean() < 230


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage!", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
def test_damaged_exif_data_costs_no_image(tmp_path, exif):
    image = Image.new("RGB", (8, 8), (10, 200, 30))
    image.save(tmp_path / "a.jpg", exif=exif)
    pixels = decode(tmp_path / "a.jpg", size=(8, 8), channels=3)
    np.testing.assert_allclose(pixels.mean((1, 2)), (10, 200, 30), atol=3)


def test_large_metadata_costs_no_image(tmp_path):
    metadata = PngImagePlugin.PngInfo()
    metadata.add_text("profile", "x" * (3 << 20), zip=True)
    Image.new("L", (8, 8), 9).save(tmp_path / "a.png", pnginfo=metadata)
    assert (decode(tmp_path / "a.png", size=(8, 8), channels=1) == 9).all()


# Folders ------------------------------------------------------------------------------------------


def test_links_are_followed_but_not_in_circles(tmp_path):
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "2.png").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.png").touch()
    (folder / "a").symlink_to(tmp_path / "elsewhere")
    (folder / "b" / "up").symlink_to(folder)
    (folder / "b" / "dangling.png").symlink_to("nowhere.png")
    (folder / "c.png").touch()
    for name in (".hidden", "Thumbs.db", "__MACOSX"):
        (folder / name).touch()
    names = [file.relative_to(folder).as_posix() for file in files_below(folder)]
    assert names == ["a/1.png", "b/2.png", "b/dangling.png", "c.png"]


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_folder_that_cannot_be_read_is_named(open_folder, mode):
    locked = open_folder / "locked"
    (locked / "inside").mkdir(parents=True)
    locked.chmod(mode)
    with pytest.raises(InputError, match=r"locked \(the folder cannot be read: Permission denied"):
        files_below(open_folder)
