"""Texts of one class each from tables: CSV, TSV, JSON lines, Parquet, saved datasets."""

import json
import warnings

import pytest
import torch
from support.reviews import make_reviews, write_csv

from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data import Dataset, text_csv
from limbeck.data.text.library_tokenizer import load_tokenizer
from limbeck.data.text.tokenizer import ByteTokenizer
from limbeck.data.text.training import train_text_bpe

ROWS = make_reviews(60)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))


def load(path, **options) -> Dataset:
    return text_csv(path, **{"tokenizer": "bytes", "length": 120, **options})


def samples_of(data: Dataset) -> dict[str, str]:
    """Return the label of each text, as the token ids of all splits say."""
    labels = {}
    for split in (data.train, data.val, data.open_test()):
        for ids, label in zip(split.inputs, split.labels, strict=True):
            text = bytes(ids[ids != data.padding].tolist()).decode()
            labels[text] = data.class_names[label]
    return labels


def ids_of(data: Dataset) -> list[set[str]]:
    return [set(split.sample_ids) for split in (data.train, data.val, data.open_test())]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "arrow", "saved"])
def test_all_forms_give_the_same_texts_and_labels(tmp_path, kind):
    path = tmp_path / f"reviews.{kind}"
    if kind == "csv":
        write_csv(path, ROWS)
    elif kind == "tsv":
        path.write_text("\n".join(["text\tlabel", *map("\t".join, ROWS)]))
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps({"text": a, "label": b}) for a, b in ROWS))
    else:
        _write_arrow(path, kind)
    data = load(path)
    assert samples_of(data) == dict(ROWS)
    assert data.class_names == ["bad", "good"]
    assert (data.name, data.positions, data.padding) == (path.name, None, 256)
    assert data.train.inputs.dtype == torch.int32
    assert set.union(*ids_of(data)) == set(map(str, range(60)))


def _write_arrow(path, kind):
    pyarrow = pytest.importorskip("pyarrow")
    labels = [int(label == "good") for _, label in ROWS]
    features = {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}}
    table = pyarrow.table({"text": [text for text, _ in ROWS], "label": labels})
    description = json.dumps({"info": {"features": features}})
    table = table.replace_schema_metadata({"huggingface": description})
    if kind == "parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, path)
        return
    file = path
    if kind == "saved":
        path.mkdir()
        file = path / "data-0.arrow"
        (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": file.name}]}))
        (path / "dataset_info.json").write_text(json.dumps({"features": features}))
        table = table.replace_schema_metadata(None)
    with pyarrow.OSFile(str(file), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table, max_chunksize=7)


def test_files_and_a_column_name_the_splits(tmp_path):
    folder = tmp_path / "reviews"
    folder.mkdir()
    write_csv(folder / "train.csv", ROWS[:40])
    write_csv(folder / "test.csv", ROWS[40:])
    data = load(folder)
    assert data.test_size == 20
    train, val, test = ids_of(data)
    assert test == {f"test/{row}" for row in range(20)}
    assert train | val == {f"train/{row}" for row in range(40)}
    rows = [(*row, "test" if number >= 40 else "train") for number, row in enumerate(ROWS)]
    table = write_csv(tmp_path / "all.csv", rows, ["text", "label", "part"])
    assert samples_of(load(table, split="part")) == dict(ROWS)
    assert load(table, split="part").open_test().inputs.equal(data.open_test().inputs)


def test_texts_of_a_group_and_copies_are_in_one_split(tmp_path):
    rows = [(*row, f"author {number // 3}") for number, row in enumerate(ROWS)]
    groups = write_csv(tmp_path / "groups.csv", rows, ["text", "label", "author"])
    parts = [
        {int(row) // 3 for row in part} for part in ids_of(load(groups, group="author", val=0.2))
    ]
    assert sum(map(len, parts)) == 20 == len(set.union(*parts))
    copies = [row for text, label in ROWS for row in ((text, label), (f"{text.upper()}!", label))]
    data = load(write_csv(tmp_path / "copies.csv", copies))
    parts = [{int(row) // 2 for row in part} for part in ids_of(data)]
    assert sum(map(len, parts)) == 60 == len(set.union(*parts))


def test_copies_in_given_splits_and_with_two_labels_are_warned_of(tmp_path):
    rows = [*ROWS, ("The same text.", "good"), ("the SAME text", "bad")]
    parts = ["train"] * 50 + ["test"] * 11 + ["train"]
    table = write_csv(
        tmp_path / "a.csv",
        [(*row, part) for row, part in zip(rows, parts, strict=True)],
        ["text", "label", "split"],
    )
    with pytest.warns(LimbeckWarning) as record:
        load(table, split="split")
    messages = [str(warning.message) for warning in record]
    assert any("1 text has copies with another label" in message for message in messages)
    assert any("1 texts of test are also in training" in message for message in messages)


def test_pairs_are_joined_and_long_texts_cut(tmp_path):
    table = write_csv(tmp_path / "a.csv", [(a, "also", b) for a, b in ROWS], ["a", "b", "label"])
    with pytest.warns(LimbeckWarning, match="of 60 texts are longer than 40 tokens"):
        data = load(table, text=["a", "b"], length=40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = load(table, text=["a", "b"])
    expected = {f"{text}\0also": label for text, label in ROWS}
    assert samples_of(whole) == expected
    assert {text[:40] for text in expected} == set(samples_of(data))


def test_a_tokenizer_is_trained_on_the_training_texts_and_cached(tmp_path, monkeypatch):
    pytest.importorskip("tokenizers")
    table = write_csv(tmp_path / "a.csv", ROWS)
    data = load(table, tokenizer="bpe", vocabulary=400)
    texts = dict(enumerate(text for text, _ in ROWS))
    own = train_text_bpe([texts[int(row)] for row in data.train.sample_ids], 400)
    assert own.definition == data.tokenizer.definition
    assert data.padding == own.padding == 0
    (expected,), _ = own.encode_texts([(texts[int(data.train.sample_ids[0])],)], 120)
    assert data.train.inputs[0].tolist() == expected.tolist()
    for name in ("train_text_bpe", "_write"):
        monkeypatch.setattr(f"limbeck.data.text.rows.{name}", pytest.fail)
    assert load(table, tokenizer="bpe", vocabulary=400).digest() == data.digest()
    (tmp_path / "tokenizer.json").write_text(own.definition)
    loaded = load_tokenizer(tmp_path)
    assert loaded.padding == 0


def test_damaged_tokens_are_computed_again(tmp_path):
    table = write_csv(tmp_path / "a.csv", ROWS)
    digest = load(table).digest()
    (file,) = (tmp_path / "cache").rglob("*.texts")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert load(table).digest() == digest


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (ROWS, {"text": "txt"}, "column txt is missing.*Did you mean text"),
        (ROWS, {"label": "x"}, "column x is missing.*Set data.text= and data.label="),
        ([*ROWS, (" ", "good")], {}, "1 texts are empty: 60"),
        ([*ROWS, ("a text", "")], {}, "label is empty in line 62"),
        ([*ROWS, ("a text", "ugly")], {}, "1 classes have a single text.*: ugly"),
        ([(text, "good") for text, _ in ROWS], {}, "contains only good"),
        ([(text, str(n)) for n, (text, _) in enumerate(ROWS)], {}, "60 different values"),
    ],
)
def test_bad_tables_are_one_message(tmp_path, rows, options, message):
    with pytest.raises(DataError, match=message):
        load(write_csv(tmp_path / "a.csv", rows), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": ["a", "b", "c"]}, "should be a column, or two columns"),
        ({"length": 0}, "data.length=0"),
        ({"length": 9000}, "at most 8,192"),
        ({"tokenizer": "bep"}, "Did you mean bpe"),
        ({"val": 0.9, "test": 0.2}, "leave none of the texts"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        load(write_csv(tmp_path / "a.csv", ROWS), **options)


def test_a_file_without_labels_is_left_out_with_a_warning(tmp_path):
    write_csv(tmp_path / "train.csv", ROWS)
    write_csv(tmp_path / "test.csv", [(text, "-1") for text, _ in ROWS[:5]])
    with pytest.warns(LimbeckWarning, match="test.csv have no labels"):
        data = load(tmp_path)
    assert len(samples_of(data)) == 60


def test_texts_need_a_tokenizer_with_a_padding():
    assert ByteTokenizer().padded_size == 257


# Several labels, values and names -----------------------------------------------------------------


def targets_by_id(data: Dataset) -> dict[str, list[float]]:
    splits = (data.train, data.val, data.open_test())
    return {
        name: labels.tolist()
        for split in splits
        for name, labels in zip(split.sample_ids, split.labels, strict=True)
    }


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_several_labels_and_values(tmp_path, kind):
    path = tmp_path / f"reviews.{kind}"
    rows = []
    for n, (text, label) in enumerate(ROWS):
        tags = [label] * (n % 3 > 0) + ["long"] * (n % 2)
        rows.append({"key": f"r{n}", "text": text, "tags": tags, "score": n / 4})
    if kind == "csv":
        cells = [f"{r['key']},{r['text']},{';'.join(r['tags'])},{r['score']}" for r in rows]
        path.write_text("\n".join(["key,text,tags,score", *cells]))
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        pyarrow = pytest.importorskip("pyarrow.parquet")
        table = pytest.importorskip("pyarrow").table(
            {key: [r[key] for r in rows] for key in rows[0]}
        )
        pyarrow.write_table(table, path)
    data = load(path, label="tags", task="multi_label", id="key")
    assert (data.class_names, data.task) == (["bad", "good", "long"], "multi_label")
    assert data.padding is not None
    expected = {r["key"]: [float(name in r["tags"]) for name in data.class_names] for r in rows}
    assert targets_by_id(data) == expected
    data = load(path, label="score", task="regression", id="key")
    assert targets_by_id(data) == {r["key"]: [r["score"]] for r in rows}


def test_mistakes_in_values_and_names(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("key,text,score\na,one text,1\nb,another,much\n,a third,3\n")
    with pytest.raises(DataError, match=r"1 values to predict .* score .*'much' .*\(line 3\)"):
        load(path, label="score", task="regression")
    with pytest.raises(DataError, match=r"key is empty in line 4\."):
        load(path, label="score", task="regression", id="key")
    with pytest.raises(ConfigError, match=r"data\.task=next_token is for text\."):
        load(path, label="score", task="next_token")
