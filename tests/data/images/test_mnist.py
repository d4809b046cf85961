import gzip
import struct
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck._base.errors import ConfigError, DataError, ResourceError
from limbeck.data import digits, fashion_mnist, mnist
from limbeck.data.images import mnist as images
from limbeck.data.images.mnist import read_idx

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data"
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(array, *, kind=8, shape=None):
    shape = array.shape if shape is None else shape
    return (
        struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape)
        + array.astype(np.uint8).tobytes()
    )


def contents(n=30, n_test=20, size=6, seed=0):
    random = np.random.default_rng(seed)
    made = []
    for count in (n, n_test):
        made += [random.integers(0, 256, (count, size, size)), np.arange(count) % 10]
    return dict(zip(NAMES, map(idx, made), strict=True))


def outcome(read):
    """What was read, or the error that names the damage; any other error is not caught."""
    try:
        return read(), None
    except DataError as error:
        return None, error


def write_all(folder, *, gz=True, **kind):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents(**kind).items():
        (folder / (name + ".gz" if gz else name)).write_bytes(
            gzip.compress(content) if gz else content
        )
    return folder


@pytest.fixture(autouse=True)
def _no_debian_no_network(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise AssertionError("a test must not reach for the network")

    monkeypatch.setattr(images, "DEBIAN_FASHION_MNIST", tmp_path / "no-debian")
    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", refuse)


@pytest.mark.parametrize("gz", [True, False])
def test_small_files_are_read(tmp_path, gz):
    data = mnist(write_all(tmp_path, gz=gz), val=5)
    assert (len(data.train), len(data.val), data.test_size, data.shape, data.classes) == (
        25,
        5,
        20,
        (1, 6, 6),
        10,
    )
    raw = np.frombuffer(contents()[NAMES[2]][16:], np.uint8).reshape(20, 1, 6, 6)
    np.testing.assert_array_equal(data.open_test().inputs.numpy(), raw)
    assert data.open_test().labels.tolist() == [i % 10 for i in range(20)]


def test_the_content_tells_gzip_not_the_name(tmp_path):
    for name, content in contents().items():
        (tmp_path / name).write_bytes(gzip.compress(content))
    (tmp_path / NAMES[0]).unlink()
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(contents()[NAMES[0]])
    assert len(mnist(tmp_path, val=5).train) == 25


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    gz=st.booleans(),
    seed=st.integers(0, 99),
)
def test_read_idx_inverts_writing(tmp_path_factory, shape, gz, seed):
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    file = tmp_path_factory.getbasetemp() / "any.idx"
    file.write_bytes(gzip.compress(idx(array)) if gz else idx(array))
    found = read_idx(file, dimensions=len(shape))
    assert found.dtype == np.uint8
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


LABELS = idx(np.arange(20) % 10)
PACKED = gzip.compress(LABELS)
DAMAGE = {
    "empty": (b"", "begins with nothing"),
    "one byte": (b"\0", "begins with 00"),
    "no data at all": (LABELS[:4], "ends within its header of 8 bytes"),
    "half a header": (LABELS[:6], "ends within its header"),
    "header alone": (LABELS[:8], "20 bytes, 0 follow"),
    "short": (LABELS[:-1], "20 = 20 bytes, 19 follow"),
    "long": (LABELS + b"\0", "20 bytes, 21 follow"),
    "wrong magic": (
        b"\x01" + LABELS[1:],
        "not the idx file it should be: it begins with 01 00 08 01",
    ),
    "floats": (idx(np.arange(20), kind=0x0D), "begins with 00 00 0d 01, 00 00 08 01 was expected"),
    "images in place of labels": (idx(np.zeros((20, 1, 1))), "begins with 00 00 08 03"),
    "a web page": (b"<!DOCTYPE html><html>", "not the idx file"),
    "more than memory": (idx(np.arange(20), shape=(2**32 - 1,)), "4294967295 bytes, 20 follow"),
    "gzip of nothing": (gzip.compress(b""), "begins with nothing"),
    "gzip of another file": (gzip.compress(b"hello"), "begins with 68 65 6c 6c"),
    "gzip checksum": (
        PACKED[:-8] + bytes([PACKED[-8] ^ 1]) + PACKED[-7:],
        "is damaged .*fetch it again",
    ),
    "gzip length": (PACKED[:-1] + b"\x01", "is damaged .*fetch it again"),
    "gzip method": (b"\x1f\x8b\x07" + PACKED[3:], "is damaged .*fetch it again"),
    "gzip with a tail": (PACKED + b"tail", "is damaged .*fetch it again"),
    "gzip inside": (
        PACKED[:12] + bytes(b ^ 0xFF for b in PACKED[12:16]) + PACKED[16:],
        "is damaged",
    ),
} | {
    f"gzip cut at {cut}": (PACKED[:cut], "is damaged")
    for cut in (2, 5, 9, 10, 15, len(PACKED) - 9, len(PACKED) - 1)
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", [NAMES[1], NAMES[3]], ids=["train", "test"])
def test_damaged_files_are_named(tmp_path, kind, name):
    content, message = DAMAGE[kind]
    file = write_all(tmp_path) / f"{name}.gz"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        mnist(tmp_path, val=5)
    assert str(file) in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), packed=st.booleans())
def test_any_damage_is_a_data_error(tmp_path_factory, data, packed):
    good = PACKED if packed else LABELS
    cut = data.draw(st.integers(0, len(good)))
    content = (
        good[:cut] + data.draw(st.binary(max_size=12)) + good[cut + data.draw(st.integers(0, 6)) :]
    )
    file = tmp_path_factory.getbasetemp() / "damaged.idx"
    file.write_bytes(content)
    found, error = outcome(lambda: read_idx(file, dimensions=1))
    assert str(file) in str(error) if error else found.ndim == 1


def test_counts_of_images_and_labels_differ(tmp_path):
    write_all(tmp_path)
    (tmp_path / f"{NAMES[3]}.gz").write_bytes(idx(np.arange(19) % 10))
    with pytest.raises(DataError, match=r"t10k-images.*holds 20 images.*t10k-labels.* 19 labels"):
        mnist(tmp_path, val=5)


@pytest.mark.parametrize("name", [NAMES[1], NAMES[3]])
def test_labels_out_of_range(tmp_path, name):
    write_all(tmp_path)
    (tmp_path / f"{name}.gz").write_bytes(idx((np.arange(30 if "train" in name else 20) % 10) + 1))
    with pytest.raises(
        DataError, match=rf"{name}\.gz: label 10 was found; mnist has labels 0 to 9"
    ):
        mnist(tmp_path, val=5)


def test_files_of_no_images(tmp_path):
    write_all(tmp_path)
    (tmp_path / f"{NAMES[2]}.gz").write_bytes(idx(np.zeros((0, 6, 6))))
    (tmp_path / f"{NAMES[3]}.gz").write_bytes(idx(np.zeros(0)))
    with pytest.raises(DataError, match="mnist, test split: it is empty"):
        mnist(tmp_path, val=5)


def test_test_images_of_another_size(tmp_path):
    write_all(tmp_path)
    (tmp_path / f"{NAMES[2]}.gz").write_bytes(idx(np.zeros((20, 5, 5))))
    with pytest.raises(DataError, match="should be alike"):
        mnist(tmp_path, val=5)


@pytest.mark.parametrize("missing", [NAMES[:1], NAMES[1:3], NAMES])
@pytest.mark.parametrize("read", [mnist, fashion_mnist])
def test_missing_files_are_named(tmp_path, read, missing):
    write_all(tmp_path)
    for name in missing:
        (tmp_path / f"{name}.gz").unlink()
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    message = str(caught.value)
    for name in NAMES:
        assert (name in message) == (name in missing)
    for part in (str(tmp_path), read.__name__, "data.root=", "data.download=true"):
        assert part in message


@pytest.mark.parametrize("root", ["nowhere", "a-file", "a-file/below"])
def test_a_root_that_is_no_folder(tmp_path, root):
    (tmp_path / "a-file").write_text("")
    with pytest.raises(DataError, match="not found in"):
        mnist(tmp_path / root)


def test_a_folder_in_place_of_a_file(tmp_path):
    write_all(tmp_path)
    (tmp_path / f"{NAMES[2]}.gz").unlink()
    (tmp_path / NAMES[2]).mkdir()
    with pytest.raises(DataError, match=rf"{NAMES[2]} \(plain or \.gz\) not found"):
        mnist(tmp_path)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    write_all(tmp_path)

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(
        DataError, match=r"train-images-idx3-ubyte\.gz cannot be read \(Permission denied\)"
    ):
        mnist(tmp_path)


@pytest.mark.parametrize(("read", "name"), [(mnist, "MNIST"), (fashion_mnist, "FashionMNIST")])
def test_torchvisions_root(tmp_path, read, name):
    write_all(tmp_path / name / "raw", gz=False)
    assert len(read(tmp_path, val=5).train) == 25
    assert len(read(str(tmp_path), val=5, download=True).train) == 25, (
        "what is there is not fetched again"
    )


def test_debians_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "DEBIAN_FASHION_MNIST", write_all(tmp_path / "debian"))
    assert len(fashion_mnist(tmp_path / "empty", val=5).train) == 25
    with pytest.raises(DataError, match="not found"):
        mnist(tmp_path / "empty")


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError("no route to host"),
        RuntimeError("file not found or corrupted"),
        TimeoutError("timed out"),
    ],
    ids=lambda e: type(e).__name__,
)
@pytest.mark.parametrize("read", [mnist, fashion_mnist])
def test_no_network(tmp_path, monkeypatch, read, failure):
    def refuse(*args, **kwargs):
        raise failure

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", refuse)
    with pytest.raises(ResourceError, match="could not be downloaded") as caught:
        read(tmp_path, download=True)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.exit_code == 6


def test_a_download_to_a_root_that_is_a_file(tmp_path):
    (tmp_path / "a-file").write_text("")
    with pytest.raises(ResourceError, match="could not be downloaded"):
        mnist(tmp_path / "a-file", download=True)


def fetch_small_files(url, download_root, filename, md5):
    name = filename.removesuffix(".gz")
    Path(download_root, name).write_bytes(contents(size=28)[name])


@pytest.mark.parametrize("read", [mnist, fashion_mnist])
def test_download(tmp_path, monkeypatch, read):
    monkeypatch.setattr(
        torchvision.datasets.mnist, "download_and_extract_archive", fetch_small_files
    )
    data = read(tmp_path / "new", download=True, val=5)
    assert (len(data.train), data.shape) == (25, (1, 28, 28))
    assert read(tmp_path / "new", val=5).digest() == data.digest()


def test_a_download_that_leaves_a_file_out(tmp_path, monkeypatch):
    class Forgetful:
        def __init__(self, root, *, download):
            write_all(Path(root) / "MNIST" / "raw")
            (Path(root) / "MNIST" / "raw" / f"{NAMES[3]}.gz").unlink()

    monkeypatch.setattr(torchvision.datasets, "MNIST", Forgetful)
    with pytest.raises(DataError, match=rf"{NAMES[3]} .*not found"):
        mnist(tmp_path, download=True)


@pytest.mark.parametrize("damage", [b"", b"\0\0\x08", b"\0\0\x08\x03\0\0", b"hello, world"])
def test_a_download_beside_a_damaged_file(tmp_path, monkeypatch, damage):
    """torchvision keeps a file that is there and reads it at once: its own errors should not get
    out.
    """
    monkeypatch.setattr(
        torchvision.datasets.mnist, "download_and_extract_archive", fetch_small_files
    )

    def fetch_and_damage(url, download_root, filename, md5):
        fetch_small_files(url, download_root, filename, md5)
        Path(download_root, NAMES[0]).write_bytes(damage)

    monkeypatch.setattr(
        torchvision.datasets.mnist, "download_and_extract_archive", fetch_and_damage
    )
    with pytest.raises(DataError, match=NAMES[0]):
        mnist(tmp_path, download=True)


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    data = digits()
    assert (len(data.train), len(data.val), data.test_size) == (1097, 200, 500)
    assert (data.shape, data.classes, data.train.inputs.dtype) == ((1, 8, 8), 10, torch.uint8)
    bunch = load_digits()
    sixteenths = np.round(bunch.images / 16 * 255).astype(np.uint8)
    wanted = sorted(
        image.tobytes() + bytes([label])
        for image, label in zip(sixteenths, bunch.target, strict=True)
    )
    found = [
        image.numpy().tobytes() + bytes([label])
        for split in (data.train, data.val, data.open_test())
        for image, label in zip(split.inputs, split.labels.tolist(), strict=True)
    ]
    assert sorted(found) == wanted
    assert digits().digest() == data.digest() != digits(split_seed=1).digest()


@pytest.mark.parametrize(
    "setting", [{"test": 0}, {"test": 1797}, {"test": 0.5}, {"test": True}, {"val": 0}]
)
def test_bad_settings_of_digits(setting):
    with pytest.raises(ConfigError, match=rf"data\.{next(iter(setting))}="):
        digits(**setting)


@pytest.mark.parametrize(("read", "folder"), [(mnist, "mnist"), (fashion_mnist, "fashion_mnist")])
def test_the_real_files(read, folder):
    if not (REAL / folder).is_dir():
        pytest.skip(f"{folder}'s files are not in {REAL.name} beside the repository")
    data = read(REAL / folder)
    test = data.open_test()
    assert (len(data.train), len(data.val), len(test), data.test_size) == (
        55_000,
        5_000,
        10_000,
        10_000,
    )
    assert (data.shape, data.classes, data.name) == ((1, 28, 28), 10, folder)
    both = torch.bincount(torch.cat([data.train.labels, data.val.labels])).tolist()
    if read is mnist:
        assert both == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert torch.bincount(test.labels).tolist() == [
            980,
            1135,
            1032,
            1010,
            982,
            892,
            958,
            1028,
            974,
            1009,
        ]
        pixels = torch.cat([data.train.inputs, data.val.inputs]).double() / 255
        assert pixels.mean().item() == pytest.approx(0.1307, abs=5e-5)
        assert pixels.std().item() == pytest.approx(0.3081, abs=5e-5)
    else:
        assert both == [6000] * 10
        assert torch.bincount(test.labels).tolist() == [1000] * 10
