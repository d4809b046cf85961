"""DICOM files, as training and bundles read them."""

import builtins
import io
import logging
from pathlib import Path

import numpy as np
import pytest
from support.bundles import write_bundle

from limbeck._base.errors import DataError, ResourceError
from limbeck._base.runtime import dicom
from limbeck._base.runtime.bundle import Bundle
from limbeck._base.runtime.command_line import main
from limbeck._base.runtime.errors import InputError
from limbeck._base.runtime.images import decode, decode_with_digest, is_image, value_limits
from limbeck._base.runtime.value_range import common_range
from limbeck.data.images import decoding

pytest.importorskip("pydicom", reason="DICOM needs pydicom (limbeck[dicom])")

from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from support.dicom_files import PATIENT, lookup_table, write_dicom

RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8)
WINDOW = {"WindowCenter": 32, "WindowWidth": 33}


def shades(file, **settings):
    """The pixels of a file as a bundle sees them."""
    return decode(file, size=(8, 8), channels=1, **settings)[0]


def linear(values, centre, width):
    """The function LINEAR of the standard (PS3.3 C.11.2.1.2), value by value."""
    result = []
    for x in np.asarray(values, float).flat:
        if x <= centre - 0.5 - (width - 1) / 2:
            result.append(0.0)
        elif x > centre - 0.5 + (width - 1) / 2:
            result.append(255.0)
        else:
            result.append(((x - (centre - 0.5)) / (width - 1) + 0.5) * 255)
    return np.rint(np.reshape(result, np.shape(values)))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, None, ExplicitVRBigEndian])
def test_values_are_shown_through_the_window_of_the_file(tmp_path, syntax):
    pixels = RAMP.astype(">u2") if syntax == ExplicitVRBigEndian else RAMP
    options = {} if syntax is None else {"syntax": syntax}
    file = write_dicom(tmp_path / "a.dcm", pixels, bits=12, **options, **WINDOW)
    np.testing.assert_array_equal(shades(file), linear(RAMP, 32, 33))


@pytest.mark.parametrize("name", ["MR_small.dcm", "examples_overlay.dcm"])
def test_windows_are_those_of_pydicom(name):
    """Its result has the range of the stored values, ours is 0 to 255."""
    import pydicom
    from pydicom.data import get_testdata_file
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    file = get_testdata_file(name, download=False)
    scan = pydicom.dcmread(file)
    values = apply_voi_lut(apply_modality_lut(scan.pixel_array, scan), scan)
    is_signed, bits = scan.PixelRepresentation == 1, scan.BitsStored
    low = -(2.0 ** (bits - 1)) if is_signed else 0.0
    ends = [
        x * scan.get("RescaleSlope", 1) + scan.get("RescaleIntercept", 0)
        for x in (low, low + 2.0**bits - 1)
    ]
    expected = 255 * (values - ends[0]) / (ends[1] - ends[0])
    rows, columns = values.shape
    pixels = decode(Path(file), size=(rows, columns), channels=1)[0]
    np.testing.assert_allclose(pixels, expected, atol=0.51)


def test_values_of_few_bits_use_the_whole_range(tmp_path):
    mask = write_dicom(tmp_path / "a.dcm", (RAMP % 2).astype(np.uint8), bits=1)
    np.testing.assert_array_equal(shades(mask), RAMP % 2 * 255)


def test_windows_are_in_rescaled_values_and_the_first_one_counts(tmp_path):
    """Hounsfield units of a CT, whose stored values are signed."""
    pixels = RAMP.astype(np.int16) * 40 - 1000
    file = write_dicom(
        tmp_path / "a.dcm",
        pixels,
        bits=12,
        RescaleSlope=2,
        RescaleIntercept=-24,
        WindowCenter=[40, -600],
        WindowWidth=[400, 1500],
    )
    np.testing.assert_array_equal(shades(file), linear(pixels * 2.0 - 24, 40, 400))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR_EXACT", lambda x: np.clip((x - 32) / 16 + 0.5, 0, 1)),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 32) / 16))),
    ],
)
def test_other_functions_of_windows(tmp_path, function, expected):
    file = write_dicom(
        tmp_path / "a.dcm", RAMP, WindowCenter=32, WindowWidth=16, VOILUTFunction=function
    )
    np.testing.assert_allclose(shades(file), 255 * expected(RAMP.astype(float)), atol=0.5)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, None])
def test_look_up_tables(tmp_path, syntax):
    options = {} if syntax is None else {"syntax": syntax}
    entries = np.linspace(1023, 0, 40).astype(int)
    table = lookup_table(entries, bits=10, first=10)
    file = write_dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=table, **options)
    expected = np.rint(255 * entries[(RAMP.astype(int) - 10).clip(0, 39)] / 1023)
    np.testing.assert_array_equal(shades(file), expected)
    file = write_dicom(
        tmp_path / "b.dcm", RAMP, ModalityLUTSequence=table, WindowCenter=512, WindowWidth=1024
    )
    values = entries[(RAMP.astype(int) - 10).clip(0, 39)]
    np.testing.assert_array_equal(shades(file), linear(values, 512, 1024))


def test_monochrome1_is_inverted(tmp_path):
    """In MONOCHROME1 the lowest value is white."""
    grey = (RAMP * 4).astype(np.uint8)
    kind = {"PhotometricInterpretation": "MONOCHROME1"}
    plain = write_dicom(tmp_path / "plain.dcm", grey, **kind)
    np.testing.assert_array_equal(shades(plain), 255 - grey)
    window = write_dicom(tmp_path / "window.dcm", RAMP, **kind, **WINDOW)
    np.testing.assert_allclose(shades(window), 255 - linear(RAMP, 32, 33), atol=1)
    deep = write_dicom(tmp_path / "deep.dcm", RAMP * 16, bits=10, **kind)
    expected = np.rint(255 - RAMP * 16 * 255.0 / 1023)
    np.testing.assert_allclose(shades(deep, value_range=(0, 1023)), expected, atol=1)


def test_colour_and_palettes(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = write_dicom(tmp_path / "a.dcm", colour)
    pixels = decode(file, size=(8, 8), channels=3)
    np.testing.assert_array_equal(pixels, colour.transpose(2, 0, 1))
    tables = {}
    for number, name in enumerate(("Red", "Green", "Blue")):
        entries = (np.arange(64) * (number + 1)).astype("<u2") * 256
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [64, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = entries.tobytes()
    kind = {"PhotometricInterpretation": "PALETTE COLOR"}
    file = write_dicom(tmp_path / "p.dcm", RAMP.astype(np.uint8), **kind, **tables)
    pixels = decode(file, size=(8, 8), channels=3)
    np.testing.assert_array_equal(pixels, np.stack([RAMP, RAMP * 2, RAMP * 3]))


def test_files_without_a_window_are_scaled_by_the_range_of_the_set(tmp_path):
    files = [
        write_dicom(tmp_path / f"{n}.dcm", RAMP * factor, bits=12)
        for n, factor in enumerate([8, 64])
    ]
    images = decoding.read_images(files, decoding.Decoding(size=8, channels=1))
    for image, factor in zip(images, (8, 64), strict=True):
        np.testing.assert_array_equal(image[0], np.rint(RAMP * factor * 255.0 / 4095))
    assert common_range(map(value_limits, files)) == (0, 4095)
    window = write_dicom(tmp_path / "window.dcm", RAMP, **WINDOW)
    assert value_limits(window) is None


def test_training_and_bundle_see_the_same(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4096, (12, 10), dtype=np.uint16)
    file = write_dicom(tmp_path / "a", pixels, bits=12, WindowCenter=2000, WindowWidth=900)
    bundle = Bundle(write_bundle(tmp_path / "bundle"))
    expected, _ = decode_with_digest(file, size=(12, 10), channels=1)
    np.testing.assert_array_equal(bundle.array(file), expected)
    np.testing.assert_array_equal(expected[0], linear(pixels, 2000, 900))


# What cannot be read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"NumberOfFrames": 30}, "of 30 frames; save each frame"),
        ({"WindowCenter": 3, "WindowWidth": 0}, r"a window of width 0 \(LINEAR\)"),
        ({"syntax": JPEGLosslessSV1}, "JPEG Lossless.* pip install pylibjpeg pylibjpeg-libjpeg"),
        ({"syntax": JPEGLSLossless}, "JPEG-LS Lossless.* pip install pyjpegls"),
        ({"syntax": JPEG2000Lossless}, "JPEG 2000.* pip install pylibjpeg pylibjpeg-openjpeg"),
        ({"syntax": RLELossless}, "pixels are damaged"),
        ({"BitsAllocated": 64}, "pixels are damaged"),
    ],
)
def test_files_that_cannot_be_read_are_named_without_their_patient(
    tmp_path, elements, message, capsys, monkeypatch
):
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    monkeypatch.setattr(logging.root, "handlers", [handler])
    monkeypatch.setattr(dicom, "_has_package", lambda package: False)
    file = write_dicom(tmp_path / "b.dcm", RAMP, **elements)
    with pytest.raises(DataError, match=message) as caught:
        decoding.decode(file, decoding.Decoding(size=8, channels=1))
    assert PATIENT not in str(caught.value) + log.getvalue() + "".join(capsys.readouterr())


def test_files_without_an_image_and_damaged_ones(tmp_path):
    scan = write_dicom(tmp_path / "a.dcm", RAMP, **WINDOW)
    content = scan.read_bytes()
    for cut in (132, 140, 300, len(content) - 7):
        scan.write_bytes(content[:cut])
        with pytest.raises(InputError, match=r"a\.dcm \(a (damaged )?DICOM file"):
            shades(scan)
    assert is_image(scan)
    scan.write_bytes(content[128:])
    with pytest.raises(InputError, match=r"not an image of a known format.*DICOM"):
        shades(scan)


def test_deflated_files_are_refused_before_they_unpack(tmp_path):
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    file = write_dicom(tmp_path / "a.dcm", RAMP, syntax=DeflatedExplicitVRLittleEndian)
    with pytest.raises(InputError, match=r"a deflated DICOM file; convert it"):
        shades(file)


def test_a_header_that_claims_a_large_image(tmp_path):
    file = write_dicom(tmp_path / "a.dcm", RAMP, Rows=60_000, Columns=60_000)
    with pytest.raises(InputError, match="more than 134,217,728 pixels"):
        shades(file)


def test_pydicom_is_named_once_where_it_is_missing(tmp_path, monkeypatch, capsys):
    files = [write_dicom(tmp_path / f"{n}.dcm", RAMP, **WINDOW) for n in range(3)]
    bundle = write_bundle(tmp_path / "bundle")
    plain = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("pydicom"):
            raise ImportError(name)
        return plain(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ResourceError, match=r"is a DICOM file.*pip install 'limbeck\[dicom\]'"):
        decoding.read_images(files, decoding.Decoding(size=8, channels=1))
    words = ["predict", str(bundle), *map(str, files)]
    assert main(words, program="limbeck") == 6
    assert capsys.readouterr().err.count("pip install pydicom") == 1
