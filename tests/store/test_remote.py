"""Stores at an address: what goes up, and what other machines read there."""

import fsspec
import pytest
from support.object_storage import faulty_storage
from support.store_cases import SHARD, image_pass, open_counted, open_quietly

from limbeck._base.errors import LimbeckWarning
from limbeck.store import remote
from limbeck.store.build import is_complete
from limbeck.store.files import StoreFolder
from limbeck.store.folder import find_stores
from limbeck.store.settings import StoreSettings

faulty = pytest.fixture(faulty_storage)
ADDRESS = "faulty://bucket/answers"


@pytest.fixture
def machine(tmp_path, monkeypatch, faulty):
    """Function that returns the folder of stores on a machine with an empty cache."""

    def change(name):
        monkeypatch.setattr(remote, "_folders", {})
        monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / name))
        return StoreSettings(folder=ADDRESS).root

    return change


@pytest.fixture
def system(machine):
    return fsspec.filesystem("faulty")


def test_a_store_goes_up_with_its_header_last(machine, system, faulty):
    root = machine("first")
    open_quietly(image_pass(), root)
    writes = [call for call in faulty.calls if call.startswith("write")]
    shards = [f"write shard-{number:06d}.bin" for number in range(4)]
    assert writes == [*shards, "write shards.json", "write store.json"]


def test_another_machine_reads_the_same_answers_without_the_teacher(machine, system):
    first = open_quietly(image_pass(), machine("first")).records
    second, count, _ = open_counted(image_pass(), machine("second"))
    assert second.records.tolist() == first.tolist()
    assert count == 0


def test_a_complete_store_is_known_before_it_is_copied(machine, system):
    header = image_pass().header("float32")
    assert not is_complete(machine("first"), header)
    open_quietly(image_pass(), machine("first"))
    root = machine("second")
    assert is_complete(root, header)
    assert find_stores(root) == []


def test_damaged_shards_are_computed_and_uploaded_again(machine, system):
    open_quietly(image_pass(), machine("first"))
    (shard,) = system.glob("/bucket/answers/*/shard-000001.bin")
    sound = system.cat(shard)
    system.pipe(shard, sound[:-1] + b"?")
    assert open_counted(image_pass(), machine("second"))[1] == SHARD
    assert open_counted(image_pass(), machine("third"))[1] == 0


def test_answers_stay_here_if_they_cannot_be_uploaded(machine, system, faulty, monkeypatch):
    root = machine("first")

    def refuse(self, path, value, **options):
        raise PermissionError("Access Denied")

    with monkeypatch.context() as patch:
        patch.setattr(faulty, "pipe_file", refuse)
        with pytest.warns(LimbeckWarning, match="kept on this machine"):
            open_quietly(image_pass(), root)
    (store,) = find_stores(root)
    assert StoreFolder.open(store).complete
    assert system.find("/bucket/answers") == []
    open_quietly(image_pass(), root)
    assert len(system.find("/bucket/answers")) == 6
