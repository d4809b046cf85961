import json
import pickle
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck._base.errors import ConfigError, DataError, UntrustedFileError
from limbeck.data.text import library_tokenizer as module
from limbeck.data.text.library_tokenizer import BPETokenizer, load_tokenizer
from limbeck.data.text.tokenizer import ByteTokenizer
from limbeck.data.text.training import train_bpe

tokenizers = pytest.importorskip("tokenizers")
SAMPLE = "The cat sat on the mat, and the other cats sat with the cat.\n\tÄpfel kosten 3 €!\n" * 40
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
BYTES = ByteTokenizer()


@pytest.fixture(scope="module")
def bpe():
    return train_bpe([SAMPLE], 290)


def library_tokenizer(model, pre_tokenizer=None, decoder=None, normalizer=None, special=()):
    tokenizer = tokenizers.Tokenizer(model)
    for part, value in (
        ("pre_tokenizer", pre_tokenizer),
        ("decoder", decoder),
        ("normalizer", normalizer),
    ):
        if value is not None:
            setattr(tokenizer, part, value)
    tokenizer.add_special_tokens(list(special))
    return tokenizer


# Bytes --------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(text=TEXTS)
def test_bytes_are_the_bytes_of_utf8(text):
    ids = BYTES.encode(text)
    assert ids.dtype == np.int32
    assert ids.tolist() == list(text.encode())
    assert BYTES.decode(ids) == text
    assert BYTES.lengths[ids].sum() == len(text.encode())


def test_bytes_that_are_not_text_become_a_replacement_character():
    assert BYTES.decode([0xFF, 0x41]) == "\ufffdA"


def test_names_of_bytes():
    assert (BYTES.name, BYTES.size, len(set(BYTES.names))) == ("bytes", 256, 256)
    assert (BYTES.names[65], BYTES.names[10], BYTES.names[32], BYTES.names[255]) == (
        "A",
        "0x0a",
        "0x20",
        "0xff",
    )


# Byte-level BPE -----------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(text=TEXTS)
def test_a_trained_tokenizer_reproduces_every_text(bpe, text):
    ids = bpe.encode(text)
    assert ids.dtype == np.int32
    assert bpe.decode(ids) == text
    assert bpe.lengths[ids].sum() == len(text.encode())


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(0, len(SAMPLE)))
def test_each_token_stands_for_its_own_bytes(bpe, cut):
    """Against the decoder: the bytes of a token by itself, where these are whole characters."""
    for number in bpe.encode(SAMPLE[cut : cut + 50]).tolist():
        text = bpe.decode([number])
        if "\ufffd" not in text:
            assert bpe.lengths[number] == len(text.encode())


def first_merges(text, count):
    """The first merges of BPE by their definition (Sennrich et al. 2016), on words with the space
    before them.
    """
    words = [list(word) for word in text.replace(" ", " Ġ").split(" ")]
    merges = []
    for _ in range(count):
        pairs = [pair for word in words for pair in pairwise(word)]
        best = max(set(pairs), key=pairs.count)
        assert sorted(map(pairs.count, set(pairs)))[-2:].count(pairs.count(best)) == 1, (
            "no ties in this text"
        )
        merges.append(best)
        for word in words:
            at = 0
            while at < len(word) - 1:
                if (word[at], word[at + 1]) == best:
                    word[at : at + 2] = ["".join(best)]
                at += 1
    return merges


def test_the_most_frequent_pair_becomes_a_token():
    words = "bad bad bdaad caada acb bdaad acb bdaad bad acb caada"
    text = f"{words} bdaad bdaad bad bad bad ccacb caada caada bad caada bad"
    trained = json.loads(train_bpe([text], 261).definition)
    expected = first_merges(text, 5)
    assert expected[:3] == [("a", "d"), ("Ġ", "b"), ("a", "ad")]
    assert [tuple(pair) for pair in trained["model"]["merges"]] == expected


def test_the_same_text_gives_the_same_tokenizer(bpe):
    again = train_bpe([SAMPLE], 290)
    assert (again.digest, again.names, again.name) == (bpe.digest, bpe.names, "bpe-290")
    assert train_bpe([SAMPLE + "zzzz" * 99], 290).digest != bpe.digest
    assert BYTES.digest != bpe.digest
    assert len(set(bpe.names)) == bpe.size == 290


def test_a_pair_that_occurs_once_does_not_become_a_token():
    assert train_bpe(["abcdefgh"], 300).size == 256
    assert train_bpe(["abcdefgh ab"], 300).size == 257


def test_a_very_long_word_is_trained_in_pieces():
    """The time of the library for a word grows with the square of its length."""
    trained = train_bpe(["ab" * 60_000], 262)
    assert trained.lengths.max() >= 32
    assert len(trained.encode("ab" * 64)) <= 4


@pytest.mark.parametrize("vocabulary", [256, 0, -1, 131073, 2.5, "4096", True, None])
def test_vocabulary_out_of_range(vocabulary):
    with pytest.raises(ConfigError, match=r"data\.vocabulary="):
        train_bpe(["text"], vocabulary)


def test_a_missing_package_is_named(monkeypatch, bpe):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"pip install 'limbeck\[hf\]'"):
        BPETokenizer(bpe.definition)


def test_a_tokenizer_can_be_pickled(bpe):
    copy = pickle.loads(pickle.dumps(bpe))
    assert copy.encode(SAMPLE).tolist() == bpe.encode(SAMPLE).tolist()
    assert copy.digest == bpe.digest


# Files --------------------------------------------------------------------------------------------


def test_a_tokenizer_is_loaded_from_a_file_or_its_folder(tmp_path, bpe):
    (tmp_path / "tokenizer.json").write_text(json.dumps(json.loads(bpe.definition), indent=3))
    for place in (tmp_path, tmp_path / "tokenizer.json"):
        loaded = load_tokenizer(place)
        assert (loaded.name, loaded.digest, loaded.names) == ("bpe-290", bpe.digest, bpe.names)
        assert np.array_equal(loaded.lengths, bpe.lengths)
        assert np.array_equal(loaded.encode(SAMPLE), bpe.encode(SAMPLE))


def test_truncation_padding_and_dropout_are_switched_off(bpe):
    content = json.loads(bpe.definition)
    content["truncation"] = {
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
        "direction": "Right",
    }
    content["padding"] = {
        "strategy": {"Fixed": 5000},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "!",
    }
    content["model"]["dropout"] = 0.5
    loaded = BPETokenizer(json.dumps(content))
    assert np.array_equal(loaded.encode(SAMPLE), bpe.encode(SAMPLE))
    assert loaded.digest == bpe.digest


def test_special_tokens_are_neither_added_nor_recognised_in_the_text(bpe):
    tokenizer = tokenizers.Tokenizer.from_str(bpe.definition)
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.add_tokens(["[dogs]"])
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|end|> $A", special_tokens=[("<|end|>", 290)]
    )
    loaded = BPETokenizer(tokenizer.to_str())
    text = "cats<|end|>[dogs]"
    ids = loaded.encode(text)
    assert (loaded.names[290:], loaded.lengths[290:].tolist()) == (["<|end|>", "[dogs]"], [0, 6])
    assert 290 not in ids
    assert 291 in ids
    assert loaded.lengths[ids].sum() == len(text.encode())
    assert loaded.decode([*ids, 290]) == text + "<|end|>"


def test_spaces_and_bytes_of_sentencepiece():
    """The spelling of Llama 2: U+2581 is a space, <0x0A> a byte."""
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁a", "é"]
    model = tokenizers.models.BPE(
        {token: n for n, token in enumerate(tokens)},
        [("▁", "a")],
        unk_token="<unk>",
        byte_fallback=True,
    )
    parts = tokenizers.decoders
    decoder = parts.Sequence([parts.Replace("▁", " "), parts.ByteFallback(), parts.Fuse()])
    tokenizer = library_tokenizer(
        model, normalizer=tokenizers.normalizers.Replace(" ", "▁"), decoder=decoder
    )
    loaded = BPETokenizer(tokenizer.to_str())
    text = "a b\né a 漢"
    ids = loaded.encode(text)
    assert loaded.decode(ids) == text
    assert loaded.lengths[ids].sum() == len(text.encode())
    assert loaded.lengths[[1, 257, 260, 261]].tolist() == [1, 1, 2, 2]


def test_ids_without_a_token_have_a_name():
    tokenizer = library_tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 4}, unk_token="a"))
    loaded = BPETokenizer(tokenizer.to_str())
    assert loaded.names == ["a", "<unused 1>", "<unused 2>", "<unused 3>", "b"]
    assert (loaded.name, loaded.lengths.tolist()) == ("wordlevel-5", [1, 0, 0, 0, 1])


BPE_HEAD = '{"version": "1.0", "added_tokens": [], "post_processor": null, "decoder": null, '


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"\x00\xff", "is not JSON"),
        (b"[" * 200_000, "is not JSON"),
        (b"[]", "is not a tokenizer.json of the package tokenizers"),
        (b'{"model": {}}', "has 0 token ids"),
        (
            b'{"model": {"type": "BPE", "vocab": {"a": 0, "c": 1}, "merges": ["a b"]}}',
            "cannot be used by the package tokenizers: .*`b` out of vocabulary",
        ),
        (
            b'{"model": {"type": "BPE", "vocab": {"a": 4294967295}, "merges": []}}',
            "has 4,294,967,296 token ids",
        ),
        (b'{"model": {"type": "BPE", "vocab": {}, "merges": []}}', "has 0 token ids"),
        (
            (
                BPE_HEAD + '"normalizer": {"type": "Precompiled", "precompiled_charsmap": null}, '
                '"pre_tokenizer": null, '
                '"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}'
            ).encode(),
            "cannot be used by the package tokenizers",
        ),
    ],
)
def test_damaged_files_are_explained(tmp_path, content, message):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises((DataError, UntrustedFileError), match=message) as caught:
        load_tokenizer(tmp_path)
    assert str(tmp_path / "tokenizer.json") in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_file_that_is_missing_or_too_large(tmp_path, monkeypatch):
    with pytest.raises(
        DataError, match=r"tokenizer\.json cannot be read \(No such file.*data\.tokenizer="
    ):
        load_tokenizer(tmp_path)
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 1 << 20)
    (tmp_path / "tokenizer.json").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(DataError, match="has more than 1 MiB"):
        load_tokenizer(tmp_path)
