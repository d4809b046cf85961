"""The table and the figure of ``cost.json``; its measurement is tested in ``tests/deploy``."""

import copy
import json

import pytest
from support.summaries import make_arm, make_summary, make_text_summary

from limbeck._base.errors import UntrustedFileError
from limbeck.report.cost import heading, note, parse_cost, read_cost, rows
from limbeck.report.figures.cost import results_by_cost
from limbeck.run.folder import RunFolder


def timing(median):
    latency = {"median": median, "quartiles": [0.9 * median, 1.2 * median], "runs": 419}
    return {"latency_ms": latency, "per_second": 46728.8}


def row(model, runtime, precision, **fields):
    return {
        "model": model,
        "runtime": runtime,
        "precision": precision,
        "params": 2410,
        "bytes": 70544,
        "macs": 454464,
        "memory": 606126080,
        "errors": 7,
        "threads": {"1": timing(0.156), "2": timing(1.7)},
        **fields,
    }


CONTENT = {
    "schema": 1,
    "rows": [
        row("teacher", "torch", "fp32"),
        row("soft", "onnx", "int8", errors=22, threads={"1": timing(0.0086)}),
    ],
    "hardware": {"cpu": "Some CPU"},
    "versions": {"torch": "2.14.1"},
    "batch": 64,
}


def test_the_table_has_columns_for_each_number_of_cores():
    cost = parse_cost(CONTENT)
    assert heading(cost)[6:] == [
        "Latency, 1 core",
        "Per second, 1 core",
        "Latency, 2 cores",
        "Per second, 2 cores",
    ]
    assert rows(cost) == [
        [
            *("teacher", "PyTorch", "7", "71 kB", "454 k", "606 MB"),
            *("0.16 ms\n0.14 to 0.19", "46,729", "1.7 ms\n1.5 to 2", "46,729"),
        ],
        [
            *("soft", "ONNX int8", "22", "71 kB", "454 k", "606 MB"),
            *("0.0086 ms\n0.0077 to 0.01", "46,729", "–", "–"),
        ],
    ]


def test_the_note_says_how_it_was_measured():
    text = note(parse_cost(CONTENT))
    for words in ("at least 419 runs", "batches of 64", "on Some CPU with torch 2.14.1"):
        assert words in text


def test_the_figure_needs_results_in_the_measure_of_the_study():
    cost = parse_cost(CONTENT)
    figure = results_by_cost(cost, make_summary([make_arm("soft", [22])]))
    assert figure.title == "Errors against size and latency"
    for name in ("teacher", "soft", "PyTorch", "ONNX int8", "latency on one core"):
        assert f">{name}</text>" in figure.svg
    assert results_by_cost(cost, make_text_summary()) is None


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema"], 2, "schema should be 1, found 2"),
        (["rows"], [], "rows is empty"),
        (["rows", 0, "bytes"], None, r"rows\[0\].bytes should be an integer, found None"),
        (["rows", 0, "runtime"], "jax", r"rows\[0\].runtime should be one of"),
        (["rows", 0, "precision"], "int8", r"rows\[0\]: torch int8 is not a known runtime"),
        (["rows", 1, "threads"], {}, r"rows\[1\].threads should have numbers of cores"),
        (["rows", 1, "macs"], -1, r"rows\[1\] has a number that is negative"),
        (["rows", 1, "threads", "1", "latency_ms", "runs"], None, r".*runs should be an integer"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, path, value, message):
    content = copy.deepcopy(CONTENT)
    parent = content
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    (tmp_path / "cost.json").write_text(json.dumps(content))
    with pytest.raises(UntrustedFileError, match=rf"cost\.json is damaged: {message}") as error:
        read_cost(RunFolder(tmp_path))
    assert str(error.value).endswith("Measure again with 'limbeck cost'.")


def test_a_run_without_measurements_has_no_cost(tmp_path):
    assert read_cost(RunFolder(tmp_path)) is None
