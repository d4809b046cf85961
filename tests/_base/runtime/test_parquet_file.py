"""Parquet files in bundles: predictions are those of the same rows in a CSV file."""

import csv
import io
import json
import sys

import pytest
from support.bundles import write_sums, write_table_bundle

from limbeck._base.runtime import parquet_file
from limbeck._base.runtime.file_names import PREPROCESS

pa = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow (limbeck[parquet])")
pq = pytest.importorskip("pyarrow.parquet")

COLUMNS = {
    "colour": pa.array(["red", None, "blue", "pink"]).dictionary_encode(),
    "customer": pa.array([7, 8, 9, 10]),
    "age": pa.array([1.5, None, float("nan"), 2.0]),
}
TABLE = "colour,customer,age\nred,7,1.5\n,8,\nblue,9,\npink,10,2\n"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = write_table_bundle(tmp_path_factory.mktemp("rows") / "bundle")
    content = json.loads((folder / PREPROCESS).read_text())
    (folder / PREPROCESS).write_text(json.dumps(content | {"id_column": "customer"}))
    return write_sums(folder)


def answers(text):
    rows = list(csv.DictReader(io.StringIO(text)))
    return [(row["id"], row["label"], row["confidence"], row["error"] != "") for row in rows]


def test_predictions_are_those_of_a_csv_file(bundle, tmp_path, run):
    pq.write_table(pa.table(COLUMNS), tmp_path / "rows", row_group_size=3)  # known by its content
    (tmp_path / "rows.csv").write_text(TABLE)
    code, out, _ = run("predict", bundle, tmp_path / "rows")
    assert (code, answers(out)) == (3, answers(run("predict", bundle, tmp_path / "rows.csv")[1]))
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["line"] for row in rows] == ["1", "2", "3", "4"]
    assert "line 4: colour: 'pink' is none of the categories" in rows[3]["error"]


def test_columns_that_lack_or_contain_something_else_are_named(bundle, tmp_path, run):
    pq.write_table(pa.table({"age": [1.0]}), tmp_path / "a.parquet")
    code, _, err = run("predict", bundle, tmp_path / "a.parquet")
    assert (code, "lacks the column colour. Its columns are age." in err) == (3, True)
    pq.write_table(pa.table({"age": [[1.0]], "colour": ["red"]}), tmp_path / "b.parquet")
    code, _, err = run("predict", bundle, tmp_path / "b.parquet")
    assert (code, "column age contains list<" in err) == (3, True)


def test_damaged_and_large_files_are_a_message(bundle, tmp_path, run, monkeypatch):
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table(COLUMNS), file)
    content = file.read_bytes()
    for position in range(0, len(content), 40):
        changed = bytearray(content)
        changed[position] ^= 255
        file.write_bytes(changed)
        code, _, err = run("predict", bundle, file)
        assert code in (0, 3), err  # some bytes mean nothing
    file.write_bytes(content[:-20])
    code, _, err = run("predict", bundle, file)
    assert (code, "is damaged, or of another kind" in err) == (3, True)
    file.write_bytes(content)
    monkeypatch.setattr(parquet_file, "MAX_ROWS", 3)
    code, _, err = run("predict", bundle, file)
    assert (code, "in 4 rows; at most" in err) == (3, True)


def test_pyarrow_is_named_where_it_is_missing(bundle, tmp_path, run, monkeypatch):
    pq.write_table(pa.table(COLUMNS), tmp_path / "rows.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    code, _, err = run("predict", bundle, tmp_path / "rows.parquet")
    assert (code, "pip install pyarrow" in err) == (6, True)
