"""CIFAR's binary files: read exactly, from a folder or an archive, and checked."""

import dataclasses
import hashlib
import io
import socket
import tarfile
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import cifar_files

from limbeck._base.errors import DataError, ResourceError, UntrustedFileError
from limbeck.data import cifar10, cifar100
from limbeck.data.images import cifar

READ = {
    "cifar10": (
        cifar10,
        cifar_files.cifar10_files,
        "cifar-10-batches-bin",
        "cifar-10-binary.tar.gz",
    ),
    "cifar100": (
        cifar100,
        cifar_files.cifar100_files,
        "cifar-100-binary",
        "cifar-100-binary.tar.gz",
    ),
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(cifar, "SITE", (tmp_path / "nowhere").as_uri() + "/")


@pytest.mark.parametrize("name", READ)
def test_the_same_from_folders_and_from_the_archive(tmp_path, name):
    read, files, folder, archive = READ[name]
    cifar_files.write(tmp_path / "bare", files())
    cifar_files.write(tmp_path / "above" / folder, files())
    cifar_files.archive(tmp_path / "packed" / archive, files(), f"{folder}/")
    cifar_files.archive(tmp_path / "dotted" / archive, files(), f"./{folder}/")
    roots = ("bare", "above", "packed", "dotted")
    datasets = [read(tmp_path / root, val=10) for root in roots]
    assert len({data.digest() for data in datasets}) == 1
    assert (datasets[0].shape, datasets[0].name) == ((3, 32, 32), name)
    assert not (tmp_path / "packed" / folder).exists(), "nothing is unpacked"


def test_every_pixel_and_label_of_cifar10(tmp_path):
    cifar_files.write(tmp_path, cifar_files.cifar10_files())
    data = cifar10(tmp_path, val=10)
    assert (len(data.train), len(data.val), data.test_size, data.classes) == (50, 10, 20, 10)
    test = data.open_test()
    np.testing.assert_array_equal(test.inputs.numpy(), cifar_files.rows(np.arange(20) % 10, 9)[1])
    assert test.labels.tolist() == [i % 10 for i in range(20)]


def test_fine_labels_of_cifar100(tmp_path):
    cifar_files.write(tmp_path, cifar_files.cifar100_files())
    data = cifar100(tmp_path, val=10)
    assert data.open_test().labels.tolist() == list(range(100))
    assert len(set(data.class_names)) == data.classes == 100
    assert data.class_names == sorted(data.class_names)


def test_a_row_is_red_green_and_blue(tmp_path):
    kind = cifar.CIFAR10
    content = bytes([3]) + bytes([1]) * 1024 + bytes([2]) * 1024 + bytes([*range(256)] * 4)
    split = cifar.read_rows(content, kind, where="it")
    assert split.labels.tolist() == [3]
    assert split.inputs[0, :2].flatten(1).unique(dim=1).tolist() == [[1], [2]]
    assert split.inputs[0, 2, 1, :4].tolist() == [32, 33, 34, 35]


@settings(max_examples=10, deadline=None)
@given(labels=st.lists(st.integers(0, 9), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_reading_inverts_writing(labels, seed):
    content, images = cifar_files.rows(labels, seed)
    split = cifar.read_rows(content, cifar.CIFAR10, where="it")
    assert split.labels.tolist() == labels
    np.testing.assert_array_equal(split.inputs.numpy(), images)


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        (
            "data_batch_2.bin",
            lambda c: c[:-1],
            r"has 36875 bytes; expected a multiple of 3073",
        ),
        ("data_batch_2.bin", lambda c: c + b"\0", "is damaged"),
        ("data_batch_2.bin", lambda c: b"", "has 0 bytes"),
        (
            "data_batch_2.bin",
            lambda c: c[:3073],
            "batches should have the same size, but have .*data_batch_2.bin 1",
        ),
        (
            "test_batch.bin",
            lambda c: c[:3073] + b"\x0a" + c[3074:],
            "image 1 has label 10, but cifar10 has labels from 0 to 9",
        ),
    ],
    ids=["short", "long", "empty", "cut at a row", "label"],
)
def test_damaged_files_are_named(tmp_path, name, spoil, message):
    files = cifar_files.cifar10_files()
    cifar_files.write(tmp_path, {**files, name: spoil(files[name])})
    with pytest.raises(DataError, match=message) as caught:
        cifar10(tmp_path, val=10)
    assert name in str(caught.value)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(
        DataError, match=r"data_batch_1.bin was found neither in .*data.download=true"
    ):
        cifar10(tmp_path)
    files = cifar_files.cifar10_files()
    del files["data_batch_4.bin"]
    cifar_files.write(tmp_path, files)
    with pytest.raises(
        DataError, match=r"data_batch_4\.bin not found in .*next to the other files"
    ):
        cifar10(tmp_path)


def test_a_folder_without_access_is_named(open_folder):
    (open_folder / "locked").mkdir(mode=0)
    with pytest.raises(DataError, match=r"data_batch_1\.bin cannot be read \(Permission denied"):
        cifar10(open_folder / "locked")


def test_the_pickled_version_is_not_touched(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(DataError, match="the binary version"):
        cifar10(tmp_path)


# The archive --------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 400_000), flip=st.integers(0, 255))
def test_any_damage_of_the_archive_is_a_data_error(tmp_path_factory, cut, flip):
    root = tmp_path_factory.getbasetemp() / "damaged"
    file = root / "cifar-10-binary.tar.gz"
    if not (root / "whole").is_file():
        cifar_files.archive(
            file, cifar_files.cifar10_files(each=2, test=2), "cifar-10-batches-bin/"
        )
        file.rename(root / "whole")
    content = bytearray((root / "whole").read_bytes())
    content = content[: cut % len(content) + 1]
    content[-1] ^= flip
    file.write_bytes(bytes(content))
    message = None
    try:
        assert len(cifar10(root, val=2).train) == 8
    except DataError as error:  # any other error is not caught
        message = str(error)
    assert message is None or str(file) in message


def test_strange_members_are_skipped(tmp_path):
    """Links, folders and paths that lead out are not followed and not written."""
    path = tmp_path / "root" / "cifar-10-binary.tar.gz"
    cifar_files.archive(path, cifar_files.cifar10_files(), "cifar-10-batches-bin/")
    with tarfile.open(path) as packed:
        members = [(m, packed.extractfile(m).read()) for m in packed.getmembers()]
    with tarfile.open(path, "w:gz") as out:
        for name, kind in (
            ("../out.bin", tarfile.REGTYPE),
            ("cifar-10-batches-bin/test_batch.bin", tarfile.SYMTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/hostname"
            out.addfile(member)
        for member, content in members[:-1]:
            out.addfile(member, io.BytesIO(content))
    with pytest.raises(DataError, match=r"lacks test_batch\.bin"):
        cifar10(path.parent, val=10)
    assert [p.name for p in tmp_path.rglob("*")] == ["root", path.name]


def test_an_archive_that_unpacks_to_too_much(tmp_path, monkeypatch):
    path = tmp_path / "cifar-10-binary.tar.gz"
    cifar_files.archive(path, cifar_files.cifar10_files(), "cifar-10-batches-bin/")
    monkeypatch.setattr(cifar, "MAX_FILE_BYTES", 100_000)
    with pytest.raises(DataError, match="it unpacks to more than 100,000 bytes"):
        cifar10(tmp_path, val=10)


# The download -------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site that has the archive."""
    path = cifar_files.archive(
        tmp_path / "site" / cifar.CIFAR10.archive,
        cifar_files.cifar10_files(),
        "cifar-10-batches-bin/",
    )
    monkeypatch.setattr(cifar, "SITE", path.parent.as_uri() + "/")
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(cifar, "CIFAR10", dataclasses.replace(cifar.CIFAR10, md5=digest))
    return path


def test_download(tmp_path, site, capsys):
    root = tmp_path / "new" / "place"
    data = cifar10(root, download=True, val=10)
    assert len(data.train) == 50
    assert "download of cifar-10-binary.tar.gz: 100 %" in capsys.readouterr().err
    assert [p.name for p in root.iterdir()] == [cifar.CIFAR10.archive]
    site.unlink()
    assert cifar10(root, download=True, val=10).digest() == data.digest(), "downloaded once"


def test_a_download_with_another_md5_is_deleted(tmp_path, site):
    site.write_bytes(b"<html>")
    with pytest.raises(UntrustedFileError, match=r"its MD5 is .*, expected"):
        cifar10(tmp_path / "new", download=True)
    assert not (tmp_path / "new").exists()


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "SITE", "http://127.0.0.1:9/")
    with pytest.raises(
        ResourceError, match=r"cifar10 could not be downloaded from http://127.0.0.1:9/.*by hand"
    ):
        cifar10(tmp_path / "new", download=True)
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="could not be downloaded"):
        cifar100(tmp_path / "file", download=True)


@pytest.mark.parametrize(
    "response",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
    ids=["no-http", "no-length", "cut"],
)
def test_a_response_that_is_not_the_archive(tmp_path, monkeypatch, response):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(response)

        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setattr(cifar, "SITE", f"http://127.0.0.1:{server.getsockname()[1]}/")
        with pytest.raises(
            (ResourceError, UntrustedFileError), match=r"cifar10 could not be downloaded|its MD5 is"
        ):
            cifar10(tmp_path / "new", download=True)
        thread.join()
    assert not (tmp_path / "new").exists()
