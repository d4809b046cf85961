"""Tokenizers that lengthen a text without end, take too long, or crash are refused."""

import base64
import json

import pytest

from limbeck._base import tokenizer_calls
from limbeck._base.errors import DataError, UntrustedFileError
from limbeck._base.tokenizer_calls import call_tokenizer
from limbeck.data.text.library_tokenizer import BPETokenizer
from limbeck.data.text.tokenizer_limits import check_growth
from limbeck.data.text.training import train_bpe

DOUBLE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
SPACES = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
TABLE = base64.b64encode((4).to_bytes(4, "little") + bytes(4) + b"y" * 5000 + b"\0").decode()

TOKEN = {
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": True,
    "special": False,
}


@pytest.fixture(scope="module")
def content():
    return json.loads(train_bpe(["a text, a word, a text"], 300).definition)


def sequence(*steps, kind="Sequence", key="normalizers"):
    return {"type": kind, key: list(steps)}


@pytest.mark.parametrize(
    ("part", "step", "message"),
    [
        ("normalizer", sequence(*[DOUBLE] * 30), "1,073,741,824 times as long"),
        ("normalizer", sequence(*[sequence(DOUBLE)] * 30), "1,073,741,824 times as long"),
        ("normalizer", {**DOUBLE, "content": "b" * 100_000}, "100,000 times as long"),
        (
            "normalizer",
            {**DOUBLE, "pattern": {"Regex": "^|$"}, "content": "b" * 2000},
            "2,001 times",
        ),
        ("normalizer", {"type": "Prepend", "prepend": "b" * 2000}, "2,000 times"),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": TABLE}, "5,000 times"),
        ("normalizer", sequence(*[{"type": "NFD"}] * 100), "has 101 parts in its normalizer"),
        (
            "pre_tokenizer",
            sequence(*[{"type": "ByteLevel"}] * 20, key="pretokenizers"),
            "normalizer and pre_tokenizer",
        ),
        ("decoder", sequence(*[DOUBLE] * 30, key="decoders"), "The decoder of"),
    ],
)
def test_tokenizers_that_lengthen_a_text_too_much(content, part, step, message):
    with pytest.raises(UntrustedFileError, match=message):
        BPETokenizer(
            json.dumps({**content, "pre_tokenizer": None, part: step}), where="here/tokenizer.json"
        )


def test_parts_of_tokenizers_in_use_are_accepted(content):
    prepend = {"type": "Prepend", "prepend": "\u2581"}
    metaspace = {"type": "Metaspace", "replacement": "\u2581"}
    table = base64.b64encode((4).to_bytes(4, "little") + bytes(4) + b"y" * 33 + b"\0").decode()
    precompiled = {"type": "Precompiled", "precompiled_charsmap": table}
    check_growth({"normalizer": sequence(prepend, SPACE), "pre_tokenizer": None}, "LLaMA")
    check_growth(
        {"normalizer": sequence(precompiled, SPACES), "pre_tokenizer": metaspace}, "XLM-RoBERTa"
    )
    check_growth(content, "GPT-2")


def test_a_panic_of_the_library_is_one_message(content, capfd):
    split = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}
    definition = json.dumps({**content, "pre_tokenizer": {**split, "invert": False}})
    with pytest.raises(UntrustedFileError, match="cannot be used by the package tokenizers: "):
        BPETokenizer(definition, where="here/tokenizer.json")
    assert capfd.readouterr() == ("", "")


def test_what_others_write_during_a_call_is_shown_after_it(capfd):
    def work():
        tokenizer_calls._write_all(b"a warning\nthread '<unnamed>' panicked at x.rs:1\n  1: main\n")
        raise ValueError("no such token")

    with pytest.raises(DataError, match=r"here cannot be used.*no such token"):
        call_tokenizer(work, 1, "here")
    assert capfd.readouterr().err == "a warning\n"


def test_a_call_that_takes_too_long_is_left(monkeypatch):
    import threading

    end = threading.Event()
    monkeypatch.setattr(tokenizer_calls, "MIN_SECONDS", 0.05)
    with pytest.raises(UntrustedFileError, match=r"here takes more than .* text of 7 bytes"):
        call_tokenizer(end.wait, 7, "here")
    end.set()


def test_a_call_without_standard_error_works(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    assert call_tokenizer(lambda: 3, 1, "here") == 3


@pytest.mark.parametrize("part", ["vocab", "added"])
def test_ids_are_compared_with_the_limit_before_memory_is_allocated(content, part, monkeypatch):
    """The library makes room for the largest id: 8 GB for one of 2^31."""
    monkeypatch.setattr("limbeck.data.text.library_tokenizer.call_tokenizer", pytest.fail)
    token = {**TOKEN, "id": 2**31, "content": "zz"}
    changed = {**content, "added_tokens": [token]}
    if part == "vocab":
        vocabulary = {**content["model"]["vocab"], "zz": 2**31}
        changed = {**content, "model": {**content["model"], "vocab": vocabulary}}
    with pytest.raises(DataError, match=r"has 2,147,483,649 token ids; expected 2 to 1,048,576"):
        BPETokenizer(json.dumps(changed))
