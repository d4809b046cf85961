"""Small image files with labels, in folders and in a table."""

import struct
import zlib

import numpy as np
from PIL import Image

from limbeck.data import image_csv

SIZE = {"size": 6, "channels": 3}
"""Settings that keep the pixels of :func:`picture`."""


def picture(seed, size=6):
    """An image of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def png_file(width, height, *, bits=8, colour=0, content=b"\0" * 100):
    """The bytes of a PNG file from its header and its uncompressed rows.

    Rows may be missing, and the kinds of colour are those of the format, 0 for grey and 2 for RGB.
    """

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(content)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def pixels_of(seed):
    """The bytes of :func:`picture` as a dataset holds it."""
    return np.asarray(picture(seed)).transpose(2, 0, 1).tobytes()


def write_folder(root, classes=("cat", "dog"), count=30, seed=0):
    """A folder per class, with the pictures of seeds ``[seed, label, number]``."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture([seed, label, number]).save(root / name / f"{number}.png")
    return root


def write_csv(root, text=None, count=40):
    """``train.csv`` and its images; those with an odd number are ``high``, the others ``low``."""
    root.mkdir(exist_ok=True)
    for number in range(count):
        picture(number).save(root / f"{number}.png")
    if text is None:
        rows = [f"{number},{('low', 'high')[number % 2]}" for number in range(count)]
        text = "\n".join(["file,label", *rows])
    (root / "train.csv").write_text(text, encoding="utf-8")
    return root


def read_csv(root, **settings):
    columns = {"file_column": "file", "label_column": "label", "suffix": ".png"}
    return image_csv(root, **(columns | SIZE | settings))


def splits_of(data):
    return {"train": data.train, "val": data.val, "test": data.open_test()}


def images_of(split):
    """The bytes of each image of a split."""
    return [image.numpy().tobytes() for image in split.inputs]


def labels_by_image(data):
    """The label of each image of a dataset, by the bytes of the image."""
    labels = {}
    for split in splits_of(data).values():
        labels.update(zip(images_of(split), split.labels.tolist(), strict=True))
    return labels
