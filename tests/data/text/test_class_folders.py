"""Texts in one folder per class."""

import gzip

import pytest
from support.reviews import make_reviews

from limbeck._base.errors import DataError
from limbeck.data import text_folders

ROWS = make_reviews(40)


def write_folders(root, rows=ROWS, split=""):
    for number, (text, label) in enumerate(rows):
        folder = root / split / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(text)
    return root


def load(root, **options):
    return text_folders(root, tokenizer="bytes", cache=root.parent / "cache", **options)


def test_a_folder_is_a_class_and_a_file_a_text(tmp_path):
    root = write_folders(tmp_path / "reviews")
    (root / "good" / "1.txt").unlink()
    (root / "good" / "1.txt.gz").write_bytes(gzip.compress(ROWS[1][0].encode()))
    (root / "good" / "notes.md").write_text("no text")
    data = load(root)
    assert (data.name, data.class_names) == ("reviews", ["bad", "good"])
    texts = {}
    for split in (data.train, data.val, data.open_test()):
        for ids, label, name in zip(split.inputs, split.labels, split.sample_ids, strict=True):
            texts[name] = bytes(ids[ids != data.padding].tolist()).decode(), int(label)
    assert len(texts) == 40
    assert texts["good/1.txt.gz"] == (ROWS[1][0], 1)
    assert texts["bad/2.txt"] == (ROWS[2][0], 0)


def test_folders_of_splits_stay_as_they_are(tmp_path):
    root = write_folders(tmp_path / "a", ROWS[:30], "train")
    write_folders(root, ROWS[30:], "test")
    data = load(root, val=0.3)
    assert data.test_size == 10
    assert all(name.startswith("test/") for name in data.open_test().sample_ids)


@pytest.mark.parametrize(
    ("split", "message"),
    [("", "no folder"), ("train", "dev next to train")],
)
def test_folders_that_are_no_classes_are_one_message(tmp_path, split, message):
    root = tmp_path / "a"
    root.mkdir()
    if split:
        write_folders(root, split=split)
        (root / "dev").mkdir()
    with pytest.raises(DataError, match=message):
        load(root)


def test_a_file_that_is_no_text_is_named(tmp_path):
    root = write_folders(tmp_path / "a")
    (root / "bad" / "x.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"1 of 41 text files cannot be used: .*x\.txt"):
        load(root)
