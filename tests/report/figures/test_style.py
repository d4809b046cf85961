import os
import subprocess
import sys

import matplotlib
import pytest
from matplotlib.lines import Line2D

from limbeck.report.arm_styles import OTHER, arm_styles
from limbeck.report.figures.style import (
    break_at_commas,
    canvas,
    figure_settings,
    legend,
    shorten,
    shorten_apart,
)
from limbeck.report.figures.svg import to_svg


def test_styles_differ_beyond_the_palette():
    styles = arm_styles([str(i) for i in range(20)])
    assert len({(style.colour, style.dash) for style in styles.values()}) == 20


def test_arms_that_are_not_highlighted_are_grey():
    styles = arm_styles(["a", "b", "c"], ["c"])
    assert styles["a"] == styles["b"] == OTHER
    assert styles["c"] == arm_styles(["x"])["x"]


def test_the_settings_of_the_user_return():
    before = dict(matplotlib.rcParams)
    with figure_settings():
        assert dict(matplotlib.rcParams) != before
    assert dict(matplotlib.rcParams) == before


def test_shorten_keeps_both_ends():
    assert shorten("class number 12", 15) == "class number 12"
    assert shorten("class  number\n123", 10) == "class… 123"
    assert len(shorten("x" * 50, 11)) == 11


def test_names_stay_different_when_shortened():
    names = [f"soft,temperature={t},soft_weight=0.{w},hidden=128" for t in (4, 20) for w in (1, 5)]
    assert len(set(shorten_apart(names, 20))) == 4
    assert shorten_apart(["a", "b"], 1) == ["a", "b"]


def test_long_names_break_at_commas():
    assert break_at_commas("soft,temperature=1,soft_weight=0.5", 24) == (
        "soft,temperature=1,\nsoft_weight=0.5"
    )
    assert break_at_commas("hard", 24) == "hard"


def test_a_legend_reads_from_left_to_right():
    names = [f"an arm with a rather long name, number {number}" for number in range(5)]
    with figure_settings():
        figure = canvas(2)
        figure.subplots()
        legend(figure, [Line2D([], []) for _ in names], names)
        figure.draw_without_rendering()
        (drawing,) = figure.legends
        boxes = {text.get_text(): text.get_window_extent() for text in drawing.get_texts()}
    reading_order = sorted(boxes, key=lambda name: (-round(boxes[name].y0), boxes[name].x0))
    assert reading_order == names
    assert len({round(box.x0) for box in boxes.values()}) == 2


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "svg"])
def test_a_backend_that_is_not_installed_does_not_matter(backend):
    code = (
        "import os, limbeck.report.figures.style, matplotlib; "
        "print(os.environ['MPLBACKEND'], matplotlib.get_backend())"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "MPLBACKEND": backend},
        capture_output=True,
        text=True,
        check=True,
    )
    environment, name = process.stdout.split()
    assert environment == backend
    assert (name == "svg") == (backend == "svg")


def test_absurd_numbers_print_no_warning(recwarn):
    """A summary may come from somebody else."""
    with figure_settings():
        figure = canvas(2)
        axes = figure.add_subplot()
        axes.bar(["a"], [1e40])
        axes.yaxis.set_major_formatter(lambda value, position: f"{value:,.0f}")
        to_svg(figure, "figure", "label")
    assert not recwarn.list
