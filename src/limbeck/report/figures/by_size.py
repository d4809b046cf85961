"""Results against the size of the student."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from limbeck.evaluation.measure import Measure, measure_of
from limbeck.report.arm_styles import MARKERS, OTHER, TEACHER, Style, styles_of
from limbeck.report.families import Family, families, is_control, labels
from limbeck.report.figures.axes import set_y_label, set_y_limits, spaced_ticks
from limbeck.report.figures.statistics import t_interval
from limbeck.report.figures.style import INK, PAGE, canvas, figure_settings, legend, only_grid
from limbeck.report.figures.svg import ReportFigure, to_svg
from limbeck.report.measure_wording import wording_of
from limbeck.report.wording_base import MeasureWording
from limbeck.run.summary import ArmResult, Summary

MAX_FAMILIES = 8
SIZE = ("student", "params")


@dataclass(frozen=True)
class Group:
    """Arms whose points have one shape.

    Attributes:
        name: Name in the legend.
        shape: Shape of the points.
        arms: Arms of the group.
        is_family: Whether its arms differ only in size, so that a line connects them.
        size: Size of the points.
    """

    name: str
    shape: str
    arms: Sequence[ArmResult]
    is_family: bool = True
    size: float = 6


def by_size(summary: Summary) -> ReportFigure | None:
    """Draw the results against the number of parameters, with the Pareto front.

    Returns:
        The figure, or None if all students have the same size.
    """
    arms = summary.arms
    words, measure = wording_of(summary), measure_of(summary)
    if len({arm.params for arm in arms}) < 2:
        return None
    lines = families(arms, SIZE)
    is_large = len(lines) > MAX_FAMILIES
    groups = _by_kind(arms, measure) if is_large else _by_family(lines)
    handles = {group.name: _point(INK, group.shape, group.size) for group in groups}
    sizes = [arm.params for arm in arms]
    styles = styles_of(summary)
    with figure_settings():
        figure = canvas(3.6)
        axes = figure.subplots()
        values: list[float] = []
        middle = (len(groups) - 1) / 2
        for i, group in enumerate(groups):
            values += _draw_group(axes, group, measure, styles, shift=1.02 ** (i - middle))
        _draw_front(axes, pareto_front(arms, measure))
        teacher = summary.teacher
        if teacher is not None and teacher.params:  # of some teachers the size is not known
            sizes.append(teacher.params)
            level = measure.value(teacher.test)
            if level is not None:
                axes.plot([teacher.params], [level], "p", color=TEACHER, markersize=10, zorder=4)
                handles["teacher"] = _point(TEACHER, "p", 9)
                values.append(level)
        handles["Pareto front"] = Line2D([], [], color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
        _finish(axes, sizes, values, words)
        set_y_label(axes, words, summary.data)
        legend(figure, list(handles.values()), list(handles))
        label = f"{words.title} against the number of parameters, with the Pareto front"
        svg = to_svg(figure, "sizes", label)
    title = f"{words.unit.capitalize()} against size"
    return ReportFigure(title, svg, _caption(words, has_kinds=is_large))


def _caption(words: MeasureWording, *, has_kinds: bool) -> str:
    sentences = [
        "Points are means over seeds with the 95 % intervals of these means, in the colours of "
        "their arms.",
        f"The Pareto front considers, for each size, the arm with the {words.least} validation "
        f"{words.unit}.",
        f"Such an arm is on the front if it has {words.less} test {words.unit} than those of all "
        "smaller sizes.",
    ]
    if has_kinds:
        sentences.append(
            f"“Chosen” is, for each size, the distilled arm with the {words.least} validation "
            f"{words.unit}."
        )
    return " ".join(sentences)


def _by_family(lines: Sequence[Family]) -> list[Group]:
    names = labels(lines, SIZE)
    return [
        Group(name, MARKERS[i], line)
        for i, (name, line) in enumerate(zip(names, lines, strict=True))
    ]


def _by_kind(arms: Sequence[ArmResult], measure: Measure) -> list[Group]:
    """Group arms into controls, the best distilled arm of each size on validation, and others."""
    controls = [arm for arm in arms if is_control(arm)]
    distilled = [arm for arm in arms if not is_control(arm)]
    best = best_of_each_size(distilled, measure)
    others = [arm for arm in distilled if arm not in best]
    groups = [
        Group("other distilled", "o", others, is_family=False, size=4),
        Group("control", "s", controls, is_family=False),
        Group("distilled, chosen", "D", best, is_family=False),
    ]
    return [group for group in groups if group.arms]


def best_of_each_size(arms: Sequence[ArmResult], measure: Measure) -> list[ArmResult]:
    """The best arm of each size on the validation split."""
    by_params: dict[int, list[ArmResult]] = {}
    for arm in arms:
        by_params.setdefault(arm.params, []).append(arm)
    return [min(same_size, key=measure.validation_mean) for same_size in by_params.values()]


def pareto_front(arms: Sequence[ArmResult], measure: Measure) -> list[tuple[int, float]]:
    """Parameters and test mean of the arms on the Pareto front, by size."""
    front: list[tuple[int, float]] = []
    for arm in sorted(best_of_each_size(arms, measure), key=lambda arm: arm.params):
        mean = measure.value(arm.mean)
        if mean is not None and (not front or mean < front[-1][1]):
            front.append((arm.params, mean))
    return front


def _draw_group(
    axes: Axes, group: Group, measure: Measure, styles: Mapping[str, Style], *, shift: float
) -> list[float]:
    """Draw the arms of a group; return the y values that the axis should show."""
    values: list[float] = []
    points: list[tuple[float, float]] = []
    for arm in group.arms:
        seeds = measure.seed_values(arm)
        x = arm.params * shift
        mean = float(np.mean(seeds))
        style = styles[arm.name]
        is_faint = style == OTHER and group.size < 6
        interval = None if is_faint else t_interval(seeds)
        if interval:
            axes.vlines(x, *interval, color=style.colour, linewidth=1.4, alpha=0.7, zorder=2)
        look: dict[str, Any] = {
            "color": style.colour,
            "markersize": group.size,
            "markeredgecolor": PAGE,
        }
        axes.plot([x], [mean], group.shape, **look, zorder=2 if is_faint else 3)
        points.append((x, mean))
        values += interval if interval and len(seeds) > 2 else [mean]
    if group.is_family:
        across, along = zip(*sorted(points), strict=True)
        axes.plot(across, along, color=OTHER.colour, linewidth=0.8, zorder=1.9)
    return values


def _draw_front(axes: Axes, front: Sequence[tuple[int, float]]) -> None:
    sizes = [params for params, _ in front]
    means = [mean for _, mean in front]
    axes.step(
        sizes, means, where="post", color=INK, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1.8
    )


def _finish(
    axes: Axes, sizes: Sequence[int], values: Sequence[float], words: MeasureWording
) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(spaced_ticks(sorted(set(sizes)))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.margins(x=0.08)
    axes.set_xlabel("parameters")
    set_y_limits(axes, values, words)
    only_grid(axes, "y")


def _short(value: float) -> str:
    """A number of parameters: ``850``, ``2.4k``, ``1.3M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.0f}"


def _point(colour: str, marker: str, size: float) -> Line2D:
    return Line2D(
        [],
        [],
        color=colour,
        marker=marker,
        markersize=size,
        linestyle="none",
        markeredgecolor=PAGE,
    )
