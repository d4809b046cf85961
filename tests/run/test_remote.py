import json
import os
import shutil

import fsspec
import pytest
from support.object_storage import faulty_storage

from limbeck._base.errors import ConfigError, ResourceError
from limbeck._base.files import write_json, write_text
from limbeck.run import remote, uploader
from limbeck.run.folder import RunFolder
from limbeck.run.lease import LEASE, LeaseLostError
from limbeck.run.listing import list_runs_at
from limbeck.run.lock import Holder
from limbeck.run.remote import (
    everything,
    fetch_run,
    new_run_folder,
    remote_run,
    results,
    results_and_models,
)

faulty = pytest.fixture(faulty_storage)
ADDRESS = "faulty://bucket/run"
MANIFEST = {"recipe": "digits", "seeds": [0], "state": "running"}


@pytest.fixture
def machine(tmp_path, monkeypatch, faulty):
    """Function that turns this process into one of another machine, whose cache is empty."""

    def change(name):
        monkeypatch.setattr(remote, "_runs", {})
        monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / name))

    monkeypatch.setattr(uploader, "UPLOAD_SECONDS", 60.0)  # only at the end of a block
    change("first")
    return change


@pytest.fixture
def system(machine):
    return fsspec.filesystem("faulty")


def names(system):
    return sorted(name.removeprefix("/bucket/run/") for name in system.find("/bucket/run"))


def write_run(folder, state="running", **files):
    """Write files of a run, and its manifest as the last of them."""
    for name, text in files.items():
        write_text(folder / name.replace("__", "/"), text)
    write_json(folder / "manifest.json", {**MANIFEST, "state": state})


def new_run(**files):
    """Run a study, as far as its folder is concerned."""
    folder = RunFolder(new_run_folder(ADDRESS))
    with folder.claim():
        write_run(folder.path, **files)
    return folder


def test_a_path_is_no_address(tmp_path):
    assert new_run_folder(tmp_path) == fetch_run(tmp_path) == tmp_path
    assert remote_run(tmp_path) is None


def test_files_go_up_and_the_manifest_last(system, faulty):
    new_run(summary="{}", students__a__seed0__model="1", checkpoints__cohort0__step1="2")
    uploads = [call for call in faulty.calls if call.startswith("upload")]
    assert uploads[-1].startswith("upload manifest") or uploads[-1].startswith("upload .outgoing")
    assert names(system) == [
        "checkpoints/cohort0/step1",
        "manifest.json",
        "students/a/seed0/model",
        "summary",
    ]


def test_temporary_files_and_links_stay_here(system):
    folder = RunFolder(new_run_folder(ADDRESS))
    with folder.claim():
        write_run(folder.path)
        (folder.path / ".a.1-00000000.tmp").write_text("half")
        (folder.path / "link").symlink_to("manifest.json")
    assert names(system) == ["manifest.json"]


def test_another_machine_goes_on_from_all_files(system, machine):
    new_run(summary="{}", checkpoints__cohort0__step1="2")
    machine("second")
    folder = RunFolder(new_run_folder(ADDRESS, resume=True))
    with folder.claim(resume=True):
        assert (folder.path / "checkpoints" / "cohort0" / "step1").read_text() == "2"
        shutil.rmtree(folder.checkpoints)
        write_run(folder.path, state="finished", report="r")
    assert names(system) == ["manifest.json", "report", "summary"]
    machine("third")
    assert json.loads((fetch_run(ADDRESS) / "manifest.json").read_text())["state"] == "finished"


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (results, {"manifest.json", "summary"}),
        (results_and_models, {"manifest.json", "summary", "students/a"}),
        (everything, {"manifest.json", "summary", "students/a", "checkpoints/c", "logs/l"}),
    ],
)
def test_readers_download_what_they_need(system, machine, select, expected):
    new_run(summary="{}", students__a="1", checkpoints__c="2", logs__l="3")
    machine("second")
    folder = fetch_run(ADDRESS, select)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.relative_to(folder).as_posix() for path in files} == expected


def test_a_run_is_not_replaced_unasked(system, machine):
    new_run(summary="{}")
    machine("second")
    with pytest.raises(
        ConfigError, match=rf"out={ADDRESS} is not empty .*limbeck resume {ADDRESS}"
    ):
        new_run()


def test_a_run_can_be_replaced(system, machine):
    new_run(summary="{}", students__a="1")
    machine("second")
    folder = RunFolder(new_run_folder(ADDRESS))
    with folder.claim(overwrite=True):
        assert names(system) == [LEASE]
        write_run(folder.path, students__b="2")
    assert names(system) == ["manifest.json", "students/b"]


def test_other_files_are_not_touched(system):
    system.pipe({"/bucket/run/photo.png": b"1"})
    with pytest.raises(ConfigError, match=r"is not empty \(it contains photo.png\)"):
        new_run_folder(ADDRESS)


def test_a_run_that_somebody_has_deleted_is_gone_here_too(system):
    folder = new_run(summary="{}")
    system.rm("/bucket/run", recursive=True)
    assert not fetch_run(ADDRESS).exists()
    with pytest.raises(ConfigError, match=f"{ADDRESS} contains no run to resume"):
        folder.check(resume=True)


def test_two_processes_do_not_write_one_run(system):
    folder = new_run(config="{}")
    holder = {**vars(Holder.current()), "pid": os.getppid()}
    system.pipe(f"/bucket/run/{LEASE}", json.dumps({"holder": holder}).encode())
    with pytest.raises(ConfigError, match=f"{ADDRESS} is in use by"), folder.claim(resume=True):
        raise AssertionError


def lose_lease(system):
    folder = RunFolder(new_run_folder(ADDRESS))
    with folder.claim():
        write_run(folder.path)
        system.pipe(f"/bucket/run/{LEASE}", b"{}")


def test_a_process_that_lost_the_lease_writes_nothing_more(system):
    with pytest.raises(LeaseLostError, match="was taken over"):
        lose_lease(system)
    assert names(system) == [LEASE]


def cut_off(faulty, error=None):
    """Run a study that loses the storage before its end; afterwards the storage is back."""
    folder = RunFolder(new_run_folder(ADDRESS))
    try:
        with folder.claim():
            write_run(folder.path, state="finished", summary="{}")
            faulty.faults[:] = [ConnectionError("gone")] * 100  # more than the threads call
            if error is not None:
                raise error
    finally:
        faulty.faults.clear()


def test_what_could_not_be_uploaded_is_uploaded_by_resume(system, faulty):
    message = f"cannot be reached .* 'limbeck resume {ADDRESS}' uploads it"
    with pytest.raises(ResourceError, match=message):
        cut_off(faulty)
    assert names(system) == [LEASE]
    folder = RunFolder(new_run_folder(ADDRESS, resume=True))
    assert remote_run(folder.path).has_unsent_files()
    with folder.claim(resume=True):
        pass
    assert names(system) == ["manifest.json", "summary"]
    assert not remote_run(folder.path).has_unsent_files()


@pytest.mark.filterwarnings("ignore:faulty")
def test_an_error_of_the_run_comes_before_that_of_the_storage(faulty, machine):
    with pytest.raises(ZeroDivisionError):
        cut_off(faulty, ZeroDivisionError())


def test_newer_work_of_another_machine_wins(system, faulty, machine):
    first = new_run(summary="old", students__a="1")
    machine("second")
    other = RunFolder(new_run_folder(ADDRESS, resume=True))
    with other.claim(resume=True):
        write_run(other.path, state="finished", summary="new")
    machine("first")
    write_text(first.path / "summary", "never uploaded")
    folder = fetch_run(ADDRESS)
    assert folder == first.path
    assert (folder / "summary").read_text() == "new"


def test_what_this_machine_has_not_uploaded_stays(system, machine):
    folder = new_run(summary="old")
    write_text(folder.path / "summary", "newer")
    fetch_run(ADDRESS)
    assert (folder.path / "summary").read_text() == "newer"


def test_a_command_that_reads_uploads_what_it_writes(system, machine):
    new_run(summary="{}", state="finished", students__a="1")
    machine("second")
    folder = fetch_run(ADDRESS, results)
    write_text(folder / "report", "r")
    remote_run(folder).upload_outputs()
    assert names(system) == ["manifest.json", "report", "students/a", "summary"]


def test_runs_below_an_address_are_listed(system, machine, tmp_path):
    new_run(summary="{}", students__a="1")
    entries = list_runs_at("faulty://bucket", tmp_path / "list")
    assert [(entry.path.name, entry.recipe, entry.state) for entry in entries] == [
        ("run", "digits", "stopped")
    ]


@pytest.mark.parametrize("address", ["hf://datasets/a/b", "https://host/run"])
def test_a_run_cannot_be_at_an_address_for_reading(machine, address):
    with pytest.raises(ConfigError, match="a run cannot be at an address of"):
        new_run_folder(address)
