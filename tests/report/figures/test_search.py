"""The figure of a search."""

from support.searches import make_search, make_trial
from support.summaries import make_arm, make_summary

from limbeck.report.figures.search import results_of_search

SUMMARY = make_summary([make_arm("distilled", [22])])
CONVNET = {"student": "convnet", "width": 4}


def test_every_student_and_the_budget_are_drawn():
    trials = (
        make_trial(0, 0.2, 30),
        make_trial(1, 0.9, 10, settings=CONVNET),
        make_trial(2, 0.5, 40),
        make_trial(3, 1.5, None, "over budget"),
    )
    figure = results_of_search(SUMMARY, make_search(*trials, choice=1, size=1000))
    for text in ("mlp", "convnet", "Pareto front", "chosen", "size of the exported model"):
        assert f">{text}</text>" in figure.svg
    assert "errors on 200 validation samples" in figure.svg
    assert "The dashed line is the budget." in figure.caption


def test_a_distant_budget_is_not_drawn():
    trials = (make_trial(0, 0.02, 30), make_trial(1, 0.09, 10))
    figure = results_of_search(SUMMARY, make_search(*trials, choice=1, size=1000))
    assert "budget" not in figure.caption


def test_fewer_than_two_results_have_no_figure():
    assert results_of_search(SUMMARY, make_search(make_trial(0, 0.2, 30), choice=0)) is None
    free = (make_trial(0, 0.0, 30), make_trial(1, 0.0, 20))
    assert results_of_search(SUMMARY, make_search(*free, choice=0)) is None
