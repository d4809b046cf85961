"""Costs of models of embeddings: their files are those of bundles, their results those of a run."""

from functools import partial

import numpy as np
import pytest
from support.commands import run as command
from support.costs import timing
from support.sentence_encoders import write_encoder, write_texts
from support.studies import make_study
from torch import nn

from limbeck import Arm, Objective, Optimizer
from limbeck._base.errors import TeacherError
from limbeck.cli.main import main
from limbeck.data import sentences
from limbeck.deploy import cost as cost_module
from limbeck.deploy.export import ExportOptions, export
from limbeck.deploy.run_cost import cost
from limbeck.deploy.untrained_cost import untrained_cost
from limbeck.models import BagOfEmbeddings, SentenceEncoder
from limbeck.run.cost import read_cost
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary

WIDTH, DIMENSIONS, INTERMEDIATE = 8, 16, 24
KINDS = [("torch", "fp32"), ("onnx", "fp32"), ("onnx", "int8")]
SOFT = Objective(hard_weight=0.0, soft_weight=1.0)


pytestmark = pytest.mark.slow  # fine-tunes and exports an encoder


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
        "encoder": Arm(objective=SOFT, student=partial(SentenceEncoder, init="teacher", layers=1)),
    }
    study = make_study(
        data,
        students,
        folder,
        student=partial(BagOfEmbeddings, width=WIDTH, init="token_vectors"),
        teacher=encoder,
        seeds=2,
        epochs=1,
        optimizer=Optimizer(lr=0.01),
        store="off",
    )
    study.run()
    return folder


def rows_without_times(models, inputs, advance):
    """The rows of models, without the processes that measure them."""
    candidates = cost_module._candidates(models)
    return tuple(cost_module._row(one, None, {"1": timing(0.1)}) for one in candidates)


@pytest.fixture
def no_timing(monkeypatch):
    monkeypatch.setattr("limbeck.deploy.cost_models.measure", rows_without_times)


@pytest.fixture(scope="module")
def result(run, data):
    """Costs of the run, without times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.deploy.cost_models.measure", rows_without_times)
        return cost(run, data, progress=False)


def missed(vectors, teacher):
    """Mean number of the 10 nearest rows of the teacher that are not among those of a student."""
    nearest = []
    for one in (vectors, teacher):
        units = one / np.linalg.norm(one, axis=1, keepdims=True)
        similarity = units @ units.T
        np.fill_diagonal(similarity, -2)
        nearest.append(np.argsort(-similarity, axis=1)[:, :10])
    counts = [len(set(own) ^ set(expected)) / 2 for own, expected in zip(*nearest, strict=True)]
    return float(np.mean(counts))


def test_the_result_of_each_model_is_that_of_the_run(run, result):
    assert result == read_cost(RunFolder(run))
    rows = {(row.model, row.runtime, row.precision): row for row in result.rows}
    assert list(rows) == [
        (name, *kind) for name in ("teacher", "soft", "encoder") for kind in KINDS
    ]
    summary = read_summary(RunFolder(run))
    with np.load(run / "predictions.npz") as arrays:
        teacher = arrays["teacher"]
        for name in ("soft", "encoder"):
            best = min(summary.arm(name).seeds, key=lambda seed: seed.val.missed_neighbours)
            expected = missed(arrays[f"students/{name}/seed{best.seed}"], teacher)
            assert expected > 0
            assert rows[name, "onnx", "fp32"].missed_neighbours == pytest.approx(expected)
            assert rows[name, "torch", "fp32"].missed_neighbours == pytest.approx(expected)
    assert rows["teacher", "onnx", "fp32"].missed_neighbours == 0
    assert {row.errors for row in result.rows} == {None}
    html = (run / "report.html").read_text(encoding="utf-8")
    assert 'data-figure="cost"' in html
    assert "ONNX int8" in html
    assert "the fewest missed neighbours on validation" in html


def test_the_multiply_adds_are_those_of_the_weights_and_the_longest_of_the_first_texts(
    data, result
):
    rows = {row.model: row for row in result.rows}
    assert rows["soft"].macs == WIDTH * DIMENSIONS
    length = int((data.train.inputs[:64] != data.padding).sum(1).max())
    projections = 4 * DIMENSIONS**2 + 2 * DIMENSIONS * INTERMEDIATE
    layer = length * projections + 2 * length**2 * DIMENSIONS
    head = DIMENSIONS**2  # of BERT's own pooling, which transformers computes, too
    assert rows["encoder"].macs == layer + head
    assert rows["teacher"].macs == 2 * layer + head


@pytest.mark.parametrize("arm", ["soft", "encoder"])
def test_the_files_are_those_of_a_bundle(run, data, tmp_path, result, arm):
    summary = read_summary(RunFolder(run))
    best = min(summary.arm(arm).seeds, key=lambda seed: seed.val.missed_neighbours)
    options = ExportOptions(to=tmp_path / "bundle", arm=arm, seed=best.seed, int8=True)
    bundle = export(run, data, options, progress=False).folder
    sizes = {
        row.precision: row.bytes for row in result.rows if (row.model, row.runtime) == (arm, "onnx")
    }
    assert sizes == {
        "fp32": (bundle / "model.onnx").stat().st_size,
        "int8": (bundle / "model.int8.onnx").stat().st_size,
    }


def test_untrained_students_have_their_own_number_of_dimensions(data, no_timing):
    sizes = {"vocabulary": data.tokenizer.padded_size, "padding": data.padding, "width": 4}
    students = {f"bag {n}": BagOfEmbeddings(data.shape, n, **sizes) for n in (3, 5)}
    result = untrained_cost(students, data, progress=False)
    assert [(row.model, row.macs) for row in result.rows[::3]] == [("bag 3", 12), ("bag 5", 20)]
    assert {row.missed_neighbours for row in result.rows} == {None}
    with pytest.raises(TeacherError, match=r"one: .* expected logits of shape"):
        untrained_cost({"one": nn.Embedding(sizes["vocabulary"], 3)}, data, progress=False)


# The command line ---------------------------------------------------------------------------------


@pytest.mark.parametrize("student", ["bag", "sentence_encoder"])
def test_the_command_measures_a_run_of_embeddings(encoder, tmp_path, student):
    write_texts(tmp_path / "texts.csv")
    texts = ["data=sentences", "data.path=texts.csv", f"teacher.from={encoder}", "data.length=16"]
    arms = ["student.width=8"]
    if student == "sentence_encoder":
        arms = ["student=sentence_encoder", "~arms.pca", "arms.soft.control=hard"]
    code, _, err = command("run", *texts, *arms, "seeds=1", "epochs=1", "out=run", cwd=tmp_path)
    assert code == 0, err
    code, out, err = command("cost", "run", cwd=tmp_path)
    assert code == 0, err
    lines = out.splitlines()
    assert "Missed neighbours" in lines[0]
    assert [line.split()[0] for line in lines[1:7]] == ["teacher"] * 3 + ["soft"] * 3
    result = read_cost(RunFolder(tmp_path / "run"))
    for row in result.rows:
        assert row.threads["1"].per_second > 0
        assert row.one_core.median > 0
        assert row.memory > 10 << 20
    assert 'id="cost"' in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_untrained_students_are_measured_on_the_command_line(
    encoder, tmp_path, no_timing, capsys, monkeypatch
):
    write_texts(tmp_path / "texts.csv")
    monkeypatch.chdir(tmp_path)
    texts = ["data=sentences", "data.path=texts.csv", "data.length=16"]
    arms = ["student.width=4", "student.init=null", "~arms.pca", "arms.soft.control=hard"]
    assert main(["cost", *texts, f"teacher.from={encoder}", *arms]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split()[:2] == ["bag-4", "PyTorch"]
    assert str(4 * DIMENSIONS) in line.split()
    assert main(["cost", *texts, *arms]) == 4
    assert "the study has no teacher. Set teacher.from" in capsys.readouterr().err


OWN_CLASS = """
from torch import nn


class Mean(nn.Module):
    def __init__(self, shape, classes, vocabulary, width, **settings):
        super().__init__()
        self.vectors = nn.Embedding(vocabulary, classes)

    def forward(self, ids):
        return self.vectors(ids).mean(1)
"""


def test_a_student_of_a_class_of_its_own_is_built_with_the_teachers_dimensions(encoder, tmp_path):
    write_texts(tmp_path / "texts.csv")
    (tmp_path / "own.py").write_text(OWN_CLASS)
    texts = ["data=sentences", "data.path=texts.csv", f"teacher.from={encoder}", "data.length=16"]
    arms = ["student._target_=own.Mean", "student.init=null"]
    arms += ["~arms.pca", "arms.soft.control=hard"]
    code, _, err = command("run", *texts, *arms, "seeds=1", "epochs=1", "out=run", cwd=tmp_path)
    assert code == 0, err
    for verb in ("export", "cost"):
        code, _, err = command(verb, "run", "--trust", cwd=tmp_path)
        assert code == 0, err
