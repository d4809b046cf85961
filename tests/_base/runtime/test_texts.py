"""Bundles of texts: the tokens are those of the training, and texts come from anywhere."""

import csv
import io
import json
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.bundles import write_sums
from support.reviews import make_reviews

from limbeck._base.runtime.bundle import Bundle
from limbeck._base.runtime.command_line import main
from limbeck._base.runtime.errors import BundleError
from limbeck._base.runtime.file_names import GOLDEN, KINDS, LABELS, METADATA, PREPROCESS, TOKENIZER
from limbeck._base.runtime.tokenizer import byte_encoder, library_encoder
from limbeck._base.runtime.verify import verify
from limbeck.data.text.library_tokenizer import BPETokenizer
from limbeck.data.text.tokenizer import ByteTokenizer
from limbeck.data.text.training import train_text_bpe

LENGTH, PADDING = 24, 256
TEXTS = ["a lovely film", "Ein \u00e4lterer Film \U0001f3ac", "x", "long " * 40]


def counting_model():
    """An ONNX model whose logits are the numbers of the letters a and b."""
    inputs = helper.make_tensor_value_info("inputs", TensorProto.INT32, ["N", "L"])
    outputs = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])
    nodes = []
    for letter in "ab":
        nodes += [
            helper.make_node("Equal", ["inputs", f"id_{letter}"], [f"is_{letter}"]),
            helper.make_node("Cast", [f"is_{letter}"], [f"one_{letter}"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", [f"one_{letter}", "axis"], [f"sum_{letter}"]),
        ]
    nodes.append(helper.make_node("Concat", ["sum_a", "sum_b"], ["logits"], axis=1))
    tensors = [numpy_helper.from_array(np.array([1]), "axis")]
    for letter in "ab":
        tensors.append(numpy_helper.from_array(np.array(ord(letter), np.int32), f"id_{letter}"))
    graph = helper.make_graph(nodes, "letters", [inputs], [outputs], initializer=tensors)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def write_bundle(folder, tokenizer="bytes", names=("text",), **settings):
    folder.mkdir()
    onnx.save(counting_model(), folder / KINDS["fp32"])
    golden, _ = ByteTokenizer().encode_texts([("aab",), ("b",)], LENGTH)
    counts = np.stack([(golden == ord(letter)).sum(1) for letter in "ab"], 1)
    np.savez(folder / GOLDEN, inputs=golden, fp32=counts.astype(np.float32))
    preprocess = {"kind": "text", "shape": [LENGTH], "dtype": "int32", "padding": PADDING}
    preprocess |= {"tokenizer": tokenizer, "columns": [{"name": name} for name in names]}
    contents = {
        METADATA: {
            "format": 1,
            "name": "letters",
            "temperature": 1,
            "tolerances": {"fp32": 1e-4},
        },
        LABELS: {"labels": ["a", "b"]},
        PREPROCESS: preprocess | settings,
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    return write_sums(folder)


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def predict(bundle, *arguments, capsys):
    code = main(["predict", str(bundle), *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("pairs", [False, True])
def test_the_tokens_of_a_bundle_are_those_of_the_training(pairs):
    pytest.importorskip("tokenizers")
    texts = [(text, "and a second one") if pairs else (text,) for text in TEXTS]
    own = train_text_bpe([text for text, _ in make_reviews(40)], 400)
    definition = json.loads(own.definition)
    cls, sep = 300, 301
    definition["added_tokens"] += [
        {**definition["added_tokens"][0], "id": number, "content": name}
        for number, name in ((cls, "[CLS]"), (sep, "[END]"))
    ]
    definition["post_processor"] = {
        "type": "BertProcessing",
        "sep": ["[END]", sep],
        "cls": ["[CLS]", cls],
    }
    for tokenizer in (own, BPETokenizer(json.dumps(definition))):
        encode = library_encoder(tokenizer.file.encode(), "tokenizer.json", LENGTH)
        rows, is_cut = tokenizer.encode_texts(texts, LENGTH)
        assert is_cut[-1]
        for text, row in zip(texts, rows, strict=True):
            assert encode(text) == row[row != tokenizer.padding].tolist()
    encode = byte_encoder(LENGTH)
    rows, _ = ByteTokenizer().encode_texts(texts, LENGTH)
    assert [encode(text) for text in texts] == [row[row != PADDING].tolist() for row in rows]


def test_texts_of_the_command_line_tables_and_files(tmp_path, capsys):
    bundle = write_bundle(tmp_path / "bundle")
    assert verify(bundle)
    code, out, err = predict(bundle, "--text", "aab", "--text", "abb", capsys=capsys)
    assert (code, err) == (0, "")
    assert [row["label"] for row in rows_of(out)] == ["a", "b"]
    assert float(rows_of(out)[0]["confidence"]) == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-5)
    table = tmp_path / "rows.csv"
    table.write_text("id;text\n1;bbb\n2;\n3;" + "a" * 100, encoding="utf-16")
    (tmp_path / "note.txt").write_text("\ufeffbaa")
    code, out, err = predict(bundle, table, tmp_path / "note.txt", capsys=capsys)
    rows = rows_of(out)
    assert [(row["line"], row["label"]) for row in rows] == [
        ("2", "b"),
        ("3", ""),
        ("4", "a"),
        ("", "a"),
    ]
    assert rows[1]["error"] == f"{table}, line 3 (an empty text)"
    assert code == 3


def test_a_batch_is_as_long_as_its_longest_text(tmp_path):
    bundle = Bundle(write_bundle(tmp_path / "bundle"))
    arrays = [np.arange(3, dtype=np.int32), np.arange(9, dtype=np.int32)]
    batch = bundle.stack(arrays)
    assert batch.shape == (2, 16)
    assert batch.dtype == np.int32
    assert (batch[0, 3:] == PADDING).all()
    assert bundle.stack([np.zeros(LENGTH, np.int32)]).shape == (1, LENGTH)


def test_pairs_come_from_two_columns(tmp_path, capsys):
    bundle = write_bundle(tmp_path / "bundle", names=["first", "second"])
    table = tmp_path / "rows.csv"
    table.write_text("second,first\nbb,a\na,a\n")
    code, out, _ = predict(bundle, table, capsys=capsys)
    assert (code, [row["label"] for row in rows_of(out)]) == (0, ["b", "a"])
    code, _, err = predict(bundle, "--text", "a", capsys=capsys)
    assert code == 2
    assert "pairs of texts. Put them into a CSV file with the columns first; second" in err
    table.write_text("first\na\n")
    code, out, err = predict(bundle, table, capsys=capsys)
    assert code == 3
    assert "lacks the column second" in err


@pytest.mark.parametrize(
    "settings",
    [
        {"tokenizer": "other.json"},
        {"columns": []},
        {"columns": ["text"]},
        {"padding": -1},
        {"padding": "0"},
        {"shape": [2, 3]},
    ],
)
def test_damaged_settings_are_refused(tmp_path, settings):
    with pytest.raises(BundleError, match="no valid settings"):
        Bundle(write_bundle(tmp_path / "bundle", **settings))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[", "is damaged"),
        (b"[1]", r"is no tokenizer\.json"),
        (b'{"model": {"vocab": {"a": 99999999}}}', "more than 1,048,576 tokens"),
        (b'{"model": {"type": "BPE", "vocab": {}}}', "cannot encode a text"),
        (
            json.dumps(
                {
                    "normalizer": {
                        "type": "Sequence",
                        "normalizers": [
                            {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 99}
                        ]
                        * 2,
                    }
                }
            ).encode(),
            "may make a text 9,801 times as long",
        ),
    ],
)
def test_a_tokenizer_that_is_damaged_or_may_hang_is_refused(tmp_path, content, message):
    pytest.importorskip("tokenizers")
    folder = write_bundle(tmp_path / "bundle", tokenizer="tokenizer.json")
    (folder / TOKENIZER).write_bytes(content)
    bundle = Bundle(write_sums(folder))
    with pytest.raises(BundleError, match=message):
        bundle.text_encoder()


def test_a_missing_library_is_one_message(tmp_path, monkeypatch, capsys):
    folder = write_bundle(tmp_path / "bundle", tokenizer="tokenizer.json")
    (folder / TOKENIZER).write_text("{}")
    write_sums(folder)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    code, _, err = predict(folder, "--text", "a", capsys=capsys)
    assert code == 6
    assert "pip install tokenizers" in err


def test_text_is_for_models_of_texts(tmp_path, capsys):
    from support.bundles import write_bundle as write_image_bundle

    bundle = write_image_bundle(tmp_path / "images")
    code, _, err = predict(bundle, "--text", "a", capsys=capsys)
    assert code == 2
    assert "--text is for a model of texts, but this one reads image files" in err


def test_files_that_are_no_texts_have_an_error(tmp_path, capsys):
    bundle = write_bundle(tmp_path / "bundle")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    code, out, _ = predict(bundle, tmp_path / "bad.txt", tmp_path / "none.txt", capsys=capsys)
    errors = [row["error"] for row in rows_of(out)]
    assert code == 3
    assert "no text in UTF-8" in errors[0]
    assert "missing" in errors[1]
