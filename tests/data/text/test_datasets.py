import gzip
import hashlib
import inspect
import threading
import time
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.markov import markov_text, stationary

import limbeck.data
from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data import text_file, text_folder
from limbeck.data.text import cache as token_cache
from limbeck.data.text.cache import _rows
from limbeck.data.text.splits import stretches_of
from limbeck.data.text.tokenizer import ByteTokenizer, train_bpe

LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyzäöü€漢  \n"))
PARTS = ("train", "val", "test")


def random_text(length=6000, seed=0):
    return "".join(np.random.default_rng(seed).choice(LETTERS, length))


def splits(data):
    return {"train": data.train, "val": data.val, "test": data.open_test()}


def write(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = random_text() if content is None else content
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def encoded(monkeypatch):
    """The texts that are tokenised."""
    seen = []
    plain = ByteTokenizer.encode
    monkeypatch.setattr(
        ByteTokenizer, "encode", lambda self, text: seen.append(text) or plain(self, text)
    )
    return seen


# Blocks -------------------------------------------------------------------------------------------


def places(data, content):
    """Where in the bytes of a text each block lies, which has to be one place."""
    found = {}
    for part, split in splits(data).items():
        rows = torch.cat([split.inputs, split.labels[:, -1:]], dim=1).to(torch.uint8)
        found[part] = [content.index(row.numpy().tobytes()) for row in rows]
        assert all(content.count(row.numpy().tobytes()) == 1 for row in rows[:5])
    return found


@pytest.mark.parametrize(("block", "count"), [(8, 100), (20, 45), (64, 14), (600, 3)])
def test_blocks_tile_stretches_of_equal_length(tmp_path, block, count):
    """By the definition: where each block begins and ends in the text, counted by hand."""
    content = random_text().encode()
    data = text_file(write(tmp_path / "a.txt", content), block=block)
    seams = [number * len(content) // count for number in range(count + 1)]
    seams = [
        next(at for at in range(seam, seam + 4) if (content + b" ")[at] & 0xC0 != 0x80)
        for seam in seams
    ]
    wanted = [at for first, last in pairwise(seams) for at in range(first, last - block, block)]
    found = places(data, content)
    assert sorted(at for starts in found.values() for at in starts) == wanted
    assert all(starts == sorted(starts) for starts in found.values())
    side = {at: part for part, starts in found.items() for at in starts}
    held = {part: 0 for part in PARTS}
    for first, last in pairwise(seams):
        (part,) = {side[at] for at in wanted if first <= at < last}
        held[part] += 1
    assert (held["val"], held["test"]) == (max(1, round(0.05 * count)),) * 2


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe"])
def test_labels_are_the_next_tokens(tmp_path, tokenizer):
    content = random_text(20_000)
    data = text_file(
        write(tmp_path / "a.txt", content), tokenizer=tokenizer, vocabulary=300, block=16
    )
    assert data.tokenizer.name == {"bytes": "bytes", "bpe": "bpe-300"}[tokenizer]
    assert (data.classes, data.shape, data.class_names) == (
        data.tokenizer.size,
        (16,),
        data.tokenizer.names,
    )
    for split in splits(data).values():
        assert split.inputs.dtype == split.labels.dtype == torch.int32
        assert torch.equal(split.inputs[:, 1:], split.labels[:, :-1])
        read = [data.tokenizer.decode(row.numpy()) for row in split.inputs[:9]]
        assert all(block.strip("\ufffd") in content for block in read)


@given(tokens=st.integers(0, 60), block=st.integers(1, 12))
def test_rows_of_a_stretch(tokens, block):
    ids = np.arange(tokens, dtype=np.int32)
    wanted = [
        list(range(at, at + block + 1)) for at in range(0, tokens, block) if at + block < tokens
    ]
    assert _rows(ids, block).tolist() == wanted
    assert len(wanted) == max(0, (tokens - 1) // block)


@given(
    content=st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    block=st.integers(1, 9),
    val=st.floats(0.01, 0.5),
    test=st.floats(0.01, 0.49),
    seed=st.integers(0, 9),
    given_parts=st.sets(st.sampled_from(["val", "test"])),
)
def test_stretches_hold_the_whole_text_once(content, block, val, test, seed, given_parts):
    texts = {"train": content.encode()} | {part: random_text(50).encode() for part in given_parts}
    found = stretches_of(texts, block=block, val=val, test=test, split_seed=seed)
    assert tuple(found) == PARTS
    assert all(found.values())
    for part in given_parts:
        assert b"".join(found[part]) == texts[part]
    cut = [part for part in PARTS if part not in given_parts]
    pieces = [bytes(piece) for part in cut for piece in found[part]]
    assert sum(map(len, pieces)) == len(content.encode())
    assert "".join(sorted("".join(str(piece, "utf-8") for piece in pieces))) == "".join(
        sorted(content)
    )
    assert (
        max(map(len, pieces)) - min(map(len, pieces)) <= 1 + 2 * 3
    )  # each seam may move by three bytes
    for part in set(cut) - {"train"}:
        share = {"val": val, "test": test}[part]
        assert len(found[part]) <= max(1, round(share * len(pieces)))


@pytest.mark.parametrize(("val", "test"), [(0.05, 0.94), (0.94, 0.05), (0.5, 0.49), (0.01, 0.01)])
@pytest.mark.parametrize("length", [30, 200, 10_000])
def test_every_split_has_a_stretch(val, test, length):
    found = stretches_of({"train": b"x" * length}, block=8, val=val, test=test, split_seed=0)
    assert all(any(map(len, pieces)) for pieces in found.values())


def test_shares_and_seeds_of_splits():
    content = {"train": bytes(range(97, 122)) * 4000}
    how = {"block": 32, "val": 0.1, "test": 0.2}
    found = stretches_of(content, **how, split_seed=0)
    assert {part: len(pieces) for part, pieces in found.items()} == {
        "train": 70,
        "val": 10,
        "test": 20,
    }
    chosen = []
    for seed in range(20):
        numbered = {"train": "".join(f"{n:04d}" for n in range(10_000)).encode()}
        found = stretches_of(numbered, **how, split_seed=seed)
        chosen.append({bytes(piece[:4]) for piece in found["test"]})
    assert len({frozenset(one) for one in chosen}) == 20
    assert len(set().union(*chosen)) > 80


def test_the_same_text_gives_the_same_blocks_everywhere(tmp_path):
    """A digest that was written down, of squares; whoever changes it changes every study of text."""
    content = " ".join(str(n * n) for n in range(4000))
    data = text_file(write(tmp_path / "a.txt", content), block=32, split_seed=3)
    found = hashlib.sha256()
    for split in splits(data).values():
        found.update(split.inputs.contiguous().numpy().tobytes())
    assert found.hexdigest()[:16] == "2cce1e554f09164b"


def test_a_tokenizer_is_trained_on_the_training_split_alone(tmp_path):
    data = text_file(
        write(tmp_path / "a.txt", random_text(20_000)), tokenizer="bpe", vocabulary=300, block=16
    )
    found = stretches_of(
        {"train": random_text(20_000).encode()}, block=16, val=0.05, test=0.05, split_seed=0
    )
    assert data.tokenizer.digest == train_bpe([str(s, "utf-8") for s in found["train"]], 300).digest
    other = train_bpe([str(s, "utf-8") for part in PARTS for s in found[part]], 300)
    assert data.tokenizer.digest != other.digest


def test_a_tokenizer_from_a_file_or_an_object(tmp_path):
    made = train_bpe([random_text()], 290)
    write(tmp_path / "own" / "tokenizer.json", made.definition)
    file = write(tmp_path / "a.txt", random_text(9000))
    digests = {
        text_file(file, tokenizer=choice, block=16).digest()
        for choice in (made, tmp_path / "own", str(tmp_path / "own" / "tokenizer.json"))
    }
    assert len(digests) == 1
    assert digests != {text_file(file, block=16).digest()}


def test_a_short_text_gives_fewer_tokens_than_asked_for(tmp_path):
    with pytest.warns(
        LimbeckWarning, match=r"vocabulary of \d+ tokens; data\.vocabulary=4096 asked for more"
    ):
        data = text_file(
            write(tmp_path / "a.txt", "the cat sat on the mat. " * 40), tokenizer="bpe", block=8
        )
    assert data.tokenizer.name == f"bpe-{data.classes}"
    assert 256 < data.classes < 300


def test_the_manual_of_python_is_always_at_hand():
    data = text_file(block=64)
    assert (data.name, data.classes, data.shape) == ("python-manual", 256, (64,))
    assert len(data.train) > 4000
    assert len(data.val) > 200 < data.test_size
    assert data.tokenizer.decode(data.train.inputs[0].numpy()).isascii()


# Files --------------------------------------------------------------------------------------------


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
        write(root / name, gzip.compress(part.encode()) if name.endswith("gz") else part)
    for name in (".hidden.txt", ".git/a.txt", "b/__MACOSX/a.txt", "notes.md", "picture.png"):
        write(root / name, b"\x00\xff")
    write(root / "empty.txt", "")
    joined = write(tmp_path / "joined", "\n\n".join(parts))
    assert text_folder(root, block=16).digest() == text_file(joined, block=16).digest()
    write(root / "notes.md", "kept\n" * 400)
    data = text_folder(root, pattern="*.md", block=16)
    assert data.digest() == text_file(root / "notes.md", block=16).digest()


def test_given_splits_are_taken_and_the_missing_one_cut_from_training(tmp_path):
    contents = {part: random_text(4000, seed) for seed, part in enumerate(PARTS)}
    for part, content in contents.items():
        write(tmp_path / "in" / part / "a.txt", content)
    write(tmp_path / "in" / "README.txt", "beside")
    data = text_folder(tmp_path / "in", block=16)
    for part, split in splits(data).items():
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
        (folder_missing, r"none is missing; data\.root="),
        (
            folder_empty,
            r"in holds no files, and none called \*\.txt or \*\.txt\.gz.*data\.pattern=",
        ),
        (folder_of_other_files, r"holds 1 other files, as b\.md, and none called"),
        (folder_of_empty_files, r"in holds empty files alone"),
        (
            folder_with_bad_files,
            r"2 of 3 text files cannot be used: .*b\.txt is no text: byte 2 is 0.*c\.txt is no",
        ),
        (
            folder_of_misspelt_splits,
            r"in: Train looks like a split; splits are called train, val, test",
        ),
        (folder_beside_training, r"in: dev beside train; splits are called"),
        (folder_of_one_text_twice, r"1 text is in two splits.*test/b\.txt = .*train/a\.txt"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_folders(tmp_path, make, message):
    with pytest.raises(DataError, match=message):
        text_folder(make(tmp_path), block=16)


LONG = b"a" * (1 << 20)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"a\.txt cannot be read \(No such file or directory\)"),
        (b"", r"a\.txt is empty; a text was expected"),
        (b"\xef\xbb\xbf \n", r"a\.txt is empty"),
        (b"abc\x00", r"a\.txt is no text: byte 3 is 0, as in binary files"),
        ("text".encode("utf-16"), r"a\.txt is text in UTF-16; .*iconv"),
        (
            b"caf\xe9 au lait",
            r"a\.txt is no text in UTF-8: byte 3 is 0xe9 \(invalid continuation byte\).*iconv",
        ),
        (LONG + b"\xff", r"byte 1,048,576 is 0xff \(invalid start byte\)"),
        (LONG[:-1] + "é".encode() + b"\xff", r"byte 1,048,577 is 0xff"),
        (LONG[:-1] + b"\xe2\x82a", r"byte 1,048,575 is 0xe2"),
        (LONG[:-1] + b"\xe2", r"byte 1,048,575 is 0xe2 \(unexpected end of data\)"),
        (gzip.compress(LONG)[:-9], r"a\.txt is damaged \(.*\); fetch it again"),
        (gzip.compress(LONG)[:30] + b"xxx" + gzip.compress(LONG)[33:], r"a\.txt is damaged"),
        (gzip.compress(b"\xff"), r"byte 0 is 0xff"),
    ],
)
def test_bad_files(tmp_path, content, message):
    if content is not None:
        write(tmp_path / "a.txt", content)
    with pytest.raises(DataError, match=message):
        text_file(tmp_path / "a.txt", block=16)


def test_what_is_no_file(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"is a folder; set data=text_folder data\.root="):
        text_file(tmp_path)
    with pytest.raises(DataError, match="is neither a file nor a folder"):
        text_file("/dev/null")
    file = write(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"b\.txt cannot be read \(Not a directory\)"):
        text_file(file / "b.txt")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"a\.txt cannot be read \(Permission denied\)"):
        text_file(file)


@pytest.mark.parametrize("length", [3, 60, 400, 1000])
@pytest.mark.parametrize("block", [500, 128])
def test_a_text_that_is_too_short_says_what_would_do(tmp_path, length, block):
    file = write(tmp_path / "a.txt", "x" * length)
    if length // 3 > block:
        assert len(text_file(file, block=block).val) == (length // 3 - 1) // block
        return
    with pytest.raises(
        DataError, match=rf"{length:,} tokens are too few for blocks of data\.block={block}"
    ) as caught:
        text_file(file, block=block)
    most = length // 3 - 1
    if most < 1:
        assert str(caught.value).endswith("Give more text.")
        return
    assert f"Set data.block={most} or lower" in str(caught.value)
    assert len(text_file(file, block=most).val) == 1
    with pytest.raises(DataError, match="too few"):
        text_file(file, block=most + 1)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"block": 0}, r"data\.block=0"),
        ({"block": "long"}, r"data\.block='long'"),
        ({"val": 0}, r"data\.val=0 "),
        ({"test": 1.0}, r"data\.test=1\.0 "),
        ({"val": True}, "data.val=True"),
        ({"val": "x"}, "data.val='x'"),
        ({"val": 0.5, "test": 0.5}, "leave no text to train with"),
        ({"split_seed": -1}, r"data\.split_seed=-1"),
        ({"tokenizer": "bpe", "vocabulary": 256}, r"data\.vocabulary=256 should be from 257"),
        ({"tokenizer": "byte"}, "data.tokenizer='byte' should be .*; did you mean bytes?"),
        ({"tokenizer": "gpt2"}, "data.tokenizer='gpt2' should be bytes, bpe, or the path"),
        ({"tokenizer": 7}, "data.tokenizer='7'"),
        ({"tokenizer": ""}, "data.tokenizer=''"),
        ({"tokenizer": None}, "data.tokenizer='None'"),
    ],
)
def test_bad_settings(tmp_path, setting, message):
    with pytest.raises(ConfigError, match=message):
        text_file(write(tmp_path / "a.txt"), **({"block": 16} | setting))


def test_bad_patterns(tmp_path):
    for pattern in ([], "", [7]):
        with pytest.raises(ConfigError, match=r"data\.pattern="):
            text_folder(write(tmp_path / "in" / "a.txt").parent, pattern=pattern)


def test_a_tokenizer_file_that_is_missing(tmp_path):
    for place in (tmp_path / "none.json", tmp_path / "no" / "folder"):
        with pytest.raises(DataError, match=r"cannot be read .*data\.tokenizer= should name"):
            text_file(write(tmp_path / "a.txt"), tokenizer=str(place), block=16)


# Tokenizers that lose something -------------------------------------------------------------------


@pytest.mark.parametrize("where", ["first", "later"])
def test_a_tokenizer_that_loses_text_is_refused(tmp_path, where):
    """Composed characters are other bytes: bits per byte would be those of another text."""
    library = pytest.importorskip("tokenizers")
    made = library.Tokenizer.from_str(train_bpe([random_text()], 290).definition)
    made.normalizer = library.normalizers.NFC()
    write(tmp_path / "tokenizer.json", made.to_str())
    content = "plain text here " * 2000
    assert len(text_file(write(tmp_path / "a.txt", content), tokenizer=tmp_path, block=16).train)
    content = "e\u0301" + content if where == "first" else content + "e\u0301"
    message = (
        "does not give the text back: 'e\u0301plain"
        if where == "first"
        else r"became tokens of [\d,]+ bytes"
    )
    with pytest.raises(DataError, match=message + ".*Bits per byte need a tokenizer without loss"):
        text_file(write(tmp_path / "a.txt", content), tokenizer=tmp_path, block=16, split_seed=1)


def test_a_tokenizer_of_words_is_refused(tmp_path):
    library = pytest.importorskip("tokenizers")
    made = library.Tokenizer(
        library.models.WordLevel({"[UNK]": 0, "plain": 1, "text": 2}, unk_token="[UNK]")
    )
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    write(tmp_path / "tokenizer.json", made.to_str())
    with pytest.raises(DataError, match="does not give the text back"):
        text_file(write(tmp_path / "a.txt", "plain text here " * 200), tokenizer=tmp_path, block=16)


# The cache ----------------------------------------------------------------------------------------


def test_tokens_are_made_once(tmp_path, encoded, capsys):
    file = write(tmp_path / "a.txt")
    first = text_file(file, block=16)
    count = len(encoded)
    assert count > 50
    again = text_file(write(tmp_path / "copy.txt"), block=16, val=0.0501)  # the same stretches
    assert len(encoded) == count
    assert first.digest() == again.digest()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("change", ["text", "block", "seed", "share", "tokenizer"])
def test_what_changes_is_made_anew(tmp_path, change, encoded):
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
def test_a_damaged_file_is_made_anew(tmp_path, place, kind, capsys):
    file = write(tmp_path / "a.txt")
    settings = {"block": 16, "tokenizer": "bpe", "vocabulary": 280}
    before = text_file(file, **settings).digest()
    (kept,) = (tmp_path / "cache" / "tokens").glob(f"*.{kind}")
    content = bytearray(kept.read_bytes())
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
    kept.write_bytes(damaged)
    assert text_file(file, **settings).digest() == before
    assert capsys.readouterr().err == f"{kept} is damaged; it is made anew.\n"
    assert kept.read_bytes() != damaged
    assert text_file(file, **settings).digest() == before
    assert capsys.readouterr().err == ""


def test_rows_cannot_change_sides(tmp_path, capsys):
    file = write(tmp_path / "a.txt")
    before = text_file(file, block=16)
    (kept,) = (tmp_path / "cache" / "tokens").glob("*.tokens")
    content = kept.read_bytes()
    counts = [len(split) for split in splits(before).values()]
    moved = [counts[0] - 1, counts[1] + 1, counts[2]]
    kept.write_bytes(content.replace(str(counts).encode(), str(moved).encode()))
    assert kept.read_bytes() != content
    assert text_file(file, block=16).digest() == before.digest()
    assert kept.read_bytes() == content
    assert "made anew" in capsys.readouterr().err


def test_a_key_knows_splits_and_seams():
    layouts = [
        {"train": [b"ab", b"cd"], "val": [b"e"]},
        {"train": [b"abc", b"d"], "val": [b"e"]},
        {"train": [b"ab"], "val": [b"cd", b"e"]},
        {"train": [b"ab", b"cd"], "val": [b"f"]},
    ]
    assert len({token_cache._digest_of(layout) for layout in layouts}) == 4


@pytest.mark.parametrize("reopened", [False, True])
def test_splits_are_views_of_the_mapped_file_and_leave_it_alone(tmp_path, reopened):
    file = write(tmp_path / "a.txt")
    for _ in range(1 + reopened):
        data = text_file(file, block=16)
    before = data.digest()
    parts = splits(data)
    tensors = [values for split in parts.values() for values in (split.inputs, split.labels)]
    assert len({values.untyped_storage().data_ptr() for values in tensors}) == 1
    assert all(split.labels.data_ptr() == split.inputs.data_ptr() + 4 for split in parts.values())
    (kept,) = (tmp_path / "cache" / "tokens").glob("*.tokens")
    content = kept.read_bytes()
    data.train.inputs.zero_()
    assert kept.read_bytes() == content
    assert text_file(file, block=16).digest() == before


def test_a_folder_that_cannot_be_written_to(tmp_path, encoded):
    file = write(tmp_path / "a.txt")
    before = text_file(file, block=16).digest()
    count = len(encoded)
    with pytest.warns(
        LimbeckWarning, match=r"cannot hold the tokens \(Not a directory\).*data\.cache=DIR"
    ) as said:
        data = text_file(file, block=16, cache=file / "inside")
    assert len(said) == 1
    assert data.digest() == before
    assert len(encoded) == 2 * count
    with pytest.warns(LimbeckWarning) as said:
        found = text_file(file, block=16, tokenizer="bpe", vocabulary=280, cache=file / "inside")
    assert len(said) == 1
    assert found.digest() == text_file(file, block=16, tokenizer="bpe", vocabulary=280).digest()


def test_a_full_disk(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    file = write(tmp_path / "a.txt")
    monkeypatch.setattr(token_cache, "write_atomically", full)
    with pytest.warns(LimbeckWarning, match="No space left on device"):
        found = text_file(file, block=16).digest()
    monkeypatch.undo()
    assert text_file(file, block=16, cache=tmp_path / "other").digest() == found
    assert list((tmp_path / "other").glob("*.tokens"))


def test_where_tokens_are_kept(tmp_path, monkeypatch):
    assert token_cache.default_folder() == tmp_path / "cache" / "tokens"
    monkeypatch.delenv("LIMBECK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert token_cache.default_folder() == tmp_path / "xdg" / "limbeck" / "tokens"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert token_cache.default_folder() == tmp_path / "home" / ".cache" / "limbeck" / "tokens"
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert token_cache.default_folder() is None
    with pytest.warns(
        LimbeckWarning, match="no home folder to keep tokens in; they stay in memory"
    ):
        text_file(write(tmp_path / "a.txt"), block=16)


def test_two_at_once_make_tokens_once(tmp_path, encoded, monkeypatch):
    file = write(tmp_path / "a.txt")
    text_file(file, block=16, cache=tmp_path / "one")
    count = len(encoded)
    plain = token_cache._encode
    monkeypatch.setattr(token_cache, "_encode", lambda *given: time.sleep(0.001) or plain(*given))
    digests = []
    threads = [
        threading.Thread(
            target=lambda: digests.append(
                text_file(file, block=16, cache=tmp_path / "two").digest()
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(encoded) == 2 * count
    assert len(digests) == 4
    assert len(set(digests)) == 1


def test_progress_is_shown_where_it_takes_long(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(token_cache, "SLOW", 1000)
    text_file(write(tmp_path / "a.txt"), block=16, tokenizer="bpe", vocabulary=280)
    assert capsys.readouterr().err.splitlines() == [
        "training the tokenizer: 100 % after 0 s",
        "tokenising 7,222 bytes: 100 % after 0 s",
    ]


# Settings and the source of known entropy ---------------------------------------------------------


@pytest.mark.parametrize(("group", "made"), [("text", text_file), ("text_folder", text_folder)])
def test_the_files_of_settings_have_the_defaults_of_the_functions(group, made):
    settings = yaml.safe_load((files("limbeck") / "conf" / "data" / f"{group}.yaml").read_text())
    assert settings.pop("_target_") == f"limbeck.data.{made.__name__}"
    assert getattr(limbeck.data, made.__name__) is made
    defaults = {name: one.default for name, one in inspect.signature(made).parameters.items()}
    if "root" in defaults:
        assert settings.pop("root") == "data"
        del defaults["root"]
        assert settings.pop("pattern") == list(defaults.pop("pattern"))
    assert settings == defaults


@pytest.mark.parametrize(("symbols", "seed"), [(2, 0), (5, 1), ("abc xyz\n", 2)])
def test_a_markov_chain_has_the_entropy_it_says(symbols, seed):
    """Against the text itself: nats per symbol under counts of pairs, which is a little low by
    their number.
    """
    content, entropy, transitions = markov_text(symbols=symbols, length=200_000, seed=seed)
    letters = sorted(set(content))
    count = len(transitions)
    assert len(letters) == count
    assert len(content) == 200_000
    weights = stationary(transitions)
    assert weights @ transitions == pytest.approx(weights)
    code = {letter: number for number, letter in enumerate(letters)}
    chain = np.array([code[letter] for letter in content])
    pairs = np.zeros((count, count))
    np.add.at(pairs, (chain[:-1], chain[1:]), 1)
    seen = pairs[pairs > 0]
    shares = (pairs / pairs.sum(1, keepdims=True))[pairs > 0]
    found = -(seen * np.log(shares)).sum() / seen.sum()
    assert entropy == pytest.approx(found, abs=0.01)
    assert 0 < entropy < np.log(count)
