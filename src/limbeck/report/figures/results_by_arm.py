"""The results of all arms side by side: every seed, the mean and its interval."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from limbeck.report.families import MOST_COLOURED, highlighted_arms
from limbeck.report.figures.axes import set_ticks
from limbeck.report.figures.statistics import t_interval
from limbeck.report.figures.style import (
    INK,
    TEACHER,
    Style,
    arm_styles,
    canvas,
    figure_settings,
    only_grid,
    shorten_apart,
)
from limbeck.report.figures.svg import ReportFigure, to_svg
from limbeck.report.measure_wording import MeasureWording, wording_of
from limbeck.run.summary import Summary


def results_by_arm(summary: Summary) -> ReportFigure | None:
    """Draw a mark per seed, the mean with its 95 % t-interval, and the teacher as a dashed line.

    Returns:
        The figure, or None if the study has no arms.
    """
    if not summary.arms:
        return None
    words = wording_of(summary)
    highlighted = highlighted_arms(summary)
    styles = arm_styles([arm.name for arm in summary.arms], highlighted)
    is_large = len(summary.arms) > MOST_COLOURED
    heights, end = _heights(summary)
    with figure_settings():
        figure = canvas(0.9 + (0.24 if is_large else 0.42) * max(end, 1.5))
        axes = figure.subplots()
        draw = _draw_arm_on_one_line if is_large else _draw_arm
        arms = {arm.name: arm for arm in summary.arms}
        for name, height in heights.items():
            draw(axes, height, words.measure.seed_values(arms[name]), styles[name], words)
        if summary.teacher is not None:
            _draw_teacher(axes, words.measure.value(summary.teacher.test), words)
        names = shorten_apart(list(heights), 52 if is_large else 30)
        axes.set_yticks(list(heights.values()), names)
        axes.set_ylim(max(heights.values()) + 0.7, -0.7)
        axes.margins(x=0.08)
        _hide_negative_side(axes)
        set_ticks(axes.xaxis, 7, words)
        axes.set_xlabel(f"{words.axis(summary.data)} (fewer is better)")
        only_grid(axes, "x")
        axes.spines["left"].set_visible(False)
        label = f"{words.title} of every arm, seed by seed, beside the teacher"
        svg = to_svg(figure, words.measure.key, label)
    title = f"{words.unit.capitalize()} by arm"
    return ReportFigure(title, svg, _caption(summary, words))


def _caption(summary: Summary, words: MeasureWording) -> str:
    sentences = ["One seed per arm."]
    if any(len(arm.seeds) > 1 for arm in summary.arms):
        mark = "stroke" if len(summary.arms) > MOST_COLOURED else "dot"
        sentences = [
            f"Each {mark} is one seed.",
            "The diamond is the mean over seeds, the bar its 95 % interval.",
        ]
    if summary.teacher is not None:
        sentences.append("The dashed line is the teacher.")
    if highlighted_arms(summary) is not None:
        sentences.append(
            "Coloured are the headline arm, its control, and the arms with the fewest validation "
            f"{words.unit}."
        )
    return " ".join(sentences)


def comparison_groups(summary: Summary) -> list[list[str]]:
    """Names of the arms to draw together: a control and the arms that are compared with it.

    Arms without a comparison follow, each on its own.
    """
    groups: dict[str, list[str]] = {}
    placed: set[str] = set()
    for comparison in summary.comparisons:
        group = groups.setdefault(comparison.control, [])
        for name in (comparison.control, comparison.arm):
            if name not in placed:
                group.append(name)
                placed.add(name)
    single = [[arm.name] for arm in summary.arms if arm.name not in placed]
    return [group for group in groups.values() if group] + single


def _heights(summary: Summary) -> tuple[dict[str, float], float]:
    """The height of each arm, with a gap between groups, and where the last group ends."""
    names = {arm.name for arm in summary.arms}
    heights: dict[str, float] = {}
    height = 0.0
    for group in comparison_groups(summary):
        for name in group:
            if name in names:
                heights[name] = height
                height += 1
        height += 0.5
    return heights, height


def _hide_negative_side(axes: Axes) -> None:
    """Cut off intervals below 0, where no result can lie."""
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
    axes: Axes, height: float, seeds: Sequence[float], style: Style, words: MeasureWording
) -> None:
    """Draw the mean above the seeds."""
    if not seeds:
        return
    colour = style.colour
    mean = float(np.mean(seeds))
    interval = t_interval(seeds)
    if interval:
        dots = [height + 0.16] * len(seeds)
        axes.plot(seeds, dots, "o", color=colour, alpha=0.55, markersize=4.5, markeredgewidth=0)
        axes.plot(interval, [height - 0.1] * 2, color=colour, linewidth=2.2, zorder=2)
    axes.plot(
        [mean], [height - 0.1], "D", color=colour, markersize=5.5, markeredgecolor="white", zorder=3
    )
    axes.annotate(
        _number(seeds, words),
        (mean, height - 0.1),
        xytext=(0, 6),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8.5,
        color=INK,
        bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 0.3},
    )


def _draw_arm_on_one_line(
    axes: Axes, height: float, seeds: Sequence[float], style: Style, words: MeasureWording
) -> None:
    """Draw seeds and mean on one line, with the number beside them, to fit many arms."""
    if not seeds:
        return
    colour = style.colour
    mean = float(np.mean(seeds))
    interval = t_interval(seeds)
    if interval:
        axes.plot(interval, [height] * 2, color=colour, linewidth=1.8, zorder=2)
        axes.plot(seeds, [height] * len(seeds), "|", color=colour, markersize=6, zorder=2)
    axes.plot(
        [mean], [height], "D", color=colour, markersize=4.5, markeredgecolor="white", zorder=3
    )
    axes.annotate(
        _number(seeds, words),
        (max([*seeds, *(interval or ())]), height),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=INK,
    )


def _number(seeds: Sequence[float], words: MeasureWording) -> str:
    mean = float(np.mean(seeds))
    return words.mean(mean) if len(seeds) > 1 else words.number(mean)
