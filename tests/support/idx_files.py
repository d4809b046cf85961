"""Small files in MNIST's idx format."""

import gzip
import struct

import numpy as np

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(array, *, kind=8, shape=None):
    """The content of an idx file; another kind or shape makes it a damaged one."""
    shape = array.shape if shape is None else shape
    header = struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape)
    return header + array.astype(np.uint8).tobytes()


def mnist_files(train=30, test=20, size=6, seed=0):
    """The content of MNIST's four files by name, with labels 0 to 9 in turn."""
    random = np.random.default_rng(seed)
    arrays = []
    for count in (train, test):
        arrays.append(random.integers(0, 256, (count, size, size)))
        arrays.append(np.arange(count) % 10)
    return {name: idx(array) for name, array in zip(NAMES, arrays, strict=True)}


def write_mnist(folder, *, gz=True, **sizes):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in mnist_files(**sizes).items():
        if gz:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder
