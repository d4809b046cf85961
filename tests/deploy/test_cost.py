"""Costs: counted against formulas, measured in every runtime, and part of the report."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from support.encoders import new_classifier, texts_of
from torch import nn

from limbeck._base.errors import DataError
from limbeck.deploy.cost import multiply_adds
from limbeck.deploy.run_cost import cost
from limbeck.models import MLP, ConvNet
from limbeck.run.cost import read_cost
from limbeck.run.folder import RunFolder


def test_multiply_adds_of_an_mlp_are_its_weights():
    assert (
        multiply_adds(MLP((1, 28, 28), 10, hidden=[800, 800]), torch.zeros(3, 1, 28, 28))
        == 784 * 800 + 800 * 800 + 8000
    )


def test_multiply_adds_of_convolutions_are_weights_times_places():
    net = ConvNet((3, 8, 8), 4, channels=[5, 7], strides=[1, 2])
    last = next(m for m in reversed(list(net.modules())) if isinstance(m, torch.nn.Linear))
    expected = 3 * 5 * 9 * 64 + 5 * 7 * 9 * 16 + last.weight.numel()
    assert multiply_adds(net, torch.zeros(1, 3, 8, 8, dtype=torch.uint8)) == expected


@pytest.mark.parametrize("kind", ["fused", "layers"])
def test_multiply_adds_of_attention_are_those_of_its_products(kind):
    tokens, width, hidden = 10, 8, 12
    if kind == "fused":  # one call of PyTorch's attention
        net = new_classifier(num_hidden_layers=1, hidden_size=width, intermediate_size=hidden)
        example, other = texts_of(tokens)[:, :tokens], width * width + 3 * width  # pooler and head
    else:  # PyTorch computes these layers in one operation
        net = nn.TransformerEncoderLayer(width, 2, hidden, batch_first=True)
        example, other = torch.zeros(1, tokens, width), 0
    weights = 4 * width * width + 2 * width * hidden
    assert multiply_adds(net, example) == tokens * weights + 2 * tokens**2 * width + other
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.fixture(scope="module")
def measured(data, mlp_run, tmp_path_factory):
    """A run with its costs, measured quickly rather than exactly."""
    run = Path(shutil.copytree(mlp_run, tmp_path_factory.mktemp("cost") / "run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.deploy.cost.ROUNDS", 1)
        patch.setattr("limbeck.deploy.cost.SECONDS", 0.0)
        return run, cost(run, data, progress=False)


@pytest.mark.slow
def test_every_model_is_measured_in_every_runtime(measured):
    run, result = measured
    assert result == read_cost(RunFolder(run))
    content = json.loads((run / "cost.json").read_text())
    measurements = [(row["model"], row["runtime"], row["precision"]) for row in content["rows"]]
    kinds = [("torch", "fp32"), ("onnx", "fp32"), ("onnx", "int8")]
    assert measurements == [(model, *kind) for model in ("teacher", "soft") for kind in kinds]
    summary = json.loads((run / "summary.json").read_text())
    by = {(row["model"], row["precision"]): row for row in content["rows"]}
    assert by["teacher", "fp32"]["errors"] == summary["teacher"]["test"]["errors"]
    soft = next(arm for arm in summary["arms"] if arm["name"] == "soft")
    assert by["soft", "fp32"]["errors"] in [seed["test"]["errors"] for seed in soft["seeds"]]
    assert by["soft", "fp32"]["params"] == soft["params"]
    assert by["soft", "fp32"]["macs"] == 120 * 12 + 12 * 3
    for row in content["rows"]:
        assert "1" in row["threads"]
        for result in row["threads"].values():
            low, high = result["latency_ms"]["quartiles"]
            assert 0 < low <= result["latency_ms"]["median"] <= high
            assert result["per_second"] > 0
        assert row["memory"] > 10 << 20
    memory = {row["runtime"]: row["memory"] for row in content["rows"]}
    assert memory["onnx"] < memory["torch"]


@pytest.mark.slow
def test_the_report_shows_the_costs(measured):
    html = (measured[0] / "report.html").read_text(encoding="utf-8")
    assert 'id="cost"' in html
    assert 'data-figure="cost"' in html
    assert "ONNX int8" in html


@pytest.mark.slow
def test_another_dataset_is_refused(measured, conv_data):
    with pytest.raises(DataError, match="the dataset differs from the one the run used"):
        cost(measured[0], conv_data, progress=False)
