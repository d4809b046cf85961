import fsspec
import pytest
from support.object_storage import faulty_storage

from limbeck._base.copies import local_copy
from limbeck._base.errors import DataError, TeacherError

faulty = pytest.fixture(faulty_storage)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def system(faulty):
    return fsspec.filesystem("faulty")


def downloads(faulty):
    return [call for call in faulty.calls if call.startswith("download")]


def test_a_path_stays_as_it_is(tmp_path):
    assert local_copy(tmp_path) == tmp_path
    assert local_copy(f"file://{tmp_path}") == tmp_path


def test_a_folder_is_downloaded_once(system, faulty):
    system.pipe({"/b/photos/cat/1.png": b"1", "/b/photos/dog/2.png": b"2"})
    folder = local_copy("faulty://b/photos")
    assert folder.name == "photos"
    assert (folder / "dog" / "2.png").read_bytes() == b"2"
    assert local_copy("faulty://b/photos/") == folder
    assert len(downloads(faulty)) == 2


def test_only_what_changes_is_downloaded_again(system, faulty):
    system.pipe({"/b/photos/1": b"1", "/b/photos/2": b"2", "/b/photos/3": b"3"})
    folder = local_copy("faulty://b/photos")
    system.pipe("/b/photos/1", b"new")
    system.rm("/b/photos/2")
    (folder / "3").write_bytes(b"damaged")
    faulty.calls.clear()
    local_copy("faulty://b/photos")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {"1": b"new", "3": b"3"}
    assert sorted(downloads(faulty)) == ["download 1", "download 3"]


def test_a_file_is_downloaded_under_its_name(system):
    system.pipe("/b/table.csv", b"a,b")
    path = local_copy("faulty://b/table.csv")
    assert (path.name, path.read_bytes()) == ("table.csv", b"a,b")


def test_an_interrupted_download_goes_on(system, faulty, monkeypatch):
    monkeypatch.setattr("limbeck._base.mirror.BATCH", 1)
    system.pipe({"/b/photos/1": b"1", "/b/photos/2": b"2"})
    system.find("/b/photos")
    whole = faulty.get_file
    monkeypatch.setattr(faulty, "get_file", fail_after(whole, 1))
    with pytest.raises(KeyboardInterrupt):
        local_copy("faulty://b/photos")
    monkeypatch.setattr(faulty, "get_file", whole)
    faulty.calls.clear()
    assert len(list(local_copy("faulty://b/photos").iterdir())) == 2
    assert len(downloads(faulty)) == 1


def fail_after(method, count):
    calls = []

    def call(*arguments, **options):
        calls.append(arguments)
        if len(calls) > count:
            raise KeyboardInterrupt
        return method(*arguments, **options)

    return call


def test_nothing_at_an_address_is_an_error_of_the_kind_asked_for(faulty):
    with pytest.raises(DataError, match="faulty://b/none is missing or empty"):
        local_copy("faulty://b/none")
    with pytest.raises(TeacherError, match="is missing"):
        local_copy("faulty://b/none", missing=TeacherError)
