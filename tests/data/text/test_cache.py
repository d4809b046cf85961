"""Tokens are computed once, with a lossless tokenizer, and cached in a file."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.text_files import random_text, splits_of, write

from limbeck._base import mapped_memory
from limbeck._base.cache import TOKENS
from limbeck._base.errors import DataError, LimbeckWarning, ResourceError
from limbeck._base.open_folder import OpenFolder
from limbeck.data import text_file
from limbeck.data.text import cache as token_cache
from limbeck.data.text.cache import _rows
from limbeck.data.text.long_text import LongText, Segment
from limbeck.data.text.tokenizer import ByteTokenizer
from limbeck.data.text.training import train_bpe


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def encoded(monkeypatch):
    """The texts that are tokenised."""
    texts = []
    encode = ByteTokenizer.encode

    def recording(self, text):
        texts.append(text)
        return encode(self, text)

    monkeypatch.setattr(ByteTokenizer, "encode", recording)
    return texts


def test_tokens_are_computed_once(tmp_path, encoded, capsys):
    file = write(tmp_path / "a.txt")
    first = text_file(file, block=16)
    count = len(encoded)
    assert count > 50
    again = text_file(write(tmp_path / "copy.txt"), block=16, val=0.0501)  # the same segments
    assert len(encoded) == count
    assert first.digest() == again.digest()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("change", ["text", "block", "seed", "share", "tokenizer"])
def test_a_change_computes_new_tokens(tmp_path, change, encoded):
    file = write(tmp_path / "a.txt")
    before = text_file(file, block=16).digest()
    settings = {
        "block": {"block": 15},
        "seed": {"split_seed": 1},
        "share": {"test": 0.1},
        "tokenizer": {"tokenizer": "bpe", "vocabulary": 280},
    }.get(change, {})
    if change == "text":
        write(file, random_text()[:-1] + "!")
    assert text_file(file, **({"block": 16} | settings)).digest() != before
    assert len(list((tmp_path / "cache" / "tokens").glob("*.tokens"))) == 2


@pytest.mark.parametrize(
    "place", [0, 40, 511, 512, 700, -1, "short", "long", "empty", "half", "overflow"]
)
@pytest.mark.parametrize("kind", ["tokens", "bpe"])
def test_a_damaged_file_is_written_again(tmp_path, place, kind, capsys):
    file = write(tmp_path / "a.txt")
    settings = {"block": 16, "tokenizer": "bpe", "vocabulary": 280}
    before = text_file(file, **settings).digest()
    (entry,) = (tmp_path / "cache" / "tokens").glob(f"*.{kind}")
    content = bytearray(entry.read_bytes())
    if isinstance(place, int):
        content[place] ^= 1
    other = {
        "short": content[:-1],
        "long": content + b"\0\0\0\0",
        "empty": b"",
        "half": content[:100],
    }
    overflow = b'{"rows": [1e999, 1, 1]}'.ljust(512) + content[512:]
    damaged = bytes({"overflow": overflow, **other}.get(place, content))
    entry.write_bytes(damaged)
    assert text_file(file, **settings).digest() == before
    assert capsys.readouterr().err == f"{entry} is damaged and will be computed again.\n"
    assert entry.read_bytes() != damaged
    assert text_file(file, **settings).digest() == before
    assert capsys.readouterr().err == ""


def test_rows_cannot_change_their_split(tmp_path, capsys):
    file = write(tmp_path / "a.txt")
    before = text_file(file, block=16)
    (entry,) = (tmp_path / "cache" / "tokens").glob("*.tokens")
    content = entry.read_bytes()
    counts = [len(split) for split in splits_of(before).values()]
    moved = [counts[0] - 1, counts[1] + 1, counts[2]]
    entry.write_bytes(content.replace(str(counts).encode(), str(moved).encode()))
    assert entry.read_bytes() != content
    assert text_file(file, block=16).digest() == before.digest()
    assert entry.read_bytes() == content
    assert "computed again" in capsys.readouterr().err


def segment(content):
    return Segment(LongText.of(content), 0, len(content))


def test_the_key_depends_on_splits_and_segments():
    layouts = [
        {"train": [b"ab", b"cd"], "val": [b"e"]},
        {"train": [b"abc", b"d"], "val": [b"e"]},
        {"train": [b"ab"], "val": [b"cd", b"e"]},
        {"train": [b"ab", b"cd"], "val": [b"f"]},
    ]
    digests = set()
    for layout in layouts:
        segments = {part: [segment(text) for text in texts] for part, texts in layout.items()}
        digests.add(token_cache._digest_of(segments))
    assert len(digests) == 4


@pytest.mark.parametrize("reopened", [False, True])
def test_splits_are_views_of_the_mapped_file_and_do_not_change_it(tmp_path, reopened):
    file = write(tmp_path / "a.txt")
    for _ in range(1 + reopened):
        data = text_file(file, block=16)
    before = data.digest()
    parts = splits_of(data)
    tensors = [values for split in parts.values() for values in (split.inputs, split.labels)]
    assert len({values.untyped_storage().data_ptr() for values in tensors}) == 1
    assert all(split.labels.data_ptr() == split.inputs.data_ptr() + 4 for split in parts.values())
    (entry,) = (tmp_path / "cache" / "tokens").glob("*.tokens")
    content = entry.read_bytes()
    data.train.inputs.zero_()
    assert entry.read_bytes() == content
    assert text_file(file, block=16).digest() == before


def test_a_folder_that_cannot_be_written_to(tmp_path, encoded):
    file = write(tmp_path / "a.txt")
    before = text_file(file, block=16).digest()
    count = len(encoded)
    with pytest.warns(
        LimbeckWarning, match=r"cannot hold the tokens \(Not a directory\).*data\.cache=DIR"
    ) as warnings:
        data = text_file(file, block=16, cache=file / "inside")
    assert len(warnings) == 1
    assert data.digest() == before
    assert len(encoded) == 2 * count
    with pytest.warns(LimbeckWarning) as warnings:
        result = text_file(file, block=16, tokenizer="bpe", vocabulary=280, cache=file / "inside")
    assert len(warnings) == 1
    assert result.digest() == text_file(file, block=16, tokenizer="bpe", vocabulary=280).digest()


def test_a_full_disk(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    file = write(tmp_path / "a.txt")
    monkeypatch.setattr(OpenFolder, "replace", full)
    with pytest.warns(LimbeckWarning, match="No space left on device"):
        result = text_file(file, block=16).digest()
    monkeypatch.undo()
    assert text_file(file, block=16, cache=tmp_path / "other").digest() == result
    assert list((tmp_path / "other").glob("*.tokens"))


def test_the_default_folder_of_tokens(tmp_path, monkeypatch):
    assert TOKENS.default_folder == tmp_path / "cache" / "tokens"
    monkeypatch.delenv("LIMBECK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert TOKENS.default_folder == tmp_path / "xdg" / "limbeck" / "tokens"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert TOKENS.default_folder == tmp_path / "home" / ".cache" / "limbeck" / "tokens"
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.warns(LimbeckWarning, match="no home folder for the tokens. They stay in memory"):
        text_file(write(tmp_path / "a.txt"), block=16)


def test_concurrent_runs_compute_tokens_once(tmp_path, encoded, monkeypatch):
    file = write(tmp_path / "a.txt")
    text_file(file, block=16, cache=tmp_path / "one")
    count = len(encoded)
    encode = token_cache._encode

    def slowly(*arguments):
        time.sleep(0.001)
        return encode(*arguments)

    monkeypatch.setattr(token_cache, "_encode", slowly)
    digests = []

    def load():
        digests.append(text_file(file, block=16, cache=tmp_path / "two").digest())

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(encoded) == 2 * count
    assert len(digests) == 4
    assert len(set(digests)) == 1


def test_progress_is_shown_for_a_long_text(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(token_cache, "SLOW", 1000)
    text_file(write(tmp_path / "a.txt"), block=16, tokenizer="bpe", vocabulary=280)
    assert capsys.readouterr().err.splitlines() == [
        "training the tokenizer: 100 % after 0 s",
        "tokenising 7,222 bytes: 100 % after 0 s",
    ]


@settings(max_examples=30, deadline=None)
@given(tokens=st.integers(0, 60), block=st.integers(1, 12))
def test_rows_of_a_segment(tokens, block):
    ids = np.arange(tokens, dtype=np.int32)
    expected = [
        list(range(at, at + block + 1)) for at in range(0, tokens, block) if at + block < tokens
    ]
    assert _rows(ids, block).tolist() == expected
    assert len(expected) == max(0, (tokens - 1) // block)


def write_json(folder, tokenizer):
    return write(folder / "tokenizer.json", tokenizer.to_str()).parent


@pytest.mark.parametrize("where", ["first", "later"])
def test_a_tokenizer_that_loses_text_is_refused(tmp_path, where):
    """Composed characters are other bytes: bits per byte would be those of another text."""
    library = pytest.importorskip("tokenizers")
    tokenizer = library.Tokenizer.from_str(train_bpe([random_text()], 290).definition)
    tokenizer.normalizer = library.normalizers.NFC()
    write_json(tmp_path, tokenizer)
    content = "plain text here " * 2000
    assert len(text_file(write(tmp_path / "a.txt", content), tokenizer=tmp_path, block=16).train)
    content = "e\u0301" + content if where == "first" else content + "e\u0301"
    message = (
        "does not reproduce the text: 'e\u0301plain"
        if where == "first"
        else r"became tokens of [\d,]+ bytes"
    )
    with pytest.raises(DataError, match=message + ".*Bits per byte need a lossless tokenizer"):
        text_file(write(tmp_path / "a.txt", content), tokenizer=tmp_path, block=16, split_seed=1)


def test_a_tokenizer_that_adds_a_space_before_a_text_is_lossless(tmp_path):
    """The default of the library; the space is in the first token, which is never a label."""
    library = pytest.importorskip("tokenizers")
    tokenizer = library.Tokenizer.from_str(train_bpe([random_text()], 290).definition)
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=True)
    content = random_text()
    file = write(tmp_path / "a.txt", content)
    data = text_file(file, tokenizer=write_json(tmp_path, tokenizer), block=16)
    for split in (data.train, data.open_test()):
        texts = [data.tokenizer.decode(row.numpy()).strip("\ufffd") for row in split.labels]
        assert all(text in content for text in texts)


def test_a_tokenizer_of_words_is_refused(tmp_path):
    library = pytest.importorskip("tokenizers")
    tokenizer = library.Tokenizer(
        library.models.WordLevel({"[UNK]": 0, "plain": 1, "text": 2}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
    write_json(tmp_path, tokenizer)
    with pytest.raises(DataError, match="does not reproduce the text"):
        text_file(write(tmp_path / "a.txt", "plain text here " * 200), tokenizer=tmp_path, block=16)


@pytest.mark.parametrize("length", [3, 60, 400, 1000])
@pytest.mark.parametrize("block", [500, 128])
def test_a_text_that_is_too_short_names_the_largest_block(tmp_path, length, block):
    file = write(tmp_path / "a.txt", "x" * length)
    if length // 3 > block:
        assert len(text_file(file, block=block).val) == (length // 3 - 1) // block
        return
    with pytest.raises(
        DataError, match=rf"{length:,} tokens are too few for blocks of data\.block={block}"
    ) as caught:
        text_file(file, block=block)
    max_block = length // 3 - 1
    if max_block < 1:
        assert str(caught.value).endswith("Provide more text.")
        return
    assert f"Set data.block={max_block} or lower" in str(caught.value)
    assert len(text_file(file, block=max_block).val) == 1
    with pytest.raises(DataError, match="too few"):
        text_file(file, block=max_block + 1)


def test_a_short_text_gives_fewer_tokens_than_the_vocabulary_allows(tmp_path):
    with pytest.warns(
        LimbeckWarning, match=r"vocabulary of \d+ tokens, fewer than data\.vocabulary=4096"
    ):
        data = text_file(
            write(tmp_path / "a.txt", "the cat sat on the mat. " * 40), tokenizer="bpe", block=8
        )
    assert data.tokenizer.name == f"bpe-{data.classes}"
    assert 256 < data.classes < 300


@pytest.mark.parametrize("in_memory", [False, None])
def test_a_full_disk_ends_the_run_if_tokens_do_not_fit_into_memory(
    tmp_path, monkeypatch, in_memory
):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    file = write(tmp_path / "a.txt")
    monkeypatch.setattr(token_cache, "_rows", full)
    monkeypatch.setattr(mapped_memory, "available_memory", lambda: 10_000)
    with pytest.raises(ResourceError, match=r"cannot hold the tokens \(No space left on device\)"):
        text_file(file, block=16, in_memory=in_memory)
    assert not list((tmp_path / "cache" / "tokens").iterdir())
