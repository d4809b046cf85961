"""Small files in the true binary formats of CIFAR-10 and CIFAR-100."""

import io
import tarfile

import numpy as np


def rows(labels, seed=0, label_bytes=1):
    """The bytes of a file, and its images: each class has a colour of its own, so that something
    can be learnt.
    """
    labels = np.asarray(labels)
    random = np.random.default_rng(seed)
    images = random.integers(0, 100, (len(labels), 3, 32, 32), dtype=np.uint8)
    images += (labels[:, None] * np.array([7, 13, 11]) % 150).astype(np.uint8)[:, :, None, None]
    coarse = (
        (labels[:, None] // 5).astype(np.uint8)
        if label_bytes == 2
        else np.zeros((len(labels), 0), np.uint8)
    )
    head = np.concatenate([coarse, labels[:, None].astype(np.uint8)], 1)
    return np.concatenate([head, images.reshape(len(labels), -1)], 1).tobytes(), images


def cifar10_files(each=12, test=20):
    """Content by name, five batches and the test."""
    found = {f"data_batch_{i + 1}.bin": rows(np.arange(each) % 10, i)[0] for i in range(5)}
    return {**found, "test_batch.bin": rows(np.arange(test) % 10, 9)[0]}


def cifar100_files(train=200, test=100):
    return {
        "train.bin": rows(np.arange(train) % 100, 1, 2)[0],
        "test.bin": rows(np.arange(test) % 100, 2, 2)[0],
    }


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def archive(path, files, prefix):
    """A gzipped tar file of the given contents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as out:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{prefix}{name}")
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    return path
