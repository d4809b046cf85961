"""Texts for embeddings: lines, tables, labels of a probe, and mistakes."""

import pytest
import torch
from support.reviews import make_reviews, write_csv

from limbeck._base.errors import DataError
from limbeck.data import sentences
from limbeck.losses import UNLABELLED

ROWS = make_reviews(100)


@pytest.fixture
def options(tmp_path):
    return {"cache": tmp_path / "cache", "tokenizer": "bytes", "length": 100}


def decoded(data):
    parts = [data.train, data.val, data.open_test()]
    ids = torch.cat([part.inputs for part in parts])
    return sorted(data.tokenizer.decode(row[row != data.padding]) for row in ids)


def test_a_file_has_a_text_per_line_without_labels(tmp_path, options):
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(text for text, _ in ROWS) + "\n\n")
    data = sentences(file, **options)
    assert decoded(data) == sorted(text for text, _ in ROWS)
    assert data.kind.outputs == "vectors"
    assert (data.train.labels == UNLABELLED).all()
    assert data.class_names == []


def test_a_table_needs_no_label_but_may_have_one(tmp_path, options):
    file = write_csv(tmp_path / "texts.csv", ROWS, ("review", "label"))
    plain = sentences(file, text="review", **options)
    labelled = sentences(file, text="review", label="label", **options)
    assert torch.equal(plain.train.inputs, labelled.train.inputs)
    assert (plain.val.labels == UNLABELLED).all()
    assert labelled.class_names == ["bad", "good"]
    assert set(labelled.train.labels.tolist()) == {0, 1}


def test_splits_and_groups_are_kept(tmp_path, options):
    names = ["train", "val", "test", "train"]
    rows = [(text, names[i % 4], f"author {i // 2}") for i, (text, _) in enumerate(ROWS)]
    file = write_csv(tmp_path / "texts.csv", rows, ("text", "part", "author"))
    data = sentences(file, split="part", **options)
    assert [len(data.train), len(data.val), data.test_size] == [50, 25, 25]
    data = sentences(file, group="author", **options)
    assert data.train.groups is not None
    assert not set(data.train.groups.tolist()) & set(data.val.groups.tolist())


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("text\n" + "\n".join(f"line {i}" for i in range(30)), {"text": "texts"}, "Did you mean"),
        ("text,kind\na b,x\nc d,\n", {"label": "kind"}, "kind is empty in 1 of 2 texts"),
        ("text\n", {}, "contains no texts"),
    ],
)
def test_mistakes_in_a_table_are_named(tmp_path, options, content, settings, message):
    file = tmp_path / "texts.csv"
    file.write_text(content)
    with pytest.raises(DataError, match=message):
        sentences(file, **settings, **options)


def test_lines_have_no_columns(tmp_path, options):
    file = tmp_path / "texts.txt"
    file.write_text("one\ntwo\n")
    with pytest.raises(DataError, match=r"no columns, but data\.label=kind"):
        sentences(file, label="kind", **options)
