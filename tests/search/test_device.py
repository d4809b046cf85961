"""Latency of another device, from a bundle that was measured there and here."""

import json
from functools import partial

import pytest
from support.bundles import write_bundle, write_sums

import limbeck.search.device as device_module
from limbeck._base.errors import ConfigError, DataError
from limbeck._base.runtime.bench import bench
from limbeck.search.budget import Budget
from limbeck.search.device import describe_device, device_of


@pytest.fixture(autouse=True)
def short_measurement(monkeypatch):
    monkeypatch.setattr(device_module, "bench", partial(bench, seconds=0.05))


@pytest.fixture
def bundle(tmp_path):
    write_bundle(tmp_path / "bundle")
    write_sums(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def profile(bundle):
    """What a device that is 20 times slower has measured."""
    content = bench(bundle, threads=[1], seconds=0.05)
    content["device"]["processor"] = "Cortex-A53"
    for one in content["measurements"]:
        one["latency"]["median"] *= 20
    return content


def budget(tmp_path, content, bundle, **settings):
    file = tmp_path / "device.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return Budget(latency="2ms", profile=file, bundle=bundle, **settings)


def test_the_factor_is_the_ratio_of_both_latencies(tmp_path, profile, bundle):
    device = device_of(budget(tmp_path, profile, bundle))
    assert device.name == "Cortex-A53"
    assert 5 < device.factor < 80  # 20, on a machine that others use
    assert describe_device(device).startswith("Cortex-A53 takes ")


def test_without_a_profile_this_machine_counts():
    assert device_of(Budget(latency="2ms")) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "another"}, "Name the bundle that was measured"),
        ({"measurements": []}, "no measurement of the fp32 model on one thread"),
    ],
)
def test_a_profile_of_another_model_is_refused(tmp_path, profile, bundle, change, message):
    with pytest.raises(ConfigError, match=message):
        device_of(budget(tmp_path, {**profile, **change}, bundle))


def test_a_model_of_another_size_is_refused(tmp_path, profile, bundle):
    profile["measurements"][0]["bytes"] += 1
    with pytest.raises(ConfigError, match="Name the bundle that was measured"):
        device_of(budget(tmp_path, profile, bundle))


@pytest.mark.parametrize(
    "content", [{}, [], {"format": 2}, {"format": 1, "name": "x", "measurements": [{}]}]
)
def test_another_file_is_no_profile(tmp_path, bundle, content):
    with pytest.raises(DataError, match="is no measurement of 'limbeck bench"):
        device_of(budget(tmp_path, content, bundle))


def test_a_latency_of_nothing_is_no_profile(tmp_path, profile, bundle):
    profile["measurements"][0]["latency"]["median"] = 0
    with pytest.raises(DataError, match="is no measurement"):
        device_of(budget(tmp_path, profile, bundle))


def test_missing_files_are_named(tmp_path, profile, bundle):
    with pytest.raises(DataError, match=r"device.json does not exist"):
        device_of(Budget(latency="2ms", profile=tmp_path / "device.json", bundle=bundle))
    with pytest.raises(DataError, match=r"budget.bundle: .*missing"):
        device_of(budget(tmp_path, profile, tmp_path / "missing"))
    (tmp_path / "device.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        device_of(Budget(latency="2ms", profile=tmp_path / "device.json", bundle=bundle))
