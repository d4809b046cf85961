"""Many texts are in a temporary file, and read back as they were."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reviews import make_reviews, write_csv
from support.text_files import splits_of

from limbeck._base.errors import ResourceError
from limbeck.data import sentences, text_csv
from limbeck.data.text import text_list
from limbeck.data.text.text_list import OBJECT_BYTES, Selection, TextList


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.tuples(st.text(), st.text(max_size=5))), most=st.integers(0, 400))
def test_texts_are_those_that_were_added(texts, most):
    numbers = TextList()
    numbers._most = most
    for text in texts:
        numbers.append(text)
    size = sum(2 * OBJECT_BYTES + len(first) + len(second) for first, second in texts)
    assert numbers.is_on_disk == (size > most)
    assert len(numbers) == len(texts)
    assert list(numbers) == texts
    assert numbers[1:3] == texts[1:3]
    rows = list(range(len(texts)))[::-2]
    assert list(Selection(numbers, rows)) == [texts[row] for row in rows]


def test_lone_surrogates_are_kept():
    texts = TextList(in_memory=False)
    texts.append(("a\ud800\0b",))
    assert texts.is_on_disk
    assert texts[0] == ("a\ud800\0b",)


@pytest.mark.parametrize("load", ["csv", "sentences"])
def test_a_dataset_is_the_same_from_memory_and_disk(tmp_path, load):
    if load == "csv":
        file = write_csv(tmp_path / "in.csv", make_reviews(60))
        settings = {"tokenizer": "bytes", "length": 24}
        datasets = [text_csv(file, **settings, in_memory=place) for place in (True, False)]
    else:
        file = tmp_path / "in.txt"
        lines = [f"line {number} of the text\n" for number in range(80)]
        file.write_text("\r\n".join(lines), encoding="utf-8")
        settings = {"tokenizer": "bytes", "length": 24}
        datasets = [sentences(file, **settings, in_memory=place) for place in (True, False)]
    first, second = datasets
    assert first.digest() == second.digest()
    for one, other in zip(splits_of(first).values(), splits_of(second).values(), strict=True):
        assert list(one.ids) == list(other.ids)
    assert second.train.is_on_disk
    assert not first.train.is_on_disk


def test_a_full_disk_is_one_message(monkeypatch):
    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(text_list.tempfile, "TemporaryFile", full)
    with pytest.raises(ResourceError, match=r"No space left on device|disk is full"):
        TextList(in_memory=False).append(("a",))
