"""Cost of students before they are trained."""

import pytest
from support.deploy_runs import dataset

from limbeck.deploy.untrained_cost import untrained_cost
from limbeck.models import MLP, ConvNet
from limbeck.report.cost import heading, note, rows


@pytest.mark.slow
def test_students_are_measured_in_every_runtime_without_results(monkeypatch):
    monkeypatch.setattr("limbeck.deploy.cost.ROUNDS", 1)
    monkeypatch.setattr("limbeck.deploy.cost.SECONDS", 0.0)
    data = dataset()
    small = MLP(data.shape, 3, hidden=[4])
    students = {"small": small, "net": ConvNet(data.shape, 3, channels=[4], strides=[2])}

    cost = untrained_cost(students, data, progress=False)

    kinds = [("torch", "fp32"), ("onnx", "fp32"), ("onnx", "int8")]
    assert [(row.model, row.runtime, row.precision) for row in cost.rows] == [
        (name, *kind) for name in students for kind in kinds
    ]
    first = cost.rows[0]
    assert first.params == 120 * 4 + 4 + 4 * 3 + 3
    assert first.macs == 120 * 4 + 4 * 3
    assert first.bytes >= 4 * first.params
    assert first.errors is None
    assert "Test errors" not in heading(cost)
    assert all(len(row) == len(heading(cost)) for row in rows(cost))
    assert "untrained" in note(cost)
    assert small.training is False
