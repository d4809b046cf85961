"""``limbeck run data=text_csv``: from a CSV file to a verdict, and messages about the file."""

import json
import re

import pytest
from support.commands import call
from support.reviews import make_reviews, write_csv

from limbeck.data import text_csv
from limbeck.models import BagOfEmbeddings, load_model

SMALL = (
    "data=text_csv",
    "data.text=review",
    "data.tokenizer=bytes",
    "data.length=96",
    "data.cache=cache",
    "student.width=8",
    "teacher=bag",
    "teacher.model.width=8",
    "teacher.model.hidden=[8]",
    "teacher.epochs=1",
    "epochs=1",
    "batch_size=20",
    "logger=csv",
    "out=run",
)
HEADER = ["review", "label", "author"]
ROWS = [(*row, f"author {number // 2}") for number, row in enumerate(make_reviews(120))]


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    monkeypatch.setattr("limbeck.study.study.write_report", lambda folder, final: None)


def test_texts_are_a_study_with_several_splits_of_groups(tmp_path):
    file = write_csv(tmp_path / "reviews.csv", ROWS, HEADER)
    words = (f"data.path={file}", "data.group=author", "seeds=2", "splits=2")
    code, _, err = call("run", *words, *SMALL, cwd=tmp_path)
    assert code == 0, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["recipe"] == "text_class"
    assert (summary["data"]["name"], summary["measure"]) == ("reviews.csv", "errors")
    assert summary["classes"] == ["bad", "good"]
    assert [arm["name"] for arm in summary["arms"]] == ["hard", "soft"]
    student = load_model(tmp_path / "run" / "students" / "soft" / "seed0").model
    data = text_csv(
        file, text="review", tokenizer="bytes", length=96, group="author", cache=tmp_path / "cache"
    )
    assert isinstance(student, BagOfEmbeddings)
    assert bool(student(data.open_test().inputs).isfinite().all())


MISTAKES = [
    (["data.text=reviw"], 3, r"column reviw is missing; .* Did you mean review\?"),
    (["student=mlp"], 2, "cannot read inputs .* Texts need a student for token ids, such as bag"),
]
MORE_MISTAKES = [
    (["data.path=none.csv"], 3, r"none\.csv is missing"),
    (["views=shift"], 2, "views: shift.* need images"),
    (["student=gpt"], 2, "arms.hard.student: gpt.* outputs .* Texts need a student"),
    (["student=convnet"], 2, r"ConvNet needs images"),
    (["bias=kappa"], 2, "not graded"),
]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [*MISTAKES, *(pytest.param(*mistake, marks=pytest.mark.slow) for mistake in MORE_MISTAKES)],
)
def test_a_mistake_is_one_message(tmp_path, words, code, message):
    file = write_csv(tmp_path / "reviews.csv", ROWS, HEADER)
    settings = [word for word in SMALL if not word.startswith(("student.", "teacher"))]
    settings += [f"data.path={file}", "teacher=none", "~arms.soft"]
    result = call("run", *settings, *words, cwd=tmp_path)
    text = " ".join(result[2].split())
    assert (result[0], bool(re.search(message, text))) == (code, True), text
    assert "Traceback" not in text
