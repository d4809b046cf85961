"""Rows of tables in bundles: predictions repeat the names of the samples."""

import csv
import io
import json

import pytest
from support.bundles import write_sums, write_table_bundle

from limbeck._base.runtime.bundle import Bundle
from limbeck._base.runtime.errors import BundleError
from limbeck._base.runtime.file_names import PREPROCESS

TABLE = "customer,age,colour\n=7,1.5,red\nB 2,x,blue\n,2,\n"


def set_id_column(folder, value):
    content = json.loads((folder / PREPROCESS).read_text())
    (folder / PREPROCESS).write_text(json.dumps(content | {"id_column": value}))
    return write_sums(folder)


@pytest.fixture
def bundle(tmp_path):
    return set_id_column(write_table_bundle(tmp_path / "bundle"), "customer")


def test_predictions_repeat_the_names_of_the_rows(bundle, tmp_path, run):
    (tmp_path / "rows.csv").write_text(TABLE)
    code, out, _ = run("predict", bundle, tmp_path / "rows.csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 3
    assert list(rows[0]) == ["file", "line", "id", "label", "confidence", "error"]
    assert [row["id"] for row in rows] == ["'=7", "B 2", ""]
    assert "age: 'x' is not a number" in rows[1]["error"]
    assert [row["label"] != "" for row in rows] == [True, False, True]
    _, out, _ = run("predict", bundle, tmp_path / "rows.csv", "--format", "jsonl")
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["=7", "B 2", None]


@pytest.mark.parametrize(
    "table", ["age,colour\n1,red\n", "customer,customer,age,colour\na,b,1,red\n"]
)
def test_a_table_may_lack_the_names_or_have_two(bundle, tmp_path, run, table):
    (tmp_path / "rows.csv").write_text(table)
    (tmp_path / "named.csv").write_text("colour,customer,age\nred,Ann,1\n")
    code, out, _ = run("predict", bundle, tmp_path / "rows.csv", tmp_path / "named.csv")
    first, second = csv.DictReader(io.StringIO(out))
    assert code == 0
    assert (first["id"], second["id"]) == ("", "Ann")
    assert (first["label"], first["confidence"]) == (second["label"], second["confidence"])


@pytest.mark.parametrize("value", [3, None, ["customer"]])
def test_a_name_that_is_no_text_is_refused(bundle, value):
    with pytest.raises(BundleError, match="no valid settings"):
        Bundle(set_id_column(bundle, value))
