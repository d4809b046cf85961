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
