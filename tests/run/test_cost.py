import copy
import json

import pytest
from support.costs import COST

from limbeck._base.errors import UntrustedFileError
from limbeck.run.cost import read_cost, write_cost
from limbeck.run.folder import RunFolder
from limbeck.run.records import to_json


def test_what_is_written_is_read(tmp_path):
    folder = RunFolder(tmp_path)
    write_cost(folder, COST)
    assert read_cost(folder) == COST


def test_the_file_has_these_keys():
    content = to_json(COST)
    assert list(content) == ["schema", "rows", "hardware", "versions", "batch"]
    assert list(content["rows"][0]) == [
        *("model", "kind", "params", "runtime", "precision", "bytes", "macs", "memory"),
        *("errors", "threads"),
    ]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema"], 2, "schema should be 1, found 2"),
        (["rows"], [], "rows is empty"),
        (["rows", 0, "bytes"], None, r"rows\[0\].bytes should be an integer, found None"),
        (["rows", 0, "runtime"], "jax", r"rows\[0\].runtime should be one of"),
        (["rows", 0, "precision"], "int8", r"rows\[0\]: torch int8 is not a runtime"),
        (["rows", 1, "threads"], {}, r"rows\[1\].threads should have numbers of cores"),
        (["rows", 1, "macs"], -1, r"rows\[1\] has a number that is negative"),
        (["rows", 1, "macs"], float("nan"), "the number NaN is not finite"),
        (["rows", 1, "threads", "1", "latency_ms", "runs"], None, r".*runs should be an integer"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, path, value, message):
    content = copy.deepcopy(to_json(COST))
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
