"""The speed of a bundle's models is measured on this device."""

import json
import time

import pytest

from limbeck._base.runtime import bench as module
from limbeck._base.runtime.bench import bench, describe
from limbeck._base.runtime.errors import RuntimeFailure
from limbeck._base.runtime.model import Model
from limbeck._base.runtime.timing import FEW_CALLS, MIN_CALLS


def test_seconds_are_those_of_the_model(shared_bundle, monkeypatch):
    plain = Model.logits

    def slow(self, inputs):
        time.sleep(0.02 if len(inputs) == 1 else 0.05)
        return plain(self, inputs)

    monkeypatch.setattr(Model, "logits", slow)
    result = bench(shared_bundle, threads=[1], seconds=0.01)
    assert [one["model"] for one in result["measurements"]] == ["fp32", "int8"]
    for one in result["measurements"]:
        assert 0.02 <= one["latency"]["low"] <= one["latency"]["median"] <= one["latency"]["high"]
        assert FEW_CALLS <= one["latency"]["calls"] <= MIN_CALLS
        assert one["throughput"] <= one["batch"] / 0.05


def test_numbers_are_a_table_and_a_file(run, shared_bundle, tmp_path):
    file = tmp_path / "device.json"
    words = ["--threads", "1", "--threads", "2", "--seconds", "0.01", "--out", file]
    code, out, err = run("bench", shared_bundle, *words)
    assert (code, err) == (0, "")
    result = json.loads(file.read_text(encoding="utf-8"))
    assert out.splitlines() == describe(result)
    assert [one["threads"] for one in result["measurements"]] == [1, 1, 2, 2]
    assert result["device"]["cores"] >= 1
    sizes = {one["model"]: one["bytes"] for one in result["measurements"]}
    assert sizes["fp32"] == (shared_bundle / "model.onnx").stat().st_size


def test_one_thread_and_all_cores_are_measured(shared_bundle, monkeypatch):
    monkeypatch.setattr(module, "count_cores", lambda: 3)
    result = bench(shared_bundle, seconds=0.001)
    assert sorted({one["threads"] for one in result["measurements"]}) == [1, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": [0]}, "--threads should be from 1 to 1024"),
        ({"threads": [-1, 2]}, "--threads"),
        ({"seconds": 0}, "--seconds should be above 0"),
        ({"seconds": float("nan")}, "--seconds"),
    ],
)
def test_bad_numbers_are_one_message(shared_bundle, options, message):
    with pytest.raises(RuntimeFailure, match=message):
        bench(shared_bundle, **options)


def test_bad_arguments_are_one_message(run, shared_bundle, tmp_path):
    assert run("bench", tmp_path / "none")[0] == 7
    code, _, err = run("bench", shared_bundle, "--out", tmp_path / "no" / "a.json")
    assert (code, "does not exist" in err) == (2, True)
    code, _, err = run("bench", shared_bundle, "--threads", "0", "--out", tmp_path / "a.json")
    assert (code, list(tmp_path.iterdir())) == (2, [])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.0, "2 s"),
        (0.0123, "12.3 ms"),
        (8.24e-6, "8.24 µs"),
        (0.9997e-3, "1 ms"),
        (1e-9, "0.001 µs"),
    ],
)
def test_durations_have_units(seconds, text):
    assert module._duration(seconds) == text
