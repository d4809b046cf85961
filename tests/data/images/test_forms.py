"""Folders and pictures in the forms in which people have them; see ``support/forms.py``."""

import unicodedata
import warnings

import numpy as np
import pytest
from PIL import Image
from support.forms import form, rows_of_docs, rows_with_tests
from support.image_files import (
    images_of,
    labels_by_image,
    picture,
    pixels_of,
    read_csv,
    splits_of,
    write_csv,
    write_folder,
)

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck._base.runtime import dicom
from limbeck._base.runtime.images import decode
from limbeck.data import image_folder

SIZE = {"size": 6, "channels": 3, "test": 0.3, "val": 0.3}


def test_the_table_of_the_docs_has_a_test_for_each_row():
    assert rows_of_docs() == rows_with_tests()
    assert len(rows_of_docs()) > 20


def read(root, **options):
    return image_folder(root, **(SIZE | options))


def fill(root, *names, count=10):
    """Class folders whose pictures have the seeds ``[0, number of the class, number]``."""
    return write_folder(root, names or ("cat", "dog"), count=count)


def assert_same_in_bundle(data, files, channels=3):
    """A bundle prepares files as the training does: their pixels are those of the dataset."""
    pixels = {image for split in splits_of(data).values() for image in images_of(split)}
    for file in files:
        size = data.shape[1:]
        own = decode(file, size=size, channels=channels, value_range=data.value_range)
        assert own.tobytes() in pixels, file


# Folders ------------------------------------------------------------------------------------------


@form("class folders with numbers")
def test_classes_are_sorted_as_people_do(tmp_path):
    root = fill(tmp_path / "in", *[f"class{number}" for number in range(11)], count=6)
    data = read(root)
    assert data.class_names == [f"class{number}" for number in range(11)]
    assert labels_by_image(data)[pixels_of([0, 10, 0])] == 10
    assert read(root, class_order="text").class_names[1:4] == ["class1", "class10", "class2"]


@form("links to folders and files")
def test_links_are_followed(tmp_path):
    root, elsewhere = fill(tmp_path / "in"), fill(tmp_path / "elsewhere", "fox")
    (root / "fox").symlink_to(elsewhere / "fox")
    (root / "dog" / "more.png").symlink_to(elsewhere / "a.png")
    picture(99).save(elsewhere / "a.png")
    data = read(root)
    assert data.class_names == ["cat", "dog", "fox"]
    assert labels_by_image(data)[pixels_of(99)] == 1


@form("links to missing files")
def test_links_to_missing_files_are_listed(tmp_path):
    root = fill(tmp_path / "in")
    for name in ("a.png", "b", "c.txt"):
        (root / "dog" / name).symlink_to("nowhere")
    with pytest.raises(DataError, match=r"3 of 23 .*a\.png \(a link to a missing.*dog/c\.txt \("):
        read(root)


@form("hidden and system files")
def test_hidden_and_system_files_are_skipped(tmp_path):
    root = fill(tmp_path / "in")
    for name in (".DS_Store", "._0.png", "Thumbs.db", "desktop.ini", "DICOMDIR"):
        (root / "cat" / name).write_bytes(b"\0\5\x16\7")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sum(map(len, splits_of(read(root)).values())) == 20


@form("files that are no images")
def test_files_that_are_no_images_are_listed_and_skipped(tmp_path):
    root = fill(tmp_path / "in")
    (root / "dog" / "notes.txt").write_text("hello")
    (root / "cat" / "labels").write_text("hello")
    message = r"2 files are no images, and skipped: cat/labels; dog/notes\.txt\."
    with pytest.warns(LimbeckWarning, match=message):
        assert sum(map(len, splits_of(read(root)).values())) == 20
    for number in range(10):  # one beside each image
        (root / "dog" / f"{number}.json").write_text("{}")
    with pytest.warns(LimbeckWarning, match=r"12 files are no images"):
        read(root)
    for number in range(9):
        (root / "dog" / f"page {number}.txt").write_text("hello")
    with pytest.raises(DataError, match=r"11 of 41 files are no images of a known format: .*Move"):
        read(root)
    (root / "dog" / "broken.png").write_text("hello")
    (root / "dog" / "page 0.txt").unlink()
    with pytest.raises(DataError, match=r"1 of 21 .*broken\.png \(not an image"), pytest.warns():
        read(root)


@form("suffixes in capitals, wrong ones, none")
def test_the_content_tells_the_format(tmp_path):
    root = fill(tmp_path / "in")
    for number, name in enumerate(("a.PNG", "b.Jpg", "c", "d.2024", "e.dat")):
        picture([7, number]).save(root / "dog" / name, format="png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = labels_by_image(read(root))
    assert [labels[pixels_of([7, number])] for number in range(5)] == [1] * 5


@form("names in Unicode forms NFC and NFD")
def test_names_in_two_unicode_forms_are_one_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    root = tmp_path / "in"
    for part, name in (("train", composed), ("test", decomposed)):
        write_folder(root / part, (name, "dog"), seed=len(part), count=8)
    data = read(root)
    assert data.class_names == ["caf\u00e9", "dog"]
    assert sorted(set(data.open_test().labels.tolist())) == [0, 1]
    one = fill(tmp_path / "one", composed, decomposed, "dog")
    with pytest.warns(LimbeckWarning, match=r"differ only in their Unicode form are one class"):
        assert read(one).class_names == ["caf\u00e9", "dog"]
    table = write_csv(tmp_path / "table")
    picture(99).save(table / f"{decomposed}.png")
    rows = [f"{number},{('dog', composed)[number % 2]}" for number in range(40)]
    text = "\n".join(["file,label", f"{composed},{decomposed}", *rows])
    (table / "train.csv").write_text(text, encoding="utf-8")
    assert labels_by_image(read_csv(table))[pixels_of(99)] == 0


@form("empty class folders")
def test_empty_class_folders_are_named(tmp_path):
    root = fill(tmp_path / "in")
    for name in ("bird", "fox"):
        (root / name).mkdir()
    with pytest.warns(LimbeckWarning, match=r"2 class folders contain no images: bird; fox\."):
        assert read(root).class_names == ["cat", "dog"]
    with pytest.warns(LimbeckWarning, match="bird; fox"):
        data = read(root, class_names=["fox", "cat", "dog"])
    assert data.class_names == ["fox", "cat", "dog"]
    assert labels_by_image(data)[pixels_of([0, 1, 0])] == 2


# Pictures -----------------------------------------------------------------------------------------


@form("grey scans of 10, 12 and 16 bits")
@pytest.mark.parametrize(("bits", "kind"), [(10, "tif"), (12, "png"), (16, "png")])
def test_scans_are_scaled_by_the_range_of_the_set(tmp_path, bits, kind):
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number in range(10):
            values = random.integers(0, 2**bits, (6, 6), dtype=np.uint16)
            Image.fromarray(values).save(tmp_path / "in" / name / f"{number}.{kind}")
    options = {"channels": 1}
    if bits == 16:
        data = read(tmp_path / "in", **options)
    else:
        with pytest.warns(LimbeckWarning, match=f"values from 0 to {2**bits - 1} become 0 to 255"):
            data = read(tmp_path / "in", **options)
    assert data.value_range == (0, 2**bits - 1)
    expected = np.rint(values * 255.0 / (2**bits - 1)).astype(np.uint8)
    assert expected.tobytes() in labels_by_image(data)
    assert_same_in_bundle(data, (tmp_path / "in").rglob(f"*.{kind}"), channels=1)


@form("CMYK and YCCK")
@pytest.mark.parametrize("channels", [1, 3])
def test_cmyk_becomes_rgb(tmp_path, channels):
    """JPEG files of Adobe's programs hold inverted inks, in CMYK or in YCCK (transform 2).

    In YCCK the complements of the inverted inks are stored as brightness and two colours.
    """
    root = fill(tmp_path / "in")
    inks = Image.new("CMYK", (6, 6), (0, 255, 255, 0))  # red
    inks.save(root / "dog" / "a.jpg", quality=100)
    inks.save(root / "dog" / "b.tif")
    luma = Image.new("RGB", (1, 1), (0, 255, 255)).convert("YCbCr").getpixel((0, 0))
    stored = Image.new("CMYK", (6, 6), (*(255 - value for value in luma), 0))
    stored.save(root / "dog" / "c.jpg", quality=100)
    ycck = bytearray((root / "dog" / "c.jpg").read_bytes())
    ycck[ycck.index(b"Adobe") + 11] = 2
    (root / "dog" / "c.jpg").write_bytes(ycck)
    red = (254, 0, 0) if channels == 3 else (76,)
    for name in ("a.jpg", "b.tif", "c.jpg"):
        pixels = decode(root / "dog" / name, size=(6, 6), channels=channels)
        np.testing.assert_allclose(pixels[:, 0, 0], red, atol=3, err_msg=name)
    assert_same_in_bundle(read(root, channels=channels), root.glob("dog/?.*"), channels=channels)


@form("palettes and transparency")
def test_transparent_parts_become_black(tmp_path):
    root = fill(tmp_path / "in")
    image = Image.new("P", (6, 6), 1)
    image.putpalette([0, 0, 0, 200, 100, 50, 9, 9, 9])
    image.putpixel((0, 0), 2)
    image.save(root / "dog" / "a.png", transparency=bytes([255, 255, 0]))
    image.save(root / "dog" / "b.gif", transparency=2)
    for name in ("a.png", "b.gif"):
        pixels = decode(root / "dog" / name, size=(6, 6), channels=3)
        assert pixels[:, 0, 0].tolist() == [0, 0, 0]
        assert pixels[:, 3, 3].tolist() == [200, 100, 50]
    assert_same_in_bundle(read(root), [root / "dog" / "a.png", root / "dog" / "b.gif"])


@form("photographs with an EXIF orientation")
@pytest.mark.parametrize("orientation", [3, 6])
def test_photographs_are_upright_in_training_and_bundle(tmp_path, orientation):
    """``test_decoding.py`` tests all eight orientations."""
    root = fill(tmp_path / "in", count=6)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture(99).save(root / "dog" / "a.png", exif=exif)
    upright = np.rot90(np.asarray(picture(99)), {3: 2, 6: -1}[orientation])
    data = read(root)
    assert upright.transpose(2, 0, 1).tobytes() in labels_by_image(data)
    assert_same_in_bundle(data, [root / "dog" / "a.png"])


@form("DICOM with a window")
def test_dicom_files_are_shown_through_their_window(tmp_path):
    pytest.importorskip("pydicom", reason="DICOM needs pydicom")
    from support.dicom_files import PATIENT, write_dicom

    root, random = fill(tmp_path / "in"), np.random.default_rng(0)
    for number in range(3):  # hospitals give files no suffix
        values = random.integers(0, 4096, (6, 6), dtype=np.uint16)
        window = {"WindowCenter": 1000, "WindowWidth": 2000}
        write_dicom(root / "dog" / f"IM{number:04}", values, bits=12, **window)
    data = read(root)
    assert data.value_range is None
    expected = np.rint(((values - 999.5) / 1999 + 0.5).clip(0, 1) * 255).astype(np.uint8)
    assert np.stack([expected] * 3).tobytes() in labels_by_image(data)
    assert_same_in_bundle(data, root.glob("dog/IM*"))
    assert PATIENT not in repr(vars(data))


@form("DICOM without a window")
def test_dicom_files_without_a_window_are_scaled_by_the_range_of_the_set(tmp_path):
    pytest.importorskip("pydicom", reason="DICOM needs pydicom")
    from support.dicom_files import write_dicom

    root, random = tmp_path / "in", np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(10):
            values = random.integers(-1000, 1000, (6, 6), dtype=np.int16)
            values[0, :2] = -1000, 999
            scale = {"RescaleSlope": 1, "RescaleIntercept": -24}
            write_dicom(root / name / f"{number}.dcm", values, bits=12, **scale)
    with pytest.warns(LimbeckWarning, match="values from -1024 to 975 become 0 to 255"):
        data = read(root, channels=1)
    expected = np.rint((values + 1000.0) * 255 / 1999).astype(np.uint8)
    assert expected.tobytes() in labels_by_image(data)
    assert_same_in_bundle(data, root.rglob("*.dcm"), channels=1)


@form("DICOM, compressed")
def test_the_package_for_compressed_dicom_files_is_named(tmp_path, monkeypatch):
    pytest.importorskip("pydicom", reason="DICOM needs pydicom")
    from pydicom.uid import JPEGLosslessSV1
    from support.dicom_files import write_dicom

    monkeypatch.setattr(dicom, "_has_package", lambda package: False)
    root = fill(tmp_path / "in")
    write_dicom(root / "dog" / "a.dcm", np.zeros((6, 6), np.uint16), syntax=JPEGLosslessSV1)
    with pytest.raises(DataError, match=r"1 of 21 .*JPEG Lossless.*pip install pylibjpeg pylib"):
        read(root)
