import fsspec
import pytest
from support.object_storage import faulty_storage

from limbeck._base.errors import ConfigError, ResourceError, UntrustedFileError
from limbeck._base.mirror import Mirror
from limbeck._base.storage import Storage

faulty = pytest.fixture(faulty_storage)


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_files_are_listed_below_an_address(memory):
    memory.pipe({"/bucket/run/a": b"1", "/bucket/run/b/c": b"22", "/bucket/run2/d": b"3"})
    storage = Storage("memory://bucket/run/")
    assert {name: file.size for name, file in storage.files().items()} == {"a": 1, "b/c": 2}
    assert Storage("memory://bucket/none").files() == {}


def test_a_file_at_an_address_has_its_last_part_as_its_name(memory):
    memory.pipe("/bucket/table.csv", b"a")
    storage = Storage("memory://bucket/table.csv")
    (file,) = storage.files().values()
    assert file.name == storage.name == "table.csv"
    assert storage.is_root(file)


def test_versions_change_with_the_content(memory, tmp_path):
    storage = Storage("memory://bucket")
    (tmp_path / "a").write_bytes(b"1")
    first = storage.upload(tmp_path / "a", "a")
    assert storage.files()["a"] == first
    (tmp_path / "a").write_bytes(b"2")
    assert storage.upload(tmp_path / "a", "a").version != first.version


def test_a_file_is_created_once(memory):
    storage = Storage("memory://bucket")
    assert storage.create("lease", b"1")
    assert not storage.create("lease", b"2")
    assert storage.read("lease") == b"1"
    storage.remove(["lease", "lease"])
    assert storage.read("lease") is None


def test_names_cannot_lead_out_of_a_folder(memory):
    memory.store["/bucket/../x"] = memory.open("/bucket/y", "wb")
    with pytest.raises(UntrustedFileError, match=r"'\.\./x', which is not a path below it"):
        Storage("memory://bucket").files()


@pytest.mark.parametrize(
    "address",
    ["ftp://me:secret@host/run", "https://host/a.csv?X-Amz-Signature=secret&a=b"],
)
def test_secrets_in_addresses_are_refused_and_not_shown(address):
    with pytest.raises(ConfigError, match="holds a password or key") as refusal:
        Storage(address)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("address", ["s3://", "memory:///"])
@pytest.mark.parametrize("kind", [Storage, Mirror])
def test_an_address_without_a_place_is_refused(address, kind):
    with pytest.raises(ConfigError, match=f"{address} names no place"):
        kind(address)


def test_an_unknown_protocol_is_named():
    with pytest.raises(ConfigError, match="s4:// is unknown"):
        Storage("s4://bucket/run")


def test_a_missing_package_is_named(monkeypatch):
    def missing(*arguments, **options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", missing)
    with pytest.raises(ResourceError, match="pip install s3fs"):
        Storage("s3://bucket/run")


def test_a_lost_connection_is_tried_again(faulty):
    storage = Storage("faulty://bucket")
    faulty.faults[:] = [ConnectionResetError("reset"), TimeoutError(), OSError("busy")]
    storage.write("a", b"1")
    assert faulty.calls == ["write a"] * 4
    assert storage.read("a") == b"1"


def test_a_connection_that_stays_lost_is_one_message(faulty):
    faulty.faults[:] = [ConnectionError("no route to https://host/a?key=abc")] * 4
    with pytest.raises(
        ResourceError, match=r"faulty://bucket cannot be reached \(no route"
    ) as error:
        Storage("faulty://bucket").read("a")
    assert "abc" not in str(error.value)


class NoCredentialsError(Exception):
    """As botocore raises it."""


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (PermissionError("Access Denied"), r"permission denied \(Access Denied\)"),
        (NoCredentialsError("Unable to locate credentials"), "there are no credentials"),
        (OSError(28, "No space left on device"), "the storage is full"),
        (OSError(5, "QuotaExceeded"), "the storage is full"),
    ],
)
def test_faults_that_stay_are_not_tried_again(faulty, fault, message):
    faulty.faults[:] = [fault]
    with pytest.raises(ResourceError, match=message):
        Storage("faulty://bucket").write("a", b"1")
    assert len(faulty.calls) == 1


def test_a_download_that_is_cut_short_is_tried_again(faulty, tmp_path, monkeypatch):
    storage = Storage("faulty://bucket")
    storage.write("a", b"12345")
    files = list(storage.files().values())
    whole = type(storage._system).get_file

    def cut(self, rpath, lpath, **options):
        whole(self, rpath, lpath, **options)
        if faulty.calls.count("download a") == 1:
            (tmp_path / "a").write_bytes(b"12")

    monkeypatch.setattr(faulty, "get_file", cut)
    storage.download(files, tmp_path)
    assert (tmp_path / "a").read_bytes() == b"12345"
    assert faulty.calls.count("download a") == 2
