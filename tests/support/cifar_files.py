"""Small files in the binary formats of CIFAR-10 and CIFAR-100."""

import io
import tarfile

import numpy as np


def rows(labels, seed=0, label_bytes=1):
    """The content of a file, and its images. Each class has a colour, so that it can be learnt."""
    labels = np.asarray(labels)[:, None]
    random = np.random.default_rng(seed)
    images = random.integers(0, 100, (len(labels), 3, 32, 32), dtype=np.uint8)
    images += (labels * np.array([7, 13, 11]) % 150).astype(np.uint8)[:, :, None, None]
    columns = [labels, images.reshape(len(labels), -1)]
    if label_bytes == 2:
        columns.insert(0, labels // 5)
    return np.concatenate(columns, axis=1).astype(np.uint8).tobytes(), images


def cifar10_files(each=12, test=20):
    """The content of CIFAR-10's files by name: five batches and the test."""
    files = {}
    for number in range(5):
        files[f"data_batch_{number + 1}.bin"] = rows(np.arange(each) % 10, number)[0]
    files["test_batch.bin"] = rows(np.arange(test) % 10, 9)[0]
    return files


def cifar100_files(train=200, test=100):
    """The content of CIFAR-100's files by name."""
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
    with tarfile.open(path, "w:gz", compresslevel=1) as out:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{prefix}{name}")
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    return path
