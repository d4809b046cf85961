"""No label of a figure lies on another one or is cut off."""

import sys
from dataclasses import replace

import pytest
from support.boxes import collisions
from support.costs import COST, row, timing
from support.report_runs import build_run
from support.summaries import make_arm, make_summary, make_sweep

from limbeck.report.figures.catalogue import FIGURES, draw_figures
from limbeck.report.figures.cost import results_by_cost
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary


@pytest.fixture
def figures(monkeypatch):
    """The Matplotlib figures that are drawn during a test, by name."""
    figures = {}
    for entry in FIGURES:
        module = sys.modules[entry.draw.__module__]
        original = module.to_svg

        def to_svg(figure, name, label, original=original):
            figures[name] = figure
            return original(figure, name, label)

        monkeypatch.setattr(module, "to_svg", to_svg)
    return figures


def check(figures, *names):
    assert set(figures) >= set(names)
    for name, figure in figures.items():
        assert collisions(figure) == [], name


@pytest.mark.parametrize("name", ["full", pytest.param("text", marks=pytest.mark.slow)])
def test_labels_of_a_study(figures, request, name):
    folder = RunFolder(request.getfixturevalue(f"{name}_run"))
    draw_figures(folder, read_summary(folder))
    check(figures, "changes", "curves")


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        pytest.param(1, ["the only one"], marks=pytest.mark.slow),
        (10, [f"sandpiper {'abcdefghij'[i]}" for i in range(10)]),
        pytest.param(30, [f"northern goshawk {i}" for i in range(30)], marks=pytest.mark.slow),
        pytest.param(100, [f"blue nightingale {i}" for i in range(100)], marks=pytest.mark.slow),
    ],
)
def test_labels_of_many_classes_with_long_names(figures, tmp_path, classes, names):
    arms = ("hard", "soft")
    folder = RunFolder(build_run(tmp_path, arms=arms, seeds=2, classes=classes, class_names=names))
    draw_figures(folder, read_summary(folder))
    check(figures, "recall", "reliability")


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(100,), (100, 105, 5000)])
def test_labels_of_a_sweep(figures, tmp_path, sizes):
    summary = make_sweep(temperatures=(0.5, 1, 1.5, 2, 4, 20), sizes=sizes)
    draw_figures(RunFolder(tmp_path), summary)
    check(figures, "temperature", "settings", "changes", "errors")


@pytest.mark.parametrize(
    ("largest", "slowest"), [(6_000, 0.0088), (11_000, 0.17), (72_000, 0.01), (400_000_000, 90)]
)
def test_labels_of_the_cost(figures, largest, slowest):
    rows = []
    for model in ("teacher", "soft"):
        for runtime, precision in (("torch", "fp32"), ("onnx", "fp32"), ("onnx", "int8")):
            factor = 1 if model == "teacher" else 0.02
            size = max(int(largest * factor), 5_900)
            threads = {"1": timing(max(slowest * factor, 0.0084))}
            rows.append(row(model, runtime, precision, bytes=size, threads=threads))
    cost = replace(COST, rows=tuple(rows))
    results_by_cost(make_summary([make_arm("soft", [22])]), cost)
    check(figures, "cost")
