"""Images are decoded once, and splits are slices of the decoded file."""

import shutil
from collections import Counter

import pytest
from support.image_files import SIZE, picture, splits_of, write_folder

from limbeck._base.errors import ResourceError
from limbeck.data import image_folder
from limbeck.data.images import cache as image_cache


@pytest.fixture
def decoded(monkeypatch):
    """Counts the files that are decoded."""
    counter = Counter()
    decode_all = image_cache.decode_all

    def counting(paths, *settings):
        counter.update(files=len(paths))
        return decode_all(paths, *settings)

    monkeypatch.setattr(image_cache, "decode_all", counting)
    return counter


def test_images_are_decoded_once(tmp_path, decoded, capsys):
    root = write_folder(tmp_path / "in")
    first = image_folder(root, **SIZE)
    assert capsys.readouterr().err.startswith("decoding 60 images: 100 %")
    again = image_folder(root, **SIZE, val=0.2, test=0.3)
    assert capsys.readouterr().err == ""
    assert decoded["files"] == 60
    assert len(again.val) > len(first.val)
    assert image_folder(root, **SIZE).digest() == first.digest()


@pytest.mark.parametrize("change", ["size", "channels", "touch", "add", "seed", "damage", "half"])
def test_a_change_decodes_the_images_again(tmp_path, decoded, change, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    root = write_folder(tmp_path / "in")
    before = image_folder(root, **SIZE).digest()
    settings = {
        "size": {"size": 5},
        "channels": {"channels": 1},
        "seed": {"split_seed": 1},
    }.get(change, {})
    if change == "touch":
        picture(5).save(root / "cat" / "0.png")
    if change == "add":
        picture(5).save(root / "cat" / "new.png")
    (images,) = tmp_path.glob("cache/*/images.npy")
    if change == "damage":
        images.write_bytes(images.read_bytes()[:-1])
    if change == "half":
        (images.parent / "facts.json").unlink()
    after = image_folder(root, **(SIZE | settings)).digest()
    assert decoded["files"] == 120 + (change == "add")
    assert (before == after) == (change in ("damage", "half"))


def test_splits_are_slices_of_the_mapped_file_and_leave_it_alone(tmp_path):
    root = write_folder(tmp_path / "in")
    data = image_folder(root, **SIZE)
    before = data.digest()
    storages = {split.inputs.untyped_storage().data_ptr() for split in splits_of(data).values()}
    assert len(storages) == 1
    data.train.inputs.zero_()
    assert image_folder(root, **SIZE).digest() == before


def test_no_room(tmp_path, monkeypatch):
    root = write_folder(tmp_path / "in")
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(image_cache.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(ResourceError, match=r"has 1\.0 kB free, but .* takes \d[\d.]* kB"):
            image_folder(root, **SIZE)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(image_cache, "_write_array", full)
        with pytest.raises(ResourceError, match=r"No space left.*LIMBECK_CACHE=DIR"):
            image_folder(root, **SIZE)
    assert not list(tmp_path.glob("cache/*/*"))

    def no_handles(*arguments):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(image_cache, "_write_array", no_handles)
        with pytest.raises(ResourceError, match=r"Raise the limit \('ulimit -n'\)"):
            image_folder(root, **SIZE)
    monkeypatch.setenv("LIMBECK_CACHE", str(root / "cat" / "0.png"))
    with pytest.raises(ResourceError, match="LIMBECK_CACHE"):
        image_folder(root, **SIZE)
