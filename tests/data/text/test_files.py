"""Files and folders of text."""

import gzip

import numpy as np
import pytest
import torch
from support.text_files import PARTS, random_text, splits_of, write

from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data import text_file, text_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("change", [gzip.compress, lambda content: b"\xef\xbb\xbf" + content])
def test_gzip_and_a_byte_order_mark_change_nothing(tmp_path, change):
    plain = write(tmp_path / "a.txt")
    changed = write(tmp_path / "b.txt", change(plain.read_bytes()))
    assert text_file(changed, block=16).digest() == text_file(plain, block=16).digest()


def test_names_follow_from_files(tmp_path):
    file = write(tmp_path / "book.txt.gz", gzip.compress(random_text().encode()))
    assert text_file(file, block=16).name == "book.txt"
    assert text_file(file, block=16, name="mine").name == "mine"
    write(tmp_path / "corpus" / "a.txt")
    assert text_folder(tmp_path / "corpus", block=16).name == "corpus"


def test_a_folder_is_one_text_in_the_order_of_its_paths(tmp_path):
    root = tmp_path / "in"
    parts = [random_text(2000, seed) for seed in range(4)]
    for name, part in zip(("a.txt", "b/c.txt", "b/d/e.txt.gz", "ba.txt"), parts, strict=True):
        write(root / name, gzip.compress(part.encode(), mtime=0) if name.endswith("gz") else part)
    for name in (".hidden.txt", ".git/a.txt", "b/__MACOSX/a.txt", "notes.md", "picture.png"):
        write(root / name, b"\x00\xff")
    write(root / "empty.txt", "")
    joined = write(tmp_path / "joined", "\n\n".join(parts))
    assert text_folder(root, block=16).digest() == text_file(joined, block=16).digest()
    write(root / "notes.md", "note\n" * 400)
    data = text_folder(root, pattern="*.md", block=16)
    assert data.digest() == text_file(root / "notes.md", block=16).digest()


def test_links_to_folders_and_files_are_read(tmp_path):
    parts = [random_text(2000, seed) for seed in range(3)]
    write(tmp_path / "in" / "a.txt", parts[0])
    write(tmp_path / "elsewhere" / "b.txt", parts[1])
    write(tmp_path / "c.txt", parts[2])
    (tmp_path / "in" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "b" / "up").symlink_to(tmp_path / "in" / "b")
    (tmp_path / "in" / "c.txt").symlink_to(tmp_path / "c.txt")
    joined = write(tmp_path / "joined", "\n\n".join(parts))
    data = text_folder(tmp_path / "in", block=16)
    assert data.digest() == text_file(joined, block=16).digest()


@pytest.mark.parametrize("mode", [0o000, 0o444])
@pytest.mark.parametrize("locked", [".", "train", "train/more"])
def test_folders_without_access_are_named(open_folder, locked, mode):
    write(open_folder / "in" / "train" / "more" / "b.txt")
    write(open_folder / "in" / "train" / "a.txt")
    (open_folder / "in" / locked).chmod(mode)
    with pytest.raises(DataError, match=r"cannot be read.*Permission denied"):
        text_folder(open_folder / "in", block=16)


def test_given_splits_are_used_and_a_missing_one_is_cut_from_training(tmp_path):
    contents = {part: random_text(4000, seed) for seed, part in enumerate(PARTS)}
    for part, content in contents.items():
        write(tmp_path / "in" / part / "a.txt", content)
    write(tmp_path / "in" / "b.txt", "beside")
    with pytest.warns(LimbeckWarning, match=r"in: 1 text is next to train, and not used: b\.txt\."):
        data = text_folder(tmp_path / "in", block=16)
    for part, split in splits_of(data).items():
        content = contents[part].encode()
        rows = [row.numpy().astype(np.uint8).tobytes() for row in split.inputs]
        assert all(row in content for row in rows)
        assert len(rows) > 0.9 * len(content) / 16
    (tmp_path / "in" / "val" / "a.txt").unlink()
    (tmp_path / "in" / "val").rmdir()
    again = text_folder(tmp_path / "in", block=16, val=0.25)
    assert torch.equal(again.open_test().inputs, data.open_test().inputs)
    assert len(again.val) / (len(again.val) + len(again.train)) == pytest.approx(0.25, abs=0.03)
    assert all(
        row.numpy().astype(np.uint8).tobytes() in contents["train"].encode()
        for row in again.val.inputs
    )


def folder_missing(root):
    return root / "none"


def folder_empty(root):
    (root / "in").mkdir()
    return root / "in"


def folder_of_other_files(root):
    return write(root / "in" / "a" / "b.md").parent


def folder_of_empty_files(root):
    return write(root / "in" / "a.txt", " \n").parent


def folder_with_bad_files(root):
    write(root / "in" / "a.txt")
    write(root / "in" / "b.txt", b"ab\x00cd")
    write(root / "in" / "c.txt", "déjà".encode("latin1"))
    return root / "in"


def folder_of_misspelt_splits(root):
    write(root / "in" / "Test" / "a.txt")
    return write(root / "in" / "Train" / "a.txt").parent.parent


def folder_beside_training(root):
    write(root / "in" / "dev" / "a.txt")
    return write(root / "in" / "train" / "a.txt").parent.parent


def folder_of_one_text_twice(root):
    write(root / "in" / "test" / "b.txt")
    return write(root / "in" / "train" / "a.txt").parent.parent


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (folder_missing, r"none is missing\. Set data\.root="),
        (
            folder_empty,
            r"in contains no files and none called \*\.txt or \*\.txt\.gz.*data\.pattern=",
        ),
        (folder_of_other_files, r"contains 1 other files, such as b\.md, and none called"),
        (folder_of_empty_files, r"in contains only empty files"),
        (
            folder_with_bad_files,
            r"2 of 3 text files cannot be used: .*b\.txt is not text: byte 2 is 0.*c\.txt is not",
        ),
        (
            folder_of_misspelt_splits,
            r"in: Train looks like a split\. Splits are called train, val, test",
        ),
        (folder_beside_training, r"in: dev next to train\. Splits are called"),
        (folder_of_one_text_twice, r"1 text is in two splits.*test/b\.txt = .*train/a\.txt"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_folders_are_explained(tmp_path, make, message):
    with pytest.raises(DataError, match=message):
        text_folder(make(tmp_path), block=16)


LONG = b"a" * (1 << 20)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"a\.txt cannot be read \(No such file or directory\)"),
        (b"", r"a\.txt is empty; expected a text"),
        (b"\xef\xbb\xbf \n", r"a\.txt is empty"),
        (b"abc\x00", r"a\.txt is not text: byte 3 is 0, as in binary files"),
        ("text".encode("utf-16"), r"a\.txt is text in UTF-16; .*iconv"),
        (
            b"caf\xe9 au lait",
            r"a\.txt is not text in UTF-8: byte 3 is 0xe9 \(invalid continuation byte\).*iconv",
        ),
        (LONG + b"\xff", r"byte 1,048,576 is 0xff \(invalid start byte\)"),
        (LONG[:-1] + "é".encode() + b"\xff", r"byte 1,048,577 is 0xff"),
        (LONG[:-1] + b"\xe2\x82a", r"byte 1,048,575 is 0xe2"),
        (LONG[:-1] + b"\xe2", r"byte 1,048,575 is 0xe2 \(unexpected end of data\)"),
        (gzip.compress(LONG, mtime=0)[:-9], r"a\.txt is damaged \(.*\)\. Download it again"),
        (
            gzip.compress(LONG, mtime=0)[:30] + b"xxx" + gzip.compress(LONG)[33:],
            r"a\.txt is damaged",
        ),
        (gzip.compress(b"\xff", mtime=0), r"byte 0 is 0xff"),
    ],
)
def test_bad_files_are_explained(tmp_path, content, message):
    if content is not None:
        write(tmp_path / "a.txt", content)
    with pytest.raises(DataError, match=message):
        text_file(tmp_path / "a.txt", block=16)


def test_a_path_that_is_not_a_file(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"is a folder\. Set data=text_folder data\.root="):
        text_file(tmp_path)
    with pytest.raises(DataError, match="is neither a file nor a folder"):
        text_file("/dev/null")
    file = write(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"b\.txt cannot be read \(Not a directory\)"):
        text_file(file / "b.txt")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("limbeck.data.text.reading.open_file", refuse)
    with pytest.raises(DataError, match=r"a\.txt cannot be read \(Permission denied\)"):
        text_file(file)


def test_copies_that_may_be_cut_apart_are_reported(tmp_path):
    for name in ("a.txt", "b/copy.txt", "c.txt"):
        write(tmp_path / "in" / name, random_text(3000, seed=name == "c.txt"))
    with pytest.warns(
        LimbeckWarning, match=r"1 file is a copy, .*: .*b/copy\.txt = .*a\.txt\. Remove"
    ) as warnings:
        text_folder(tmp_path / "in", block=16)
    assert warnings[0].filename == __file__
    for seed, part in enumerate(PARTS):
        write(tmp_path / "given" / part / "a.txt", random_text(3000, seed))
        write(tmp_path / "given" / part / "b.txt", random_text(3000, seed))
    text_folder(tmp_path / "given", block=16)


def test_bad_patterns_are_named(tmp_path):
    for pattern in ([], "", [7]):
        with pytest.raises(ConfigError, match=r"data\.pattern="):
            text_folder(write(tmp_path / "in" / "a.txt").parent, pattern=pattern)
