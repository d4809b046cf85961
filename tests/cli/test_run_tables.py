"""``limbeck run data=table``: from a CSV file to a verdict, and messages about the file."""

import json

import pytest
from support.commands import call
from support.tables import write_table

from limbeck.data import table
from limbeck.models import TableModel, load_model

SMALL = (
    "student.hidden=[6]",
    "seeds=1",
    "splits=1",
    "epochs=2",
    "batch_size=20",
    "logger=csv",
    "out=run",
)


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    monkeypatch.setattr("limbeck.study.study.write_report", lambda folder, final: None)


def test_a_table_is_a_study_with_a_boosted_teacher(tmp_path):
    file = write_table(tmp_path / "customers.csv")
    words = (
        "data=table",
        f"data.path={file}",
        "data.label=buys",
        "teacher.estimator.max_iter=5",
        "teacher.folds=null",
    )
    code, _, err = call("run", *words, *SMALL, cwd=tmp_path)
    assert code == 0, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["data"]["name"] == "customers"
    assert summary["teacher"]["name"].startswith("HistGradientBoosting")
    assert [arm["name"] for arm in summary["arms"]] == ["hard", "soft"]
    student = load_model(tmp_path / "run" / "students" / "soft" / "seed0").model
    data = table(file, label="buys")
    assert isinstance(student, TableModel)
    assert bool(student(data.open_test().inputs).isfinite().all())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["data.label=bys"], 3, r"customers.csv: column bys is missing; .* Did you mean buys?"),
        (["data.label=buys", "views=shift"], 2, "customers is a table dataset"),
    ],
)
def test_a_mistake_is_one_message(tmp_path, words, code, message):
    file = write_table(tmp_path / "customers.csv", 60)
    result = call("run", "data=table", f"data.path={file}", *words, *SMALL, cwd=tmp_path)
    assert result[0] == code
    text = " ".join(result[2].split())
    for part in message.split(" .* "):
        assert part in text
    assert "Traceback" not in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("has_val", [True, False])
def test_a_given_validation_split_is_kept_in_spite_of_the_recipe(tmp_path, has_val):
    header, *rows = write_table(tmp_path / "a.csv").read_text().splitlines()
    parts = ("train", "train", "val" if has_val else "train", "test")
    rows = [f"{row},{parts[number % 4]}" for number, row in enumerate(rows)]
    file = tmp_path / "customers.csv"
    file.write_text("\n".join([f"{header},part", *rows]))
    words = ["data=table", f"data.path={file}", "data.label=buys", "data.split=part"]
    words += ["teacher.estimator.max_iter=5", "teacher.folds=null", "seeds=5", "epochs=1"]
    small = [word for word in SMALL if not word.startswith(("seeds", "epochs", "splits"))]
    code, _, err = call("run", *words, *small, cwd=tmp_path)
    assert code == 0, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary.get("splits") == (None if has_val else 5)
    assert ("a validation split of its own, which is kept: splits=1." in err) == has_val
    assert f"splits: {1 if has_val else 5}" in (tmp_path / "run" / "config.yaml").read_text()
    if has_val:
        code, _, err = call("run", *words, *small[:-1], "splits=5", "out=b", cwd=tmp_path)
        assert (code, "would mix the training and validation samples" in err) == (2, True)
