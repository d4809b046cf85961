from support.summaries import make_arm, make_comparison, make_control, make_summary, make_sweep
from support.svgs import markers, texts

from limbeck.report.arm_styles import COLOURS
from limbeck.report.figures.changes import changes
from limbeck.run.comparison import Delta


def test_the_interval_that_decides_is_drawn_in_the_colour_of_the_arm():
    arms = [make_control("hard", [30, 32]), make_arm("soft", [20, 22])]
    delta = Delta(mean=-10, ci95=(-12, -8), ci95_total=(-24.0, 4.0), per_seed=(-10, -10))
    comparison = make_comparison("soft", "hard", delta_errors=delta, verdict="not shown")
    figure = changes(make_summary(arms, [comparison]))
    assert {"soft", "−10.0  not shown", "−20", "0", "5"} <= set(texts(figure.svg))
    assert markers(figure.svg, COLOURS[1]) == 1
    assert "decides" in figure.caption


def test_one_seed_has_no_interval_to_draw():
    arms = [make_control("hard", [30]), make_arm("soft", [20])]
    comparison = make_comparison("soft", "hard", delta_errors=Delta(mean=-10, ci95=None))
    assert changes(make_summary(arms, [comparison])) is None
    assert changes(make_summary(arms)) is None


def test_controls_are_named_if_they_differ_and_many_rows_are_cut():
    figure = changes(make_sweep(sizes=(100, 200)))
    names = [text for text in texts(figure.svg) if " − " in text]
    assert len(names) == 2 * 6
    many = changes(make_sweep(temperatures=range(1, 41)))
    assert "Only 60 of 80 comparisons are drawn" in many.caption


def test_equal_arms_have_an_axis_with_different_ticks():
    arms = [make_control("hard", [3, 3]), make_arm("soft", [3, 3])]
    delta = Delta(mean=0, ci95=(0, 0), ci95_total=(0, 0), per_seed=(0, 0))
    figure = changes(make_summary(arms, [make_comparison("soft", "hard", delta_errors=delta)]))
    assert {"−1", "0", "1"} <= set(texts(figure.svg))
