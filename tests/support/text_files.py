"""Random text in files, and the splits of a dataset of text."""

import numpy as np

LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyzäöü€漢  \n"))
PARTS = ("train", "val", "test")


def random_text(length=6000, seed=0):
    """Text with characters of one, two and three bytes."""
    return "".join(np.random.default_rng(seed).choice(LETTERS, length))


def write(path, content=None):
    """Write text or bytes, random text by default."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        content = random_text()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def splits_of(data):
    return {"train": data.train, "val": data.val, "test": data.open_test()}
