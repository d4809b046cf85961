import gzip
import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from support.idx_files import NAMES, idx, mnist_files, write_mnist

from limbeck._base.errors import ConfigError, DataError, ResourceError, UntrustedFileError
from limbeck.data import fashion_mnist, mnist
from limbeck.data.images import download as downloads
from limbeck.data.images import mnist as module
from limbeck.data.images.idx import read_idx

BESIDE_REPOSITORY = Path(__file__).resolve().parents[3].parent / "shared" / "data"
REAL_FILES = Path(os.environ.get("LIMBECK_DATA", BESIDE_REPOSITORY))


@pytest.fixture(autouse=True)
def _no_debian_no_network(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise AssertionError("a test must not use the network")

    monkeypatch.setattr(module, "DEBIAN_FASHION_MNIST", tmp_path / "no-debian")
    monkeypatch.setattr(downloads, "urlopen", refuse)


@pytest.mark.parametrize("gz", [True, False])
def test_small_files_are_read(tmp_path, gz):
    data = mnist(write_mnist(tmp_path, gz=gz), val=5)
    assert (len(data.train), len(data.val), data.test_size) == (25, 5, 20)
    assert (data.shape, data.classes) == ((1, 6, 6), 10)
    pixels = np.frombuffer(mnist_files()[NAMES[2]][16:], np.uint8).reshape(20, 1, 6, 6)
    np.testing.assert_array_equal(data.open_test().inputs.numpy(), pixels)
    assert data.open_test().labels.tolist() == [i % 10 for i in range(20)]


def test_the_content_tells_gzip_not_the_name(tmp_path):
    for name, content in mnist_files().items():
        (tmp_path / name).write_bytes(gzip.compress(content))
    (tmp_path / NAMES[0]).unlink()
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(mnist_files()[NAMES[0]])
    assert len(mnist(tmp_path, val=5).train) == 25


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_named(tmp_path, name):
    file = write_mnist(tmp_path) / f"{name}.gz"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="is damaged") as caught:
        mnist(tmp_path, val=5)
    assert str(file) in str(caught.value)


def test_numbers_of_images_and_labels_differ(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / f"{NAMES[3]}.gz").write_bytes(idx(np.arange(19) % 10))
    with pytest.raises(
        DataError, match=r"t10k-images.*has 20 images, but .*t10k-labels.*has 19 labels"
    ):
        mnist(tmp_path, val=5)


@pytest.mark.parametrize("name", [NAMES[1], NAMES[3]])
def test_a_label_out_of_range_is_named(tmp_path, name):
    write_mnist(tmp_path)
    count = 30 if "train" in name else 20
    (tmp_path / f"{name}.gz").write_bytes(idx(np.arange(count) % 10 + 1))
    with pytest.raises(DataError, match=rf"{name}\.gz contains the label 10, but mnist has labels"):
        mnist(tmp_path, val=5)


def test_files_of_no_images(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / f"{NAMES[2]}.gz").write_bytes(idx(np.zeros((0, 6, 6))))
    (tmp_path / f"{NAMES[3]}.gz").write_bytes(idx(np.zeros(0)))
    with pytest.raises(DataError, match="mnist, test split is empty"):
        mnist(tmp_path, val=5)


def test_test_images_of_another_size(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / f"{NAMES[2]}.gz").write_bytes(idx(np.zeros((20, 5, 5))))
    with pytest.raises(DataError, match="need inputs of the same shape"):
        mnist(tmp_path, val=5)


@pytest.mark.parametrize("missing", [NAMES[:1], NAMES[1:3], NAMES])
@pytest.mark.parametrize("load", [mnist, fashion_mnist])
def test_missing_files_are_named(tmp_path, load, missing):
    write_mnist(tmp_path)
    for name in missing:
        (tmp_path / f"{name}.gz").unlink()
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    message = str(caught.value)
    for name in NAMES:
        assert (name in message) == (name in missing)
    for part in (str(tmp_path), load.__name__, "data.root=", "data.download=true"):
        assert part in message


@pytest.mark.parametrize("root", ["nowhere", "a-file", "a-file/below"])
def test_a_root_that_is_not_a_folder(tmp_path, root):
    (tmp_path / "a-file").write_text("")
    with pytest.raises(DataError, match="not found in"):
        mnist(tmp_path / root)


def test_a_folder_in_place_of_a_file(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / f"{NAMES[2]}.gz").unlink()
    (tmp_path / NAMES[2]).mkdir()
    with pytest.raises(DataError, match=rf"{NAMES[2]} \(plain or \.gz\) not found"):
        mnist(tmp_path)


def test_a_folder_without_access_is_named(open_folder):
    (open_folder / "locked").mkdir(mode=0)
    with pytest.raises(DataError, match=r"locked/\S+ cannot be read \(Permission denied\)"):
        mnist(open_folder / "locked")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    write_mnist(tmp_path)

    def refuse(file):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("limbeck._base.reading.open_file", refuse)
    with pytest.raises(
        DataError, match=r"train-images-idx3-ubyte\.gz cannot be read \(Permission denied\)"
    ):
        mnist(tmp_path)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"size": 0}, r"data\.size=0"),
        ({"size": 2.5}, r"data\.size=2\.5"),
        ({"channels": 2}, r"data\.channels=2"),
        ({"train": 0}, r"data\.train=0"),
        ({"train": 21}, r"data\.train=21 is too large: only 20 images are left"),
        ({"test": 21}, r"data\.test=21"),
        ({"test": "x"}, r"data\.test='x'"),
    ],
)
def test_settings_out_of_range_are_named(tmp_path, setting, message):
    with pytest.raises(ConfigError, match=message):
        mnist(write_mnist(tmp_path), val=10, **setting)


def test_a_part_of_the_images_in_another_size_and_number_of_channels(tmp_path):
    data = mnist(write_mnist(tmp_path), val=10, size=32, channels=3, train=15, test=5)
    assert (data.shape, len(data.train), len(data.val), data.test_size) == ((3, 32, 32), 15, 10, 5)


# Folders and downloads ----------------------------------------------------------------------------


@pytest.mark.parametrize(("load", "name"), [(mnist, "MNIST"), (fashion_mnist, "FashionMNIST")])
def test_the_root_of_torchvision(tmp_path, load, name):
    write_mnist(tmp_path / name / "raw", gz=False)
    assert len(load(tmp_path, val=5).train) == 25
    again = load(str(tmp_path), val=5, download=True)
    assert len(again.train) == 25, "existing files are not downloaded again"


def test_the_folder_of_debian(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "DEBIAN_FASHION_MNIST", write_mnist(tmp_path / "debian"))
    assert len(fashion_mnist(tmp_path / "empty", val=5).train) == 25
    with pytest.raises(DataError, match="not found"):
        mnist(tmp_path / "empty")


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError("no route to host"),
        http.client.BadStatusLine("\n\n"),
        TimeoutError("timed out"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("load", [mnist, fashion_mnist])
def test_no_network(tmp_path, monkeypatch, load, failure):
    def refuse(*args, **kwargs):
        raise failure

    monkeypatch.setattr(downloads, "urlopen", refuse)
    root = tmp_path / "data"
    with pytest.raises(ResourceError, match="could not be downloaded") as caught:
        load(root, download=True)
    assert str(root) in str(caught.value)
    assert not root.exists()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 6


def test_a_download_to_a_root_that_is_a_file(tmp_path):
    (tmp_path / "a-file").write_text("")
    with pytest.raises(ResourceError, match="could not be downloaded"):
        mnist(tmp_path / "a-file", download=True)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder in place of the network: the first mirror lacks the files."""
    folder = write_mnist(tmp_path / "site")
    resources = []
    for name in NAMES:
        content = (folder / f"{name}.gz").read_bytes()
        resources.append((f"{name}.gz", hashlib.md5(content).hexdigest()))
    for dataset in (torchvision.datasets.MNIST, torchvision.datasets.FashionMNIST):
        mirrors = [(tmp_path / "gone").as_uri() + "/", folder.as_uri() + "/"]
        monkeypatch.setattr(dataset, "mirrors", mirrors)
        monkeypatch.setattr(dataset, "resources", resources)
    monkeypatch.setattr(downloads, "urlopen", urllib.request.urlopen)
    return folder


@pytest.mark.parametrize(("load", "name"), [(mnist, "MNIST"), (fashion_mnist, "FashionMNIST")])
def test_download(tmp_path, site, load, name, capsys):
    data = load(tmp_path / "new", download=True, val=5)
    assert len(data.train) == 25
    assert sorted(os.listdir(tmp_path / "new" / name / "raw")) == sorted(os.listdir(site))
    assert f"download of {NAMES[0]}.gz: 100 %" in capsys.readouterr().err
    shutil.rmtree(site)
    assert load(tmp_path / "new", val=5, download=True).digest() == data.digest()


def test_only_missing_files_are_downloaded(tmp_path, site):
    folder = write_mnist(tmp_path / "MNIST" / "raw", gz=False, seed=1)
    before = (folder / NAMES[0]).read_bytes()
    (folder / NAMES[3]).unlink()
    assert len(mnist(tmp_path, download=True, val=5).train) == 25
    assert sorted(os.listdir(folder)) == sorted([*NAMES[:3], f"{NAMES[3]}.gz"])
    assert (folder / NAMES[0]).read_bytes() == before


@pytest.mark.parametrize("load", [mnist, fashion_mnist])
def test_a_download_with_another_md5_is_deleted(tmp_path, site, load):
    (site / f"{NAMES[0]}.gz").write_bytes(b"another file")
    with pytest.raises(UntrustedFileError, match="is not the published file: its MD5 is") as caught:
        load(tmp_path / "new", download=True)
    assert caught.value.exit_code == 7
    assert not (tmp_path / "new").exists()


def test_a_download_follows_no_planted_link(tmp_path, site):
    folder, victim = tmp_path / "MNIST" / "raw", tmp_path / "victim"
    folder.mkdir(parents=True)
    (folder / f"{NAMES[0]}.gz").symlink_to(victim)
    (folder / f".{NAMES[1]}.gz.7-01234567.tmp").write_text("of a killed process")
    (folder / f".{NAMES[1]}.gz.lock").touch()
    mnist(tmp_path, download=True, val=5)
    assert not victim.exists()
    assert sorted(os.listdir(folder)) == sorted(os.listdir(site))


def test_a_file_that_unpacks_to_too_much(tmp_path, monkeypatch):
    write_mnist(tmp_path)
    monkeypatch.setattr("limbeck.data.images.idx.MAX_BYTES", 1000)
    monkeypatch.setattr("limbeck._base.reading.MIN_UNPACKED_BYTES", 1000)
    with gzip.open(tmp_path / "zeros.gz", "wb") as file:
        file.write(bytes(20_000))
    with pytest.raises(DataError, match=r"not an idx file: \d+ bytes unpack to more than \d,\d+"):
        read_idx(tmp_path / "zeros.gz", dimensions=1)
    with pytest.raises(DataError, match="is not an idx file: it is larger than"):
        mnist(tmp_path)


# The real files -----------------------------------------------------------------------------------


@pytest.mark.skipif(not (REAL_FILES / "mnist").is_dir(), reason=f"no MNIST in {REAL_FILES}")
def test_the_real_mnist():
    data = mnist(REAL_FILES / "mnist")
    assert (len(data.train), len(data.val), data.test_size) == (55_000, 5_000, 10_000)
    assert (data.shape, data.classes, data.name) == ((1, 28, 28), 10, "mnist")
    train_labels = torch.cat([data.train.labels, data.val.labels]).bincount().tolist()
    assert train_labels == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test_labels = data.open_test().labels.bincount().tolist()
    assert test_labels == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    counts = sum(split.inputs.flatten().bincount(minlength=256) for split in (data.train, data.val))
    pixels = torch.arange(256, dtype=torch.float64) / 255
    shares = counts / counts.sum()
    mean = (shares * pixels).sum()
    std = (shares * (pixels - mean) ** 2).sum().sqrt()
    assert mean.item() == pytest.approx(0.1307, abs=5e-5)
    assert std.item() == pytest.approx(0.3081, abs=5e-5)


@pytest.mark.skipif(
    not (REAL_FILES / "fashion_mnist").is_dir(), reason=f"no Fashion-MNIST in {REAL_FILES}"
)
def test_the_real_fashion_mnist():
    data = fashion_mnist(REAL_FILES / "fashion_mnist")
    assert (len(data.train), len(data.val), data.test_size) == (55_000, 5_000, 10_000)
    assert torch.cat([data.train.labels, data.val.labels]).bincount().tolist() == [6000] * 10
    assert data.open_test().labels.bincount().tolist() == [1000] * 10
