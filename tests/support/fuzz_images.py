"""Odd image files."""

import io
from importlib.util import find_spec

import numpy as np
from hypothesis import strategies as st

from support.fuzz_values import changed_bytes
from support.image_files import picture, png_file


def encoded(kind, mode):
    """The bytes of an image file."""
    file = io.BytesIO()
    picture(3, size=9).convert(mode).save(file, kind)
    return file.getvalue()


def scans():
    """The bytes of DICOM files, if there is pydicom."""
    if find_spec("pydicom") is None:
        return []
    from support.dicom_files import lookup_table, write_dicom

    values = np.arange(81, dtype=np.uint16).reshape(9, 9)
    kinds = [{"WindowCenter": 40, "WindowWidth": 50}, {}]
    kinds.append({"VOILUTSequence": lookup_table(range(64), bits=10)})
    files = [io.BytesIO() for _ in kinds]
    for file, elements in zip(files, kinds, strict=True):
        write_dicom(file, values, bits=12, **elements)
    return [file.getvalue() for file in files]


WHOLE = (
    encoded("PNG", "RGB"),
    encoded("PNG", "RGBA"),
    encoded("PNG", "P"),
    encoded("PNG", "1"),
    encoded("TIFF", "I"),
    encoded("JPEG", "L"),
    encoded("JPEG", "CMYK"),
    encoded("GIF", "P"),
    encoded("BMP", "RGB"),
    encoded("TIFF", "F"),
    encoded("WEBP", "RGB"),
    *scans(),
)
IMAGES = (
    *WHOLE,
    png_file(60000, 60000),
    png_file(1, 2**28),
    png_file(0, 5),
    png_file(9, 9, bits=16),
    b"",
    b"<svg/>",
)

image_bytes = st.sampled_from(IMAGES) | st.sampled_from(WHOLE).flatmap(changed_bytes)
"""Contents of image files: of every mode and kind, of odd sizes, and damaged ones."""
