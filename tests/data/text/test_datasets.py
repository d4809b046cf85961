"""Blocks of tokens, whose labels are the next tokens."""

import hashlib
from itertools import pairwise

import pytest
import torch
from support.text_files import PARTS, random_text, splits_of, write

from limbeck._base.errors import ConfigError, DataError
from limbeck.data import text_file
from limbeck.data.text.long_text import LongText
from limbeck.data.text.segments import cut_segments
from limbeck.data.text.training import train_bpe


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))


def positions_of(data, content):
    """Where in the bytes of a text each block lies; a block lies in one place only."""
    positions = {}
    for part, split in splits_of(data).items():
        rows = torch.cat([split.inputs, split.labels[:, -1:]], dim=1).to(torch.uint8)
        blocks = [row.numpy().tobytes() for row in rows]
        positions[part] = [content.index(block) for block in blocks]
        assert all(content.count(block) == 1 for block in blocks[:5])
    return positions


def next_character(content, position):
    while position < len(content) and content[position] & 0xC0 == 0x80:
        position += 1
    return position


@pytest.mark.parametrize(("block", "count"), [(8, 100), (20, 45), (64, 14), (600, 3)])
def test_blocks_tile_segments_of_equal_length(tmp_path, block, count):
    """By the definition: where each block begins and ends in the text."""
    content = random_text().encode()
    data = text_file(write(tmp_path / "a.txt", content), block=block)
    positions = positions_of(data, content)
    assert all(starts == sorted(starts) for starts in positions.values())
    part_of = {start: part for part, starts in positions.items() for start in starts}
    bounds = [next_character(content, n * len(content) // count) for n in range(count + 1)]
    segments = dict.fromkeys(PARTS, 0)
    expected = []
    for first, last in pairwise(bounds):
        starts = range(first, last - block, block)
        (part,) = {part_of[start] for start in starts}  # a segment belongs to one split
        segments[part] += 1
        expected += starts
    assert sorted(part_of) == expected
    assert segments["val"] == segments["test"] == max(1, round(0.05 * count))


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe"])
def test_labels_are_the_next_tokens(tmp_path, tokenizer):
    content = random_text(20_000)
    data = text_file(
        write(tmp_path / "a.txt", content), tokenizer=tokenizer, vocabulary=300, block=16
    )
    assert data.tokenizer.name == {"bytes": "bytes", "bpe": "bpe-300"}[tokenizer]
    assert (data.classes, data.shape) == (data.tokenizer.size, (16,))
    assert data.class_names == data.tokenizer.names
    for split in splits_of(data).values():
        assert split.inputs.dtype == split.labels.dtype == torch.int32
        assert torch.equal(split.inputs[:, 1:], split.labels[:, :-1])
        texts = [data.tokenizer.decode(row.numpy()) for row in split.inputs[:9]]
        assert all(text.strip("\ufffd") in content for text in texts)


def test_the_same_text_gives_the_same_blocks_everywhere(tmp_path):
    """A recorded digest, of squares. Whoever changes it changes every study of text."""
    content = " ".join(str(n * n) for n in range(4000))
    data = text_file(write(tmp_path / "a.txt", content), block=32, split_seed=3)
    digest = hashlib.sha256()
    for split in splits_of(data).values():
        digest.update(split.inputs.contiguous().numpy().tobytes())
    assert digest.hexdigest()[:16] == "2cce1e554f09164b"


def test_a_tokenizer_is_trained_on_the_training_split_alone(tmp_path):
    content = random_text(20_000)
    file = write(tmp_path / "a.txt", content)
    data = text_file(file, tokenizer="bpe", vocabulary=300, block=16)
    whole = LongText.of(content.encode())
    segments = cut_segments({"train": whole}, block=16, val=0.05, test=0.05, split_seed=0)
    texts = {part: [piece.read().decode() for piece in segments[part]] for part in PARTS}
    assert data.tokenizer.digest == train_bpe(texts["train"], 300).digest
    everything = [text for part in PARTS for text in texts[part]]
    assert data.tokenizer.digest != train_bpe(everything, 300).digest


def test_a_tokenizer_from_a_file_or_an_object(tmp_path):
    tokenizer = train_bpe([random_text()], 290)
    folder = write(tmp_path / "own" / "tokenizer.json", tokenizer.definition).parent
    file = write(tmp_path / "a.txt", random_text(9000))
    expected = text_file(file, tokenizer=tokenizer, block=16).digest()
    for choice in (folder, str(folder / "tokenizer.json")):
        assert text_file(file, tokenizer=choice, block=16).digest() == expected
    assert text_file(file, block=16).digest() != expected


def test_the_manual_of_python_needs_no_file():
    data = text_file(block=64)
    assert (data.name, data.classes, data.shape) == ("python-manual", 256, (64,))
    assert len(data.train) > 4000
    assert len(data.val) > 200 < data.test_size
    assert data.tokenizer.decode(data.train.inputs[0].numpy()).isascii()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"block": 0}, r"data\.block=0"),
        ({"block": "long"}, r"data\.block='long'"),
        ({"val": 0}, r"data\.val=0 "),
        ({"test": 1.0}, r"data\.test=1\.0 "),
        ({"val": True}, "data.val=True"),
        ({"val": "x"}, "data.val='x'"),
        ({"val": 0.5, "test": 0.5}, "leave none of the text for training"),
        ({"split_seed": -1}, r"data\.split_seed=-1"),
        ({"tokenizer": "bpe", "vocabulary": 256}, r"data\.vocabulary=256 should be from 257"),
        ({"tokenizer": "byte"}, "data.tokenizer='byte' should be .* Did you mean bytes?"),
        ({"tokenizer": "gpt2"}, "data.tokenizer='gpt2' should be bytes, bpe, or the path"),
        ({"tokenizer": 7}, "data.tokenizer='7'"),
        ({"tokenizer": ""}, "data.tokenizer=''"),
        ({"tokenizer": None}, "data.tokenizer='None'"),
    ],
)
def test_bad_settings_are_named(tmp_path, setting, message):
    with pytest.raises(ConfigError, match=message):
        text_file(write(tmp_path / "a.txt"), **({"block": 16} | setting))


def test_a_missing_tokenizer_file_is_named(tmp_path):
    for place in (tmp_path / "none.json", tmp_path / "no" / "folder"):
        with pytest.raises(DataError, match=r"cannot be read .*data\.tokenizer= should be"):
            text_file(write(tmp_path / "a.txt"), tokenizer=str(place), block=16)
