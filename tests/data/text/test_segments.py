"""A text is cut into segments, and every segment belongs to one split."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.text_files import PARTS, random_text

from limbeck.data.text import segments as segments_module
from limbeck.data.text.long_text import LongText
from limbeck.data.text.segments import cut_segments


@settings(max_examples=40, deadline=None)
@given(
    content=st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    block=st.integers(1, 9),
    val=st.floats(0.01, 0.5),
    test=st.floats(0.01, 0.49),
    seed=st.integers(0, 9),
    given_parts=st.sets(st.sampled_from(["val", "test"])),
)
def test_segments_hold_the_whole_text_once(content, block, val, test, seed, given_parts):
    texts = {"train": LongText.of(content.encode())}
    for part in given_parts:
        texts[part] = LongText.of(random_text(50).encode())
    segments = cut_segments(texts, block=block, val=val, test=test, split_seed=seed)
    assert tuple(segments) == PARTS
    assert all(segments.values())
    for part in given_parts:
        assert b"".join(piece.read() for piece in segments[part]) == texts[part].read()
    cut_parts = [part for part in PARTS if part not in given_parts]
    pieces = [piece.read() for part in cut_parts for piece in segments[part]]
    characters = "".join(str(piece, "utf-8") for piece in pieces)
    assert sorted(characters) == sorted(content)
    lengths = [len(piece) for piece in pieces]
    assert max(lengths) - min(lengths) <= 1 + 2 * 3, "a boundary moves by three bytes at most"
    for part in set(cut_parts) - {"train"}:
        share = {"val": val, "test": test}[part]
        assert len(segments[part]) <= max(1, round(share * len(pieces)))


@pytest.mark.parametrize(("val", "test"), [(0.05, 0.94), (0.94, 0.05), (0.5, 0.49), (0.01, 0.01)])
@pytest.mark.parametrize("length", [30, 200, 10_000])
def test_every_split_has_a_segment(val, test, length):
    segments = cut_segments(
        {"train": LongText.of(b"x" * length)}, block=8, val=val, test=test, split_seed=0
    )
    assert all(any(map(len, pieces)) for pieces in segments.values())


def test_splits_have_their_shares_and_change_with_the_seed():
    text = LongText.of("".join(f"{number:04d}" for number in range(10_000)).encode())
    test_splits = []
    for seed in range(20):
        segments = cut_segments({"train": text}, block=32, val=0.1, test=0.2, split_seed=seed)
        assert [len(segments[part]) for part in PARTS] == [70, 10, 20]
        test_splits.append(frozenset(piece.read(4) for piece in segments["test"]))
    assert len(set(test_splits)) == 20
    assert len(frozenset().union(*test_splits)) > 80


def test_a_long_text_has_more_segments(monkeypatch):
    monkeypatch.setattr(segments_module, "MAX_SEGMENT_BYTES", 30)
    text = LongText.of(b"x" * 6010)
    segments = cut_segments({"train": text}, block=2, val=0.1, test=0.1, split_seed=0)
    lengths = [len(piece) for pieces in segments.values() for piece in pieces]
    assert (len(lengths), max(lengths), sum(lengths)) == (201, 30, 6010)
