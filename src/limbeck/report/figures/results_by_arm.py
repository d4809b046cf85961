"""The results of all arms side by side: every seed, the mean and its interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from limbeck.report.arm_styles import TEACHER, Style, styles_of
from limbeck.report.families import MAX_COLOURED, highlighted_arms
from limbeck.report.figures.axes import set_ticks, widen_x_limits
from limbeck.report.figures.statistics import t_interval
from limbeck.report.figures.style import (
    INK,
    PAGE,
    canvas,
    figure_settings,
    only_grid,
    shorten_apart,
)
from limbeck.report.figures.svg import ReportFigure, to_svg
from limbeck.report.measure_wording import wording_of
from limbeck.report.wording_base import MeasureWording
from limbeck.run.summary import Summary


def results_by_arm(summary: Summary) -> ReportFigure | None:
    """Draw a mark per seed, the mean with its 95 % t-interval, and the teacher as a dashed line.

    Returns:
        The figure, or None if the study has no arms.
    """
    if not summary.arms:
        return None
    words = wording_of(summary)
    styles = styles_of(summary)
    is_large = len(summary.arms) > MAX_COLOURED
    positions, end = _y_positions(summary)
    with figure_settings():
        figure = canvas(0.9 + (0.24 if is_large else 0.42) * max(end, 1.5))
        axes = figure.subplots()
        draw = _draw_arm_on_one_line if is_large else _draw_arm
        arms = {arm.name: arm for arm in summary.arms}
        for name, y in positions.items():
            draw(axes, y, words.measure.seed_values(arms[name]), styles[name], words)
        if summary.teacher is not None:
            _draw_teacher(axes, words.measure.value(summary.teacher.test), words)
        names = shorten_apart(list(positions), 52 if is_large else 30)
        axes.set_yticks(list(positions.values()), names)
        axes.set_ylim(max(positions.values()) + 0.7, -0.7)
        axes.margins(x=0.08)
        _hide_negative_side(axes)
        widen_x_limits(axes, words)
        set_ticks(axes.xaxis, 7, words)
        axes.set_xlabel(f"{words.axis(summary.data)} ({words.less} is better)")
        only_grid(axes, "x")
        axes.spines["left"].set_visible(False)
        label = f"{words.title} of every arm, seed by seed, and the teacher"
        svg = to_svg(figure, words.measure.key, label)
    title = f"{words.unit.capitalize()} by arm"
    return ReportFigure(title, svg, _caption(summary, words))


def _caption(summary: Summary, words: MeasureWording) -> str:
    sentences = ["One seed per arm."]
    if any(len(arm.seeds) > 1 for arm in summary.arms):
        mark = "stroke" if len(summary.arms) > MAX_COLOURED else "dot"
        sentences = [
            f"Each {mark} is one seed.",
            "The diamond is the mean over seeds, the bar the 95 % interval of this mean.",
        ]
    if summary.teacher is not None:
        sentences.append("The dashed line is the teacher.")
    if highlighted_arms(summary) is not None:
        sentences.append(
            f"The headline arm, its control, and the arms with the {wording_of(summary).least} "
            f"validation {wording_of(summary).unit} are coloured."
        )
    return " ".join(sentences)


def comparison_groups(summary: Summary) -> list[list[str]]:
    """Names of the arms to draw together: a control and the arms that are compared with it.

    Arms without a comparison follow, each in a group of its own.
    """
    groups: dict[str, list[str]] = {}
    grouped_names: set[str] = set()
    for comparison in summary.comparisons:
        group = groups.setdefault(comparison.control, [])
        for name in (comparison.control, comparison.arm):
            if name not in grouped_names:
                group.append(name)
                grouped_names.add(name)
    single = [[arm.name] for arm in summary.arms if arm.name not in grouped_names]
    return [group for group in groups.values() if group] + single


def _y_positions(summary: Summary) -> tuple[dict[str, float], float]:
    """The y position of each arm, with a gap between groups, and the end of the last group."""
    names = {arm.name for arm in summary.arms}
    positions: dict[str, float] = {}
    y = 0.0
    for group in comparison_groups(summary):
        for name in group:
            if name in names:
                positions[name] = y
                y += 1
        y += 0.5
    return positions, y


def _hide_negative_side(axes: Axes) -> None:
    """Cut intervals off at 0, because results cannot be negative."""
    if axes.dataLim.x0 < 0:
        axes.set_xlim(left=-0.02 * axes.dataLim.x1)


def _draw_teacher(axes: Axes, level: float | None, words: MeasureWording) -> None:
    if level is None:
        return
    axes.axvline(level, color=TEACHER, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
    axes.annotate(
        f"teacher {words.number(level)}",
        (level, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=TEACHER,
        fontsize=8.5,
    )


def _draw_arm(
    axes: Axes, y: float, seeds: Sequence[float], style: Style, words: MeasureWording
) -> None:
    """Draw the mean above the seeds."""
    if not seeds:
        return
    colour = style.colour
    mean = float(np.mean(seeds))
    interval = t_interval(seeds)
    if interval:
        dots = [y + 0.16] * len(seeds)
        axes.plot(seeds, dots, "o", color=colour, alpha=0.55, markersize=4.5, markeredgewidth=0)
        axes.plot(interval, [y - 0.1] * 2, color=colour, linewidth=2.2, zorder=2)
    axes.plot([mean], [y - 0.1], "D", color=colour, markersize=5.5, markeredgecolor=PAGE, zorder=3)
    box = {"facecolor": PAGE, "alpha": 0.85, "linewidth": 0, "pad": 0.3}
    point = (mean, y - 0.1)
    text = _number(seeds, words)
    _write_near(axes, text, point, (0, 6), ha="center", va="bottom", fontsize=8.5, bbox=box)


def _draw_arm_on_one_line(
    axes: Axes, y: float, seeds: Sequence[float], style: Style, words: MeasureWording
) -> None:
    """Draw seeds and mean on one line with the number next to them, so that many arms fit."""
    if not seeds:
        return
    colour = style.colour
    mean = float(np.mean(seeds))
    interval = t_interval(seeds)
    if interval:
        axes.plot(interval, [y] * 2, color=colour, linewidth=1.8, zorder=2)
        axes.plot(seeds, [y] * len(seeds), "|", color=colour, markersize=6, zorder=2)
    axes.plot([mean], [y], "D", color=colour, markersize=4.5, markeredgecolor=PAGE, zorder=3)
    point = (max([*seeds, *(interval or ())]), y)
    _write_near(axes, _number(seeds, words), point, (5, 0), va="center", fontsize=8)


def _write_near(
    axes: Axes,
    text: str,
    point: tuple[float, float],
    offset: tuple[float, float],
    **style: Any,
) -> None:
    """Write text at an offset from a point, in typographic points."""
    axes.annotate(text, point, xytext=offset, textcoords="offset points", color=INK, **style)


def _number(seeds: Sequence[float], words: MeasureWording) -> str:
    mean = float(np.mean(seeds))
    return words.mean(mean) if len(seeds) > 1 else words.number(mean)
