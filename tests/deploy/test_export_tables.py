"""Students of tables in bundles: rows of CSV files in, classes out."""

import csv
import io
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from support.bundles import write_sums
from support.deploy_runs import export, study
from support.tables import COLUMNS, table_dataset

from limbeck._base.errors import TeacherError
from limbeck._base.runtime.bundle import Bundle
from limbeck._base.runtime.command_line import main
from limbeck._base.runtime.errors import BundleError
from limbeck._base.runtime.file_names import CARD, PREPROCESS
from limbeck._base.runtime.predict import predict
from limbeck._base.runtime.verify import verify
from limbeck.data import TableColumns
from limbeck.models import MLP, load_model
from limbeck.run.folder import RunFolder
from limbeck.teacher.checks import check_columns
from limbeck.teacher.files import load_other


@pytest.fixture(scope="module")
def data():
    return table_dataset(train=120, val=40, test=60)


@pytest.fixture(scope="module")
def table_run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("table") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.study.study.write_report", lambda folder, final: None)
        study(data, out, partial(MLP, hidden=[6]), seeds=1)
    return out


@pytest.fixture(scope="module")
def bundle(data, table_run):
    return export(table_run, data, arm="soft", seed=0).folder


def csv_of(rows):
    """Rows as a spreadsheet of some countries saves them, with the columns in another order."""
    lines = ["income;note;colour;age"]
    for age, colour, income in rows.tolist():
        cells = [income, "x", "" if np.isnan(colour) else COLUMNS.categories[1][int(colour)], age]
        texts = ["NA" if cell != cell else str(cell).replace(".", ",") for cell in cells]
        lines.append(";".join(texts))
    return "\r\n".join(lines)


def test_a_bundle_predicts_what_the_student_does(data, table_run, bundle, tmp_path):
    test = data.open_test()
    (tmp_path / "rows.csv").write_text(csv_of(test.inputs), encoding="utf-16")
    out = io.StringIO()
    assert predict(bundle, [tmp_path / "rows.csv"], model="fp32", top=2, out=out) == 0
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    student = load_model(RunFolder(table_run).student("soft", 0)).model
    with torch.no_grad():
        logits = student(test.inputs)
    labels = [data.class_names[k] for k in logits.argmax(1)]
    assert [row["label"] for row in rows] == labels
    assert [row["line"] for row in rows] == [str(line) for line in range(2, 62)]
    temperature = Bundle(bundle).temperature
    expected = (logits / temperature).softmax(1).amax(1)
    confidences = torch.tensor([float(row["confidence"]) for row in rows])
    torch.testing.assert_close(confidences, expected, atol=1e-5, rtol=0)


def test_the_bundle_describes_its_columns(bundle):
    assert len(verify(bundle)) >= 2
    preprocess = json.loads((bundle / PREPROCESS).read_text())
    assert preprocess["kind"] == "table"
    assert preprocess["columns"][1] == {"name": "colour", "categories": ["red", "green", "blue"]}
    golden = Bundle(bundle).golden()["inputs"]
    assert np.isnan(golden).any(0).tolist() == [False, True, True], "where training rows lack some"
    assert set(golden[:, 1][~np.isnan(golden[:, 1])]) <= {0.0, 1.0, 2.0}
    card = (bundle / CARD).read_text()
    assert "| colour | red, green, blue |" in card
    assert "image" not in card


def test_the_bundle_teaches_tables_of_its_columns_alone(data, bundle, tmp_path):
    teacher = load_other(bundle)
    check_columns(teacher.description["columns"], COLUMNS, "bundle")
    other = TableColumns(("age", "colour", "rent"), COLUMNS.categories)
    with pytest.raises(TeacherError, match=r"column 2 of the teacher is income .* rent \(numbers"):
        check_columns(teacher.description["columns"], other, "bundle")


def run(bundle, *arguments, capsys):
    code = main(["predict", str(bundle), *map(str, arguments)])
    return code, *capsys.readouterr()


def test_a_row_with_an_unknown_value_has_an_error_and_the_others_an_answer(
    bundle, tmp_path, capsys
):
    file = tmp_path / "rows.csv"
    file.write_text("age,colour,income\n50,red,1\nold,red,2\n\n50,pink,3\n,,\n40,,\n")
    code, out, err = run(bundle, file, "--format", "jsonl", capsys=capsys)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["line"] for row in rows] == [2, 3, 5, 7]
    assert [row["label"] is None for row in rows] == [False, True, True, False]
    assert rows[1]["error"] == f"{file}, line 3: age: 'old' is not a number"
    assert "line 5: colour: 'pink' is none of the categories red; green; blue" in rows[2]["error"]
    assert code == 3
    assert err == "error: 2 of the inputs cannot be read. See the column error.\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("age,color,income\n1,red,2\n", "lacks the column colour. Its columns are age; color; inc"),
        ("age,colour,income,age\n1,red,2,3\n", "has several columns age"),
        ("age,colour,income\n1,red,2,3,4\n", "has 3 columns, but more values in line 2"),
        ("", "lacks the columns age; colour; income"),
        ("PK\x03\x04\xff", "an Excel workbook, not a CSV file"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_other_files_are_one_message_and_leave_nothing(bundle, content, message, tmp_path, capsys):
    file = tmp_path / "rows.csv"
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    code, out, err = run(bundle, file, "--out", tmp_path / "out.csv", capsys=capsys)
    assert (code, out) == (3, "")
    assert message in err
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    "columns",
    [
        None,
        [],
        ["age", "colour", "income"],
        [{"name": "age"}, {"name": "age"}, {"name": "income"}],
        [{"name": "age"}, {"name": "colour", "categories": []}, {"name": "income"}],
        [{"name": "age"}, {"name": "colour", "categories": [1]}, {"name": "income"}],
    ],
)
def test_damaged_columns_are_refused(bundle, columns, tmp_path):
    damaged = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    preprocess = json.loads((damaged / PREPROCESS).read_text())
    (damaged / PREPROCESS).write_text(json.dumps({**preprocess, "columns": columns}))
    with pytest.raises(BundleError, match="no valid settings"):
        Bundle(write_sums(damaged))
