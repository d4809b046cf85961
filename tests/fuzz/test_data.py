"""Odd tables, images, texts and other files of data."""

import gzip
import io
from functools import cache

import pytest
from hypothesis import strategies as st
from support.fuzz import attempt_call, examples, fuzz, snapshot
from support.fuzz_images import image_bytes
from support.fuzz_values import changed_bytes, changed_json, json_values
from support.idx_files import write_mnist
from support.image_files import picture, write_csv, write_folder
from support.text_files import random_text

from limbeck import data

# Tables -------------------------------------------------------------------------------------------

NAMES = ("0", "1.png", "../img/0", "./0", "img/0", "img//0", "nix", "", "/dev/null", "0\0", '"0')
LABELS = ("low", "high", "0", "1", "1.0", "1e0", "01", "nan", "NA", "", "-1", "inf", "LOW", "²")
ENDS = ("\n", "\r\n", "\r", "\n\n")


@st.composite
def tables(draw):
    """A table of 20 images, with some odd names and labels."""
    delimiter = draw(st.sampled_from([",", ",", ";", "\t", "|"]))
    label = st.sampled_from(LABELS)
    rows = [["file", "label"]]
    for number in range(20):
        rows.append([f"{number}", ("low", "high")[number % 2]])
    choices = draw(st.lists(st.tuples(st.integers(0, 20), label), max_size=20))
    for place, text in choices:
        rows[place][1] = text
    for place in draw(st.lists(st.integers(0, 20), max_size=2)):
        rows[place][0] = draw(st.sampled_from(NAMES) | st.text(max_size=5))
    if not draw(st.integers(0, 3)):
        rows[draw(st.integers(0, 20))] += draw(st.lists(st.text(max_size=3), max_size=3))
    text = draw(st.sampled_from(ENDS)).join(map(delimiter.join, rows))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    content = text.encode(encoding, "replace")
    return draw(changed_bytes(content)) if not draw(st.integers(0, 4)) else content


SETTINGS = st.dictionaries(
    st.sampled_from(["ordinal", "crop_border", "class_names", "size", "channels", "test", "val"]),
    json_values | st.sampled_from([0, 1, 3, 0.5, True, ["low", "high"], ["low"], "low"]),
    max_size=1,
)


def check_table(folder, content, settings):
    images = folder / "img"
    write_csv(images, "", count=20)
    (folder / "train.csv").write_bytes(content)
    before = snapshot(folder)

    def read():
        columns = {"file_column": "file", "label_column": "label", "suffix": ".png"}
        return data.image_csv(folder, images="img", **{"size": 6, **columns, **settings})

    attempt_call(folder, read, str(settings))
    assert before.items() <= snapshot(folder).items()


@examples(0.08)
def test_tables_are_read_or_refused(count):
    fuzz(count, check_table, tables(), SETTINGS)


# Tables of features -------------------------------------------------------------------------------

CELLS = (
    "",
    "1",
    "-2.5",
    "1,5",
    "1e50",
    "inf",
    "NaN",
    "NA",
    "?",
    "x",
    "X",
    "3.0",
    "2024-01-01",
    "=1",
)


@st.composite
def feature_tables(draw):
    """A table of 30 rows with a number, a category, a number with gaps and a label."""
    delimiter = draw(st.sampled_from([",", ";", "\t"]))
    rows = [["age", "colour", "income", "label"]]
    for n in range(30):
        rows.append(
            [str(20 + n), ("red", "blue")[n % 2], f"{n}.5" if n % 5 else "", "ab"[n // 2 % 2]]
        )
    cell = st.sampled_from(CELLS) | st.text(max_size=4)
    places = st.tuples(st.integers(0, 30), st.integers(0, 3), cell)
    for row, column, text in draw(st.lists(places, max_size=4)):
        rows[row][column] = text
    text = draw(st.sampled_from(ENDS)).join(map(delimiter.join, rows))
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-16"])), "replace")
    return draw(changed_bytes(content)) if not draw(st.integers(0, 4)) else content


TABLE_SETTINGS = st.dictionaries(
    st.sampled_from(
        ["label", "id", "split", "group", "categorical", "ignore", "task", "class_names", "test"]
    ),
    json_values | st.sampled_from(["age", "income", ["colour"], ["age"], "regression", "ordinal"]),
    max_size=2,
)


def check_feature_table(folder, content, settings):
    file = folder / "data.csv"
    file.write_bytes(content)
    attempt_call(folder, lambda: data.table(file, **{"label": "label", **settings}), str(settings))
    assert snapshot(folder) == {"data.csv": content}


@examples(0.05)
def test_tables_of_features_are_read_or_refused(count):
    fuzz(count, check_feature_table, feature_tables(), TABLE_SETTINGS)


# Images -------------------------------------------------------------------------------------------


ENDINGS = (
    "x.png",
    "x.PNG",
    "x.jpg",
    "x.tif",
    "x.webp",
    "x",
    ".png",
    "x y ü.png",
    "x.txt",
    "x/y.png",
)


def check_image(folder, content, name, settings):
    root = write_folder(folder / "data", count=10)
    file = root / "cat" / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    before = snapshot(folder)
    arguments = {"size": 6, **settings}
    attempt_call(folder, lambda: data.image_folder(root, **arguments), str(settings))
    assert before.items() <= snapshot(folder).items()


@examples(0.06)
def test_images_are_read_or_refused(count):
    fuzz(count, check_image, image_bytes, st.sampled_from(ENDINGS), SETTINGS)


# Tables of images ---------------------------------------------------------------------------------


@cache
def table_of_images(kind):
    """The bytes of a Parquet file, or of a stream of Arrow, with 20 images."""
    import pyarrow
    from pyarrow import parquet

    files = [io.BytesIO() for _ in range(20)]
    for number, file in enumerate(files):
        picture(number).save(file, "PNG")
    images = [{"bytes": file.getvalue(), "path": None} for file in files]
    table = pyarrow.table({"image": images, "label": [number % 2 for number in range(20)]})
    content = io.BytesIO()
    if kind == "parquet":
        parquet.write_table(table, content, row_group_size=7)
    else:
        with pyarrow.ipc.new_stream(content, table.schema) as stream:
            stream.write_table(table)
    return content.getvalue()


def check_table_of_images(folder, content, settings):
    file = folder / "data.parquet"
    file.write_bytes(content)
    before = snapshot(folder)
    attempt_call(folder, lambda: data.image_table(file, **{"size": 6, **settings}), str(settings))
    assert before.items() <= snapshot(folder).items()


@examples(0.01)
def test_tables_of_images_are_read_or_refused(count):
    pytest.importorskip("pyarrow", reason="tables of images need pyarrow")
    kinds = st.sampled_from(["parquet", "arrow"]).map(table_of_images)
    fuzz(count, check_table_of_images, kinds.flatmap(changed_bytes), SETTINGS)


# Folders ------------------------------------------------------------------------------------------

PATHS = st.sampled_from(
    (
        "cat/a.png",
        "dog/a.png",
        "a.png",
        "train/cat/a.png",
        "test/cat/a.png",
        "test/dog/b.png",
        "val/cat/a.png",
        "train/dog/b.png",
        "cat/x/a.png",
        ".git/a.png",
        "Cat/a.png",
        "cat /b.png",
        "ü/a.png",
        "\x1b[2J/a.png",
        "0/a.png",
        "00/a.png",
        "=x/a.png",
        "cat/a.txt",
        "valid/cat/a.png",
    )
)
KINDS = st.sampled_from(["file", "file", "file", "empty", "link", "loop", "broken link", "folder"])


def check_folder(folder, entries, settings):
    root = folder / "data"
    root.mkdir()
    for number, (name, kind) in enumerate(entries):
        path = root / name
        if path.exists() or path.is_symlink() or path.parent.is_file():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        match kind:
            case "file":
                picture(number).save(path, "PNG")
            case "empty":
                path.touch()
            case "link":
                picture(number).save(folder / f"{number}.png")
                path.symlink_to(folder / f"{number}.png")
            case "loop":
                path.symlink_to(root)
            case "broken link":
                path.symlink_to("nix.png")
            case "folder":
                path.mkdir()
    arguments = {"size": 6, **settings}
    attempt_call(folder, lambda: data.image_folder(root, **arguments), str(settings))


@examples(0.06)
def test_folders_are_read_or_refused(count):
    entries = st.lists(st.tuples(PATHS, KINDS), max_size=16)
    fuzz(count, check_folder, entries, SETTINGS)


# Text ---------------------------------------------------------------------------------------------

TEXT = random_text(3000).encode()
texts = st.one_of(
    st.just(TEXT),
    changed_bytes(TEXT),
    st.sampled_from([gzip.compress(TEXT), b"\xff\xfea\0" * 900, b"\n" * 3000, b"a" * 3000, b"ab"]),
    changed_bytes(gzip.compress(TEXT)),
)
TEXT_SETTINGS = st.dictionaries(
    st.sampled_from(["tokenizer", "vocabulary", "block", "val", "test", "name", "split_seed"]),
    json_values | st.sampled_from([2, 16, 300, 0.3, 1.0, "bpe", "bytes"]),
    max_size=2,
)
TOKENIZER = (
    b'{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{"id": 0, "content":'
    b' "<e>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,'
    b' "special": true}], "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},'
    b' "post_processor": null, "decoder": null, "model": {"type": "WordLevel", "vocab": {"<e>": 0,'
    b' "a": 1, "b": 2}, "unk_token": "<e>"}}'
)


def check_text(folder, content, name, settings, tokenizer):
    root = folder / "texts"
    root.mkdir()
    (root / name).write_bytes(content)
    (folder / "tokenizer.json").write_bytes(tokenizer)
    before = snapshot(folder)
    arguments = {"block": 8, "cache": folder / "tokens", **settings}
    attempt_call(folder, lambda: data.text_file(root / name, **arguments), str(settings))
    attempt_call(folder, lambda: data.text_folder(root, **arguments), str(settings))
    assert before.items() <= snapshot(folder).items()


@examples(0.05)
def test_texts_are_read_or_refused(count):
    names = st.sampled_from(["a.txt", "a.txt.gz", "a.md"])
    tokenizers = st.just(TOKENIZER) | changed_json(TOKENIZER)
    own = st.just({"tokenizer": "tokenizer.json"})
    fuzz(count, check_text, texts, names, TEXT_SETTINGS | own, tokenizers)


# MNIST --------------------------------------------------------------------------------------------


def check_mnist(folder, values, settings):
    root = write_mnist(folder / "data", gz=False)
    number, draw_content = values
    file = sorted(path for path in root.iterdir() if path.is_file())[number]
    file.write_bytes(draw_content(file.read_bytes()))
    attempt_call(folder, lambda: data.mnist(root, **{"val": 5, **settings}), str(settings))


@examples(0.02)
def test_idx_files_are_read_or_refused(count):
    settings = st.dictionaries(
        st.sampled_from(["val", "train", "test", "size", "channels", "split_seed"]),
        json_values | st.integers(0, 40),
        max_size=1,
    )
    place, value = st.integers(0, 60), st.integers(0, 255)

    def change(place, value, cut):
        def apply(content):
            content = bytearray(content)
            content[place % len(content)] = value
            return bytes(content[: len(content) - cut])

        return apply

    changes = st.builds(change, place, value, st.sampled_from([0, 0, 1, 50]))
    fuzz(count, check_mnist, st.tuples(st.integers(0, 3), changes), settings)
