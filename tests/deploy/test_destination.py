"""A bundle goes where nothing is lost, and earlier ones survive a failure."""

import os
import zipfile
from pathlib import Path

import pytest
from support.crashes import crash_at

from limbeck._base.cache import hold_lock
from limbeck._base.errors import ConfigError
from limbeck._base.files import write_json
from limbeck._base.open_folder import OpenFolder
from limbeck.deploy.destination import Destination
from limbeck.run.folder import RunFolder


@pytest.fixture
def bundle(tmp_path):
    """A folder that counts as a bundle."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "SHA256SUMS").write_text("new")
    return folder


def destination(tmp_path, *, zipped=True):
    (tmp_path / "place").mkdir(exist_ok=True)
    return Destination.of(tmp_path / "place" / "out", tmp_path, zipped=zipped)


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("/", "should be a folder"),
        ("x.zip", "The zip file is written next to it"),
        ("/proc/nothing/x", "cannot be created"),
        ("link", "is a broken link"),
    ],
)
def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path, to, message):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=message):
        Destination.of(tmp_path / to, tmp_path, zipped=True)


def test_a_file_is_refused(tmp_path):
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "out").write_text("mine")
    with pytest.raises(ConfigError, match="is a file"):
        destination(tmp_path).check_free(overwrite=True)


def test_without_a_name_the_bundle_goes_into_the_run_folder(tmp_path):
    place = Destination.of(None, tmp_path, zipped=True)
    assert (place.folder, place.archive) == (tmp_path / "bundle", tmp_path / "bundle.zip")


def test_missing_folders_are_created_when_the_bundle_is_complete(tmp_path, bundle):
    place = Destination.of(tmp_path / "a" / "b" / "out", tmp_path, zipped=False)
    place.recover()
    place.check_free(overwrite=False)
    assert not (tmp_path / "a").exists()
    place.publish(bundle, overwrite=False)
    assert [path.name for path in place.folder.iterdir()] == ["SHA256SUMS"]


def test_only_an_earlier_bundle_is_replaced_and_only_on_demand(tmp_path, bundle):
    place = destination(tmp_path)
    place.folder.mkdir()
    place.check_free(overwrite=False)  # an empty folder is free
    (place.folder / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="already exists"):
        place.check_free(overwrite=False)
    with pytest.raises(ConfigError, match="is not a bundle, so overwrite=true does not replace"):
        place.check_free(overwrite=True)
    (place.folder / "thesis.txt").unlink()
    place.archive.write_bytes(b"mine")
    with pytest.raises(ConfigError, match="is not a bundle, so overwrite=true does not replace"):
        place.check_free(overwrite=True)
    place.archive.unlink()
    place.publish(bundle, overwrite=False)
    with pytest.raises(ConfigError, match="already exists"):
        place.publish(bundle, overwrite=False)
    (bundle / "SHA256SUMS").write_text("newer")
    place.publish(bundle, overwrite=True)
    assert (place.folder / "SHA256SUMS").read_text() == "newer"
    assert sorted(path.name for path in place.folder.parent.iterdir()) == ["out", "out.zip"]


def test_an_interrupted_replacement_keeps_the_earlier_bundle(tmp_path, bundle, monkeypatch):
    place = destination(tmp_path)
    place.publish(bundle, overwrite=False)
    earlier = (place.folder / "SHA256SUMS").read_bytes(), place.archive.read_bytes()
    (bundle / "SHA256SUMS").write_text("newer")
    replace = os.replace

    def interrupt(source, target):
        if Path(target) == place.folder and Path(source).name == "out":
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("limbeck.deploy.destination.os.replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            place.publish(bundle, overwrite=True)
    assert ((place.folder / "SHA256SUMS").read_bytes(), place.archive.read_bytes()) == earlier
    assert sorted(path.name for path in place.folder.parent.iterdir()) == ["out", "out.zip"]


def test_the_slower_of_two_exports_fails(tmp_path, bundle):
    place = destination(tmp_path, zipped=False)
    place.check_free(overwrite=False)
    place.folder.mkdir()
    (place.folder / "theirs").write_text("x")
    with pytest.raises(ConfigError, match="already exists"):
        place.publish(bundle, overwrite=False)
    assert [path.name for path in place.folder.parent.iterdir()] == ["out"]


# Crashes and planted links ------------------------------------------------------------------------


def content_of(place):
    folder = {file.name: file.read_text() for file in place.folder.iterdir()}
    with zipfile.ZipFile(place.archive) as archive:
        return folder, archive.read("out/SHA256SUMS").decode()


@pytest.mark.slow
@pytest.mark.parametrize("next_command", ["export", "resume"])
def test_every_crash_leaves_the_earlier_or_the_new_bundle(tmp_path, bundle, next_command):
    place = destination(tmp_path)
    run = RunFolder(place.folder.parent)
    write_json(run.manifest, {})
    (bundle / "card.md").write_text("card")
    point, states = 0, set()
    while True:
        point += 1
        (bundle / "SHA256SUMS").write_text("old")
        place.publish(bundle, overwrite=True)
        (bundle / "SHA256SUMS").write_text("new")
        crashed = crash_at(point, lambda: place.publish(bundle, overwrite=True), tmp_path)
        if next_command == "resume":
            with run.claim(resume=True):
                assert place.folder.is_dir()
                assert place.archive.is_file()
        place.recover()
        assert sorted(os.listdir(run.path)) == ["manifest.json", "out", "out.zip"]
        folder, archive = content_of(place)
        assert sorted(folder) == ["SHA256SUMS", "card.md"]
        states.add((folder["SHA256SUMS"], archive))
        if not crashed:
            break
    assert states == {("old", "old"), ("new", "old"), ("new", "new")}
    assert point > 15


def test_an_export_in_progress_is_not_recovered(tmp_path, bundle):
    place = destination(tmp_path)
    with OpenFolder.open(place.folder.parent) as parent, hold_lock(parent, ".out"):
        staging = place.folder.parent / ".out.1-00000000.tmp"
        staging.mkdir()
        place.recover()
        assert staging.exists()


@pytest.mark.parametrize("kind", ["a bundle", "an empty folder"])
def test_a_planted_link_is_replaced_and_not_followed(tmp_path, bundle, kind):
    victim = tmp_path / "victim"
    victim.mkdir()
    if kind == "a bundle":
        (victim / "SHA256SUMS").write_text("precious")
    place = destination(tmp_path)
    place.folder.symlink_to(victim)
    place.archive.symlink_to(tmp_path / "victim.zip")
    place.publish(bundle, overwrite=kind == "a bundle")
    assert not place.folder.is_symlink()
    assert not (tmp_path / "victim.zip").exists()
    if kind == "a bundle":
        assert (victim / "SHA256SUMS").read_text() == "precious"
    else:
        assert list(victim.iterdir()) == []


@pytest.mark.skipif(not os.path.isdir("/proc/1"), reason="there is no /proc")
def test_a_place_that_takes_no_files(tmp_path):
    with pytest.raises(ConfigError, match=r"/proc/1 is not writable \(.*\)\. Choose .*to="):
        Destination.of("/proc/1/out", tmp_path, zipped=True)
