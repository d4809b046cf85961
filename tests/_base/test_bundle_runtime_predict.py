"""The runtime of bundles: images as models see them, and tables of predictions."""

import csv
import io
import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.bundles import images, write_bundle

from limbeck._base import bundle_runtime as runtime
from limbeck._base.bundle_runtime import Bundle, InputError, RuntimeFailure
from limbeck.data.images.decoding import read_images


def rows_of(table):
    return list(csv.DictReader(io.StringIO(table)))


def png_header(width, height):
    """A PNG file that announces a size and holds next to nothing."""

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


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
    own = runtime.decode(tmp_path / "a.png", size=(16, 16), **settings)
    trained_on = read_images([tmp_path / "a.png"], size=16, **settings)[0].numpy()
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
        runtime.decode(tmp_path / "a.png", size=(4, 4), channels=1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("values", [np.float32, np.int32])
def test_values_beyond_16_bits_are_refused(tmp_path, values):
    Image.fromarray(np.full((4, 4), 70_000, values)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="expected 8 or 16 bits"):
        runtime.decode(tmp_path / "a.tif", size=(4, 4), channels=1)


# Tables -------------------------------------------------------------------------------------------


def test_bad_images_are_rows_of_the_table(run, shared_bundle, pictures, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "huge.png").write_bytes(png_header(30_000, 30_000))
    (tmp_path / "cut.png").write_bytes((pictures / "0.png").read_bytes()[:60])
    bad = [tmp_path / f"{name}.png" for name in ("text", "empty", "huge", "cut", "missing")]
    files = [pictures / "0.png", *bad, pictures / "1.png"]
    code, out, err = run("predict", shared_bundle, *files)
    assert code == 3
    assert err == "error: 5 of the files cannot be read. See the column error.\n"
    rows = rows_of(out)
    assert [bool(row["label"]) for row in rows] == [True, False, False, False, False, False, True]
    reasons = ("not an image of", "not an image of", "134,217,728 pixels", "", "missing")
    for row, reason in zip(rows[1:6], reasons, strict=True):
        assert reason in row["error"]
        assert row["confidence"] == ""


def test_one_file_twice_is_two_rows(run, shared_bundle, pictures):
    code, out, _ = run("predict", shared_bundle, pictures / "0.png", pictures / "0.png")
    assert code == 0
    first, second = rows_of(out)
    assert first == second


def test_json_lines(run, shared_bundle, pictures, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    target = tmp_path / "out.jsonl"
    files = pictures / "0.png", tmp_path / "text.png"
    options = "--format", "jsonl", "--top", "2", "--out", target
    code, out, _ = run("predict", shared_bundle, *files, *options)
    assert (code, out) == (3, "")
    first, second = (json.loads(line) for line in target.read_text().splitlines())
    assert first["label"] == first["top"][0]["label"]
    assert first["confidence"] >= first["top"][1]["confidence"]
    assert (second["label"], second["confidence"]) == (None, None)
    assert "not an image" in second["error"]


def test_a_table_is_written_whole_or_not_at_all(run, shared_bundle, pictures, tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("precious")
    assert run("predict", shared_bundle, pictures, "--top", "99", "--out", target)[0] == 2
    assert target.read_text() == "precious"
    image = Path(shutil.copy(pictures / "0.png", tmp_path / "a.png"))
    code, _, err = run("predict", shared_bundle, image, "--out", image)
    assert (code, "is one of the files to classify" in err) == (2, True)
    assert image.read_bytes() == (pictures / "0.png").read_bytes()
    code, _, err = run("predict", shared_bundle, image, "--out", "/dev/full")
    assert code == 2
    assert "No space left" in err
    assert run("predict", shared_bundle, pictures, "--out", target)[0] == 0
    assert target.read_text().startswith("file,label")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "out.csv"]


def test_names_that_no_terminal_can_show(run, shared_bundle, pictures, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    shutil.copy(pictures / "0.png", str(folder).encode() + b"/bad\xff.png")
    shutil.copy(pictures / "0.png", folder / "b\u00e9\u4e2d.png")
    assert run("predict", shared_bundle, folder, "--out", tmp_path / "a.csv")[0] == 0
    assert (tmp_path / "a.csv").read_text().count("\n") == 3


def test_abstaining(shared_bundle, pictures):
    tables = []
    for abstain in (1.0, 0.0):
        out = io.StringIO()
        runtime.predict(shared_bundle, [pictures], abstain=abstain, out=out)
        tables.append(rows_of(out.getvalue()))
    unsure, sure = tables
    assert [row["confidence"] for row in sure] == [row["confidence"] for row in unsure]
    assert all(row["label"] for row in sure)
    assert not any(row["label"] for row in unsure if float(row["confidence"]) < 0.999999)


def test_arrays_are_inputs_too(tmp_path):
    bundle = write_bundle(tmp_path / "arrays", preprocess={"kind": "array", "dtype": "uint8"})
    for number, image in enumerate(images(2)):
        np.save(tmp_path / f"{number}.npy", image)
    np.save(tmp_path / "half.npy", images(1)[0] + 0.5)
    np.save(tmp_path / "large.npy", images(2))
    names = ["0", "1", "half", "large", "none"]
    out = io.StringIO()
    files = [tmp_path / f"{name}.npy" for name in names]
    assert runtime.predict(bundle, files, out=out) == 3
    rows = rows_of(out.getvalue())
    assert [bool(row["label"]) for row in rows] == [True, True, False, False, False]
    reasons = ("expected whole numbers from 0 to 255", "expected (1, 12, 10)", "missing")
    assert all(reason in row["error"] for reason, row in zip(reasons, rows[2:], strict=True))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["predict", "{}", "--top", "4"], 2, "from 1 to 3"),
        (["predict", "{}", "--abstain", "2"], 2, "from 0 to 1"),
        (["predict", "{}/none"], 3, "cannot be read"),
        (["predict"], 2, "required"),
        (["nonsense"], 2, "invalid choice"),
        (["predict", "{}", "--out", "/nowhere/x.csv"], 2, "/nowhere does not exist"),
        (["predict", "{}", "--format", "xml"], 2, "invalid choice"),
    ],
)
def test_wrong_arguments(run, shared_bundle, pictures, words, code, message):
    verb, *rest = words
    result, _, err = run(verb, shared_bundle, *(word.format(pictures) for word in rest))
    assert result == code
    assert message in err


def test_a_folder_without_images(shared_bundle, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuntimeFailure, match="contains no image file"):
        runtime.predict(shared_bundle, [tmp_path / "empty"])
