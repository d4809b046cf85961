"""Image files below folders, and the files beside them that are no images."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck._base.runtime.images import is_image
from limbeck.data.checks import files_below, join_some

_READ = ".png .apng .jpg .jpeg .jpe .jfif .tif .tiff .bmp .dib .webp .gif .ppm .pgm .pbm .pnm .pfm"
_NOT_READ = """
    .avif .heic .heif .jp2 .j2k .jpx .jxl .svg .psd .eps .ico .tga .exr .hdr .fits .dng .cr2 .cr3
    .nef .arw .orf .rw2 .raf .nii .nrrd .mha .mhd
"""
"""Suffixes of other images, which must not be skipped in silence."""
IMAGE_SUFFIXES = frozenset([*_READ.split(), ".dcm", ".dicom", *_NOT_READ.split()])
"""Suffixes of images, in lower case."""
MAX_OTHERS, MAX_SHARE = 10, 0.1
"""Number of files that are no images and are skipped in any case, and share of larger sets."""


def list_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the image files below a folder, sorted, and the files that are no images.

    Hidden and system files are in neither list. A file is an image if its suffix or its content is
    that of one, so a damaged image counts as an image, as does a link to a missing file.

    Raises:
        DataError: If a folder cannot be read.
    """
    images: list[Path] = []
    others: list[Path] = []
    for file in files_below(folder):
        is_one = file.suffix.lower() in IMAGE_SUFFIXES or is_image(file)
        (images if is_one else others).append(file)
    return images, others


def require_images(folder: Path) -> list[Path]:
    """Return the image files below a folder, sorted, after reporting other files.

    Raises:
        DataError: If there is no image, if too many files are none, or if a folder cannot be read.
    """
    images, others = list_images(folder)
    report_others(folder, images, others)
    if not images:
        raise DataError(f"{folder} is empty; expected images.")
    return images


def report_others(where: Path, images: Sequence[Path], others: Sequence[Path]) -> None:
    """Warn of files that are no images and are skipped.

    Files with the name of an image, such as ``1.json`` beside ``1.png``, describe it, so there may
    be any number of them.

    Args:
        where: Folder of all files, for messages.
        images: Image files.
        others: Files that are no images.

    Raises:
        DataError: If there are too many, which may be images of an unknown format.

    Warns:
        LimbeckWarning: If there is any.
    """
    if not others:
        return
    names = {(file.parent, name) for file in images for name in (file.name, file.stem)}
    lone = [file for file in others if (file.parent, file.stem) not in names]
    listing = join_some([str(file.relative_to(where)) for file in lone or others])
    if len(lone) > max(MAX_OTHERS, MAX_SHARE * len(images)):
        raise DataError(
            f"{where}: {len(lone)} of {len(images) + len(others)} files are no images of a known "
            f"format: {listing}. At most {MAX_OTHERS}, or a tenth of the images, are skipped. Move "
            "them to another folder, or convert them."
        )
    count = "1 file is no image" if len(others) == 1 else f"{len(others)} files are no images"
    warnings.warn(f"{where}: {count}, and skipped: {listing}.", LimbeckWarning, stacklevel=3)
