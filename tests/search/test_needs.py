"""Measurements of untrained students: each once, and only as far as the budget needs them."""

from functools import partial

import pytest
from support.searches import ModelOfSize, blobs, make_trial

from limbeck.models import MLP
from limbeck.search import needs
from limbeck.search.budget import Budget


@pytest.fixture(autouse=True)
def quick_export(monkeypatch):
    """An export takes seconds; the tests of the command line have the real one."""
    monkeypatch.setattr(needs, "to_onnx", lambda model, example: ModelOfSize(model))


def test_a_measurement_is_made_once_for_an_architecture(monkeypatch):
    count = 0

    def export(model, example):
        nonlocal count
        count += 1
        return ModelOfSize(model)

    monkeypatch.setattr(needs, "to_onnx", export)
    data = blobs()
    budget = Budget.of({"size": "1MB"})
    meter = needs.NeedsMeter(data, budget)
    settings = {"student": "mlp", "width": 8, "depth": 1, "lr": 0.1}
    first = meter.measure(settings, partial(MLP, hidden=[8]))
    assert meter.measure({**settings, "lr": 0.2}, partial(MLP, hidden=[8])) == first
    assert count == 1
    assert first.needs.size == 100 + 4 * first.params
    assert first.params == sum(p.numel() for p in MLP((6,), 4, hidden=[8]).parameters())


def test_a_student_whose_weights_are_over_the_budget_is_not_exported(monkeypatch):
    monkeypatch.setattr(needs, "to_onnx", None)
    budget = Budget.of({"size": "100B"})
    candidate = needs.NeedsMeter(blobs(), budget).measure(
        {"student": "mlp", "width": 8}, partial(MLP, hidden=[8])
    )
    assert candidate.needs.size == 4 * candidate.params
    assert not budget.fits(candidate.needs)


def timed(monkeypatch, calls):
    """Measurements of 1 µs per multiply-add instead of real ones, and a list of them."""

    def measure(models, inputs, advance):
        calls.append(models[0].architecture)
        row = type("Row", (), {"memory": None})()
        row.one_core = type("Timing", (), {"median": 1e-3 * models[0].macs})()
        return [row]

    monkeypatch.setattr(needs, "measure", measure)
    monkeypatch.setattr(needs, "write_model", lambda model, file: file.write_bytes(bytes(9)))


def test_students_that_earlier_latencies_show_to_be_too_slow_are_not_measured(monkeypatch):
    calls = []
    timed(monkeypatch, calls)
    budget = Budget.of({"latency": "1ms"})
    meter = needs.NeedsMeter(blobs(), budget)

    def measure(width, student="mlp"):
        settings = {"student": student, "width": width, "depth": 1}
        return meter.measure(settings, partial(MLP, hidden=[width]))

    for width in (4, 8, 12, 16, 20, 200):
        candidate = measure(width)
        assert candidate.needs.latency == pytest.approx(1e-3 * 10 * width)
        assert not candidate.is_predicted
    assert len(calls) == 6
    slow = measure(300)
    assert slow.is_predicted
    assert slow.needs.latency == pytest.approx(3.0)
    assert not budget.fits(slow.needs)
    assert len(calls) == 6
    assert not measure(50).is_predicted  # within the budget
    assert not measure(300, "another").is_predicted  # of a kind without measurements
    assert len(calls) == 8


def test_a_meter_knows_the_latencies_of_earlier_trials(monkeypatch):
    calls = []
    timed(monkeypatch, calls)
    budget = Budget.of({"latency": "1ms"})
    trials = [
        make_trial(
            number,
            0.1,
            None,
            "waiting",
            settings={"student": "mlp", "width": width, "depth": 1},
            params=10 * width + width + 4,
            macs=10 * width,
            latency=1e-2 * width,
        )
        for number, width in enumerate((4, 8, 12, 16, 20, 40))
    ]
    meter = needs.NeedsMeter(blobs(), budget, None, trials)
    settings = {"student": "mlp", "width": 300, "depth": 1}
    assert meter.measure(settings, partial(MLP, hidden=[300])).is_predicted
    assert not calls
