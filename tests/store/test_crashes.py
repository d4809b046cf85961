"""Stores and caches whose writer is killed before any of its calls to the file system."""

import os
import shutil

import pytest
import torch
from support.crashes import crash_at
from support.image_files import SIZE, write_folder
from support.store_cases import folder_of, image_pass, open_quietly

from limbeck._base import cache
from limbeck.data import image_folder, text_file
from limbeck.store.files import ANSWERS, CHECKSUMS
from limbeck.store.key import HEADER


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def crash_everywhere(action, folder, check, step=1):
    """Kill an action at each of its calls; after each, it has to complete and leave no traces."""
    points = 0
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        if not crash_at(1 + points * step, action, folder):
            return points
        points += 1
        action()
        check()


@pytest.mark.slow
def test_a_store_survives_every_crash(tmp_path):
    root = tmp_path / "stores"
    torch.set_num_threads(1)
    expected = open_quietly(image_pass(), tmp_path / "unbroken").records
    name = folder_of(root).name

    def check():
        assert torch.equal(open_quietly(image_pass(), root).records, expected)
        names = [name, *(f"{name}/{file}" for file in (ANSWERS, CHECKSUMS, HEADER))]
        assert files_in(root) == sorted(names)

    assert crash_everywhere(lambda: open_quietly(image_pass(), root), root, check, step=2) > 20


@pytest.mark.slow
def test_decoded_images_survive_every_crash(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "cache"
    monkeypatch.setenv("LIMBECK_CACHE", str(folder))
    images = write_folder(tmp_path / "in")
    expected = image_folder(images, **SIZE).digest()
    names = files_in(folder)
    files = [os.path.basename(name) for name in names]
    assert files[1:] == ["facts.json", "images.npy", "rows.bin"]

    def check():
        assert image_folder(images, **SIZE).digest() == expected
        assert files_in(folder) == names

    assert crash_everywhere(lambda: image_folder(images, **SIZE), folder, check) > 10


@pytest.mark.slow
def test_tokens_survive_every_crash(tmp_path, capsys):
    folder = tmp_path / "cache"
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question\n" * 40)
    settings = {"block": 16, "tokenizer": "bpe", "vocabulary": 270, "cache": folder}
    expected = text_file(text, **settings).digest()
    names = files_in(folder)
    assert len(names) == 2

    def check():
        assert text_file(text, **settings).digest() == expected
        assert files_in(folder) == names

    assert crash_everywhere(lambda: text_file(text, **settings), folder, check) > 10


def test_a_crash_between_two_renames_of_a_store(tmp_path):
    """One of the crashes above, in the time of a quick test."""
    root = tmp_path / "stores"
    expected = open_quietly(image_pass(), tmp_path / "unbroken").records
    assert crash_at(24, lambda: open_quietly(image_pass(), root), root)
    assert torch.equal(open_quietly(image_pass(), root).records, expected)
    assert os.listdir(root) == [folder_of(root).name]


def test_a_writer_that_is_killed_with_the_entry_complete(tmp_path):
    root = tmp_path / "stores"
    open_quietly(image_pass(), root)
    name = folder_of(root).name
    (root / f"{name}.lock").touch()
    (root / name / f".{CHECKSUMS}.1-00000000.tmp").touch()
    with cache.open_root(root) as folder, cache.hold_lock(folder, name):
        open_quietly(image_pass(), root)
        assert len(os.listdir(root / name)) == 4, "its writer may still be at work"
    (root / f"{name}.lock").touch()
    open_quietly(image_pass(), root)
    assert os.listdir(root) == [name]
    assert sorted(os.listdir(root / name)) == [ANSWERS, CHECKSUMS, HEADER]
