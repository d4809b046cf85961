"""Students of embeddings as folders of sentence-transformers: read by it, with equal vectors."""

import csv
import io
import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from support.reviews import write_csv
from support.sentence_encoders import TEXTS, write_encoder, write_texts
from support.studies import make_study

from limbeck import Arm, Objective, Optimizer
from limbeck._base.errors import ConfigError
from limbeck.cli.main import main
from limbeck.data import sentences
from limbeck.deploy.export import ExportOptions, export
from limbeck.deploy.sentence_folder import export_sentence_folder
from limbeck.losses.vectors import unit
from limbeck.models import BagOfEmbeddings, SentenceEncoder, TextCNN, load_model

LONG = " ".join(TEXTS[:6])
SOFT = Objective(hard_weight=0.0, soft_weight=1.0)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("teacher") / "encoder")


@pytest.fixture(scope="module")
def data(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    return sentences(
        write_texts(folder / "texts.csv"), tokenizer=encoder, length=16, cache=folder / "cache"
    )


@pytest.fixture(scope="module")
def run(data, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    students = {
        "soft": Arm(objective=SOFT),
        "deep": Arm(objective=SOFT, student=partial(BagOfEmbeddings, width=8, hidden=[4])),
        "cnn": Arm(objective=SOFT, student=partial(TextCNN, width=8, channels=4)),
        "encoder": Arm(objective=SOFT, student=partial(SentenceEncoder, init="teacher", layers=1)),
    }
    study = make_study(
        data,
        students,
        folder,
        student=partial(BagOfEmbeddings, width=8, init="token_vectors"),
        teacher=encoder,
        seeds=1,
        epochs=2,
        optimizer=Optimizer(lr=0.01),
        store="off",
    )
    study.run()
    return folder


@torch.no_grad()
def vectors_of(run, data, texts, arm="soft"):
    """Vectors of length 1 of the student itself."""
    rows, _ = data.tokenizer.encode_texts([(text,) for text in texts], data.shape[0])
    student = load_model(run / "students" / arm / "seed0").model
    return unit(student(torch.from_numpy(rows))).numpy()


def test_the_folder_gives_the_students_vectors_with_the_package_tokenizers_alone(
    run, data, tmp_path
):
    from tokenizers import Tokenizer

    folder = export_sentence_folder(run, data, to=tmp_path / "out", arm="soft").folder
    table = load_file(folder / "model.safetensors")["embedding.weight"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    texts = [*TEXTS[:20], LONG]
    ids = [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)]
    vectors = np.stack([table[row].mean(0) for row in ids])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, vectors_of(run, data, texts), atol=1e-5)


@pytest.mark.parametrize("arm", ["soft", "encoder"])
def test_sentence_transformers_reads_the_folder_with_equal_vectors(run, data, tmp_path, arm):
    library = pytest.importorskip("sentence_transformers", reason="it is no dependency of limbeck")
    folder = export_sentence_folder(run, data, to=tmp_path / "out", arm=arm).folder
    texts = [*TEXTS[:20], LONG]
    vectors = library.SentenceTransformer(str(folder), device="cpu").encode(texts)
    np.testing.assert_allclose(vectors, vectors_of(run, data, texts, arm), atol=1e-5)


@torch.no_grad()
def test_the_folder_of_an_encoder_is_one_that_transformers_and_limbeck_read(run, data, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    folder = export_sentence_folder(run, data, to=tmp_path / "out", arm="encoder").folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [*TEXTS[:20], LONG]
    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    features = AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    vectors = unit((features * mask).sum(1) / mask.sum(1)).numpy()
    np.testing.assert_allclose(vectors, vectors_of(run, data, texts, "encoder"), atol=1e-5)
    assert (
        "A transformer (bert-1x16) that gives vectors of 16" in (folder / "README.md").read_text()
    )
    again = SentenceEncoder(data.shape, vocabulary=data.tokenizer.padded_size, path=folder)
    assert (again.pooling, again.normalize, again.name) == ("mean", True, "bert-1x16")


def test_sentence_transformers_gives_the_vectors_of_the_teacher(encoder, data):
    library = pytest.importorskip("sentence_transformers", reason="it is no dependency of limbeck")
    from limbeck.models.huggingface.sentence_encoder import load_sentence_encoder
    from limbeck.study.texts import frame_of, texts_of

    model = load_sentence_encoder(encoder, texts_of(data), frame_of(data))
    rows, _ = data.tokenizer.encode_texts([(text,) for text in TEXTS[:10]], 16)
    with torch.no_grad():
        vectors = model(torch.from_numpy(rows)).numpy()
    expected = library.SentenceTransformer(str(encoder), device="cpu").encode(TEXTS[:10])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.parametrize("arm", ["deep", "cnn"])
def test_students_that_the_format_cannot_express_are_refused(run, data, tmp_path, arm):
    with pytest.raises(ConfigError, match="a bag of embeddings without hidden layers"):
        export_sentence_folder(run, data, to=tmp_path / "out", arm=arm)
    assert not (tmp_path / "out").exists()


def test_an_earlier_folder_is_replaced_only_if_asked(run, data, tmp_path):
    to = tmp_path / "out"
    export_sentence_folder(run, data, to=to, arm="soft")
    with pytest.raises(ConfigError, match="already exists"):
        export_sentence_folder(run, data, to=to, arm="soft")
    export_sentence_folder(run, data, to=to, arm="soft", overwrite=True)
    names = [
        entry["type"].rpartition(".")[2] for entry in json.loads((to / "modules.json").read_text())
    ]
    assert names == ["StaticEmbedding", "Normalize"]
    assert "A vector of 16 dimensions for each of" in (to / "README.md").read_text()


def test_the_command_line_exports_such_a_folder_of_a_run(encoder, tmp_path, capsys, monkeypatch):
    shutil.copytree(encoder, tmp_path / "encoder")
    write_texts(tmp_path / "texts.csv")
    monkeypatch.chdir(tmp_path)
    settings = ["data=sentences", "data.path=texts.csv", "teacher.from=encoder", "student.width=8"]
    small = ["seeds=1", "epochs=1", "out=run", "data.length=16"]
    assert main(["run", *settings, *small]) == 0
    assert main(["export", "run", "format=sentence_transformers"]) == 0
    assert "SentenceTransformer(" in capsys.readouterr().out
    assert (tmp_path / "run" / "sentence_transformers" / "modules.json").is_file()
    assert main(["export", "run", "format=onnx"]) == 2
    assert "format='onnx' is unknown" in capsys.readouterr().err


def test_a_bundle_gives_the_vectors_and_predicts_them_for_texts_and_tables(
    run, data, tmp_path, capsys
):
    bundle = export(run, data, ExportOptions(to=tmp_path / "bundle", arm="soft")).folder
    texts = [*TEXTS[:5], LONG]
    expected = vectors_of(run, data, texts)
    write_csv(tmp_path / "rows.csv", [(text, "") for text in texts])
    main(["verify", str(bundle)])
    capsys.readouterr()
    assert main(["predict", str(bundle), str(tmp_path / "rows.csv")]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    vectors = np.array([[float(row[str(n)]) for n in range(16)] for row in rows])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert main(["predict", str(bundle), "--text", texts[0], "--format", "jsonl"]) == 0
    values = json.loads(capsys.readouterr().out)["values"]
    np.testing.assert_allclose(list(values.values()), expected[0], atol=1e-5)
    array = tmp_path / "vectors.npy"
    command = ["predict", str(bundle), str(tmp_path / "rows.csv"), "--format", "npy"]
    assert main([*command, "--out", str(array)]) == 0
    np.testing.assert_allclose(np.load(array), expected, atol=1e-5)
    card = (bundle / "model_card.md").read_text()
    assert "A model of embeddings: a vector of 16 dimensions" in card
