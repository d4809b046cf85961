from support.costs import COST
from support.summaries import make_arm, make_summary, make_text_summary

from limbeck.report.figures.cost import results_by_cost


def test_the_figure_needs_results_in_the_measure_of_the_study():
    figure = results_by_cost(make_summary([make_arm("soft", [22])]), COST)
    assert figure.title == "Errors against size and latency"
    for name in ("teacher", "soft", "PyTorch", "ONNX int8", "latency on one core, ms"):
        assert f">{name}</text>" in figure.svg
    assert results_by_cost(make_text_summary(), COST) is None
