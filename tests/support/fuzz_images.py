"""Odd image files."""

import io

from hypothesis import strategies as st

from support.fuzz_values import changed_bytes
from support.image_files import picture, png_file


def encoded(kind, mode):
    """The bytes of an image file."""
    file = io.BytesIO()
    picture(3, size=9).convert(mode).save(file, kind)
    return file.getvalue()


IMAGES = (
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
    png_file(60000, 60000),
    png_file(1, 2**28),
    png_file(0, 5),
    png_file(9, 9, bits=16),
    b"",
    b"<svg/>",
)

image_bytes = st.sampled_from(IMAGES) | st.sampled_from(IMAGES[:11]).flatmap(changed_bytes)
"""Contents of image files: of every mode and kind, of odd sizes, and damaged ones."""
