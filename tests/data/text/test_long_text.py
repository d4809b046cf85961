"""A text of several files can be read in pieces, from memory or from the disk."""

import gzip
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.text_files import random_text, splits_of, write

from limbeck._base.errors import DataError
from limbeck.data import text_file, text_folder
from limbeck.data.text.long_text import LongText, TextPart
from limbeck.data.text.reading import read_part

BOM = b"\xef\xbb\xbf"


@settings(max_examples=40, deadline=None)
@given(
    contents=st.lists(st.binary(max_size=9), max_size=5), first=st.integers(0, 40), data=st.data()
)
def test_pieces_are_those_of_the_joined_text(contents, first, data):
    text = LongText([TextPart.of(content) for content in contents])
    joined = b"\n\n".join(filter(None, contents))
    last = data.draw(st.integers(first, 50))
    assert len(text) == len(joined)
    assert text.read() == joined
    assert text.read(first, last) == joined[first:last]


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_part_is_the_text_of_its_file(tmp_path, in_memory):
    content = random_text(3000).encode()
    for name, stored in (
        ("plain", content),
        ("bom", BOM + content),
        ("gzip", gzip.compress(content)),
    ):
        part = read_part(write(tmp_path / name, stored), in_memory=in_memory)
        assert (part.content is None) == (not in_memory and name != "gzip")
        assert part.read(0, part.size) == content
        assert part.read(7, 99) == content[7:99]
        assert part.digest == read_part(tmp_path / "plain").digest


@pytest.mark.parametrize("change", ["touch", "cut", "remove"])
def test_a_file_that_changes_meanwhile_is_refused(tmp_path, change):
    file = write(tmp_path / "a.txt")
    text = LongText([read_part(file, in_memory=False)])
    text.read(5, 9)
    if change == "remove":
        file.unlink()
    elif change == "cut":
        os.truncate(file, 100)
    else:
        os.utime(file, ns=(1, 1))
    message = "cannot be read" if change == "remove" else "was changed while it was read"
    with pytest.raises(DataError, match=rf"a\.txt {message}"):
        text.read(5, 9)


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe"])
def test_data_on_the_disk_are_those_in_memory(tmp_path, tokenizer):
    for number in range(3):
        write(tmp_path / "in" / f"{number}.txt", random_text(4000, number))
    settings = {"block": 16, "tokenizer": tokenizer, "vocabulary": 300}
    expected = text_folder(tmp_path / "in", **settings, in_memory=True)
    data = text_folder(
        tmp_path / "in", **settings, in_memory=False, cache=tmp_path / "another cache"
    )
    assert data.digest() == expected.digest()
    assert [split.is_on_disk for split in splits_of(data).values()] == [True] * 3
    assert not expected.train.is_on_disk
    assert "stay on the disk (data.in_memory=false)" in data.notes()[0]


def test_a_blank_or_damaged_file_on_the_disk_is_named(tmp_path):
    with pytest.raises(DataError, match=r"blank\.txt is empty"):
        text_file(write(tmp_path / "blank.txt", BOM + b" \n"), in_memory=False)
    with pytest.raises(DataError, match=r"bad\.txt is not text in UTF-8: byte 3 is 0xe9"):
        text_file(write(tmp_path / "bad.txt", b"caf\xe9 au lait"), in_memory=False)
