"""The figures of a report, each one an inline SVG string."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FixedLocator
from numpy.typing import NDArray

from limbeck.report.families import MANY
from limbeck.report.figures.axes import ticks
from limbeck.report.figures.drawing import (
    INK,
    QUIET,
    TEACHER,
    Style,
    arm_styles,
    canvas,
    drawing,
    only_grid,
    shorten,
    shorten_apart,
    to_svg,
)
from limbeck.report.figures.statistics import Bins, t_interval
from limbeck.report.formats import nats
from limbeck.report.judged_by import Measure, measure_of

CLASSES_IN_A_ROW = 20
NUMBERS_UP_TO = 60
MOST_CLASSES = 100
_MISSED = LinearSegmentedColormap.from_list(
    "missed", ["#f4f8fb", "#bcd9ea", "#7fb2d3", "#1c679f", "#08406b"]
).with_extremes(bad="#ececec")


class HeatMap(NamedTuple):
    """The recall figure, the number of classes in it, and the recall in % that it draws darkest."""

    svg: str
    shown: int
    darkest: float


def comparison_groups(summary: Mapping[str, Any]) -> list[list[str]]:
    """Arms to draw together: a control and what is compared with it, then the arms without a
    comparison.
    """
    groups: dict[str, list[str]] = {}
    placed: set[str] = set()
    for comparison in summary["comparisons"]:
        group = groups.setdefault(comparison["control"], [])
        for name in (comparison["control"], comparison["arm"]):
            if name not in placed:
                group.append(name)
                placed.add(name)
    rest = [[arm["name"]] for arm in summary["arms"] if arm["name"] not in placed]
    return [group for group in groups.values() if group] + rest


def results_by_arm(summary: Mapping[str, Any], shown: Sequence[str] | None = None) -> str:
    """What the study is judged by: a dot per seed, the mean with its 95 % t-interval, the teacher
    as a dashed line.

    Args:
        summary: the content of ``summary.json``.
        shown: the arms to draw in colour, if not all.
    """
    measure, arms = measure_of(summary), {arm["name"]: arm for arm in summary["arms"]}
    styles = arm_styles(list(arms), shown)
    many = len(arms) > MANY
    groups = [[name for name in group if name in arms] for group in comparison_groups(summary)]
    heights, y = {}, 0.0
    for group in groups:
        for name in group:
            heights[name] = y
            y += 1
        y += 0.5
    with drawing():
        figure = canvas(0.9 + (0.24 if many else 0.42) * max(y, 1.5))
        axes = figure.subplots()
        for name, height in heights.items():
            draw = _draw_arm_flat if many else _draw_arm
            draw(axes, height, measure.of_seeds(arms[name]), styles[name], measure)
        level = None if summary["teacher"] is None else measure.of(summary["teacher"]["test"])
        if level is not None:
            axes.axvline(level, color=TEACHER, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
            axes.annotate(
                f"teacher {measure.number(level)}",
                (level, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                va="bottom",
                color=TEACHER,
                fontsize=8.5,
            )
        axes.set_yticks(list(heights.values()), shorten_apart(list(heights), 52 if many else 30))
        axes.set_ylim(max(heights.values(), default=0) + 0.7, -0.7)
        axes.margins(x=0.08)
        ticks(axes.xaxis, 7, measure)
        axes.set_xlabel(f"{measure.unit(summary['data'])} (fewer is better)")
        only_grid(axes, "x")
        axes.spines["left"].set_visible(False)
        return to_svg(
            figure, measure.key, f"{measure.title} of every arm, seed by seed, beside the teacher"
        )


def _draw_arm(
    axes: Axes, height: float, seeds: Sequence[float], style: Style, measure: Measure
) -> None:
    if not seeds:
        return
    colour, mean, bounds = style.colour, float(np.mean(seeds)), t_interval(seeds)
    if bounds:
        dots = [height + 0.16] * len(seeds)
        axes.plot(seeds, dots, "o", color=colour, alpha=0.55, markersize=4.5, markeredgewidth=0)
        axes.plot(bounds, [height - 0.1] * 2, color=colour, linewidth=2.2, zorder=2)
    axes.plot(
        [mean], [height - 0.1], "D", color=colour, markersize=5.5, markeredgecolor="white", zorder=3
    )
    text = measure.mean(mean) if len(seeds) > 1 else measure.number(mean)
    axes.annotate(
        text,
        (mean, height - 0.1),
        xytext=(0, 6),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8.5,
        color=INK,
        bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 0.3},
    )


def _draw_arm_flat(
    axes: Axes, height: float, seeds: Sequence[float], style: Style, measure: Measure
) -> None:
    """The same on one line, the number beside it: for many arms."""
    if not seeds:
        return
    mean, bounds = float(np.mean(seeds)), t_interval(seeds)
    if bounds:
        axes.plot(bounds, [height] * 2, color=style.colour, linewidth=1.8, zorder=2)
        axes.plot(seeds, [height] * len(seeds), "|", color=style.colour, markersize=6, zorder=2)
    axes.plot(
        [mean], [height], "D", color=style.colour, markersize=4.5, markeredgecolor="white", zorder=3
    )
    text = measure.mean(mean) if len(seeds) > 1 else measure.number(mean)
    axes.annotate(
        text,
        (max([*seeds, *(bounds or ())]), height),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=INK,
    )


def recall_heat_map(models: Sequence[tuple[str, NDArray]], classes: Sequence[str]) -> HeatMap:
    """Recall per class of every model: numbers in %, darker where more is missed.

    Args:
        models: ``(name, recall per class)``, the teacher first.
        classes: names of the classes.

    Returns:
        The SVG, how many classes it shows (all, or the hardest 100 where there are more) and the
        recall in % that is darkest.
    """
    values = 100 * np.array([recall for _, recall in models])
    shown = np.arange(len(classes))
    if len(classes) > MOST_CLASSES:
        hardness = np.where(
            np.isnan(values).all(axis=0), np.inf, np.nan_to_num(values, nan=100).mean(axis=0)
        )
        shown = np.sort(np.argsort(hardness, kind="stable")[:MOST_CLASSES])
    per_row = CLASSES_IN_A_ROW if len(shown) <= NUMBERS_UP_TO else 34
    blocks = np.array_split(shown, math.ceil(len(shown) / per_row))
    names = [shorten(classes[i], 15) for i in range(len(classes))]
    letters = max(len(names[i]) for i in shown)
    slanted = letters * 0.075 > 5.6 / len(blocks[0])
    top = 0.07 * letters + 0.1 if slanted else 0.25
    floor = min(float(np.nanmin(values[:, shown])), 99.0)
    with drawing():
        figure = canvas(len(blocks) * (0.25 * len(models) + top + 0.12) + 0.1)
        for axes, block in zip(
            figure.subplots(len(blocks), 1, squeeze=False)[:, 0], blocks, strict=True
        ):
            _draw_recall(axes, values[:, block], floor, numbers=len(shown) <= NUMBERS_UP_TO)
            axes.set_xlim(-0.5, len(blocks[0]) - 0.5)
            axes.set_xticks(
                range(len(block)), [names[i] for i in block], rotation=90 if slanted else 0
            )
            axes.set_yticks(range(len(models)), [shorten(name, 22) for name, _ in models])
            axes.tick_params(labelsize=7.5 if len(blocks[0]) > 12 else 8.5)
        svg = to_svg(figure, "recall", "Recall of every class, teacher and arms")
        return HeatMap(svg, len(shown), floor)


def _draw_recall(axes: Axes, values: NDArray, floor: float, *, numbers: bool) -> None:
    missed = np.ma.masked_invalid(100 - values)
    edges = np.arange(values.shape[1] + 1) - 0.5, np.arange(values.shape[0] + 1) - 0.5
    axes.pcolormesh(
        *edges, missed, cmap=_MISSED, vmin=0, vmax=100 - floor, edgecolors="white", linewidth=1
    )
    axes.invert_yaxis()
    axes.xaxis.tick_top()
    only_grid(axes, "none")
    axes.spines[:].set_visible(False)
    if not numbers:
        return
    decimals = 1 if values.shape[1] <= 12 else 0
    for (row, column), value in np.ndenumerate(values):
        dark = (100 - value) > 0.6 * (100 - floor)
        text = "–" if math.isnan(value) else f"{value:.{decimals}f}" if value < 100 else "100"
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            color="white" if dark else INK,
            fontsize=8.5 if decimals else 7.5,
        )


def reliability(models: Sequence[tuple[str, Bins, str, float | None]]) -> str:
    """Confidence against accuracy, one panel per model: dots sized by their share of the answers.

    Args:
        models: ``(name, bins, colour, ECE)``; the ECE of the bins where it is None.
    """
    columns = min(3, len(models))
    lines = math.ceil(len(models) / columns)
    with drawing():
        figure = canvas(0.75 + 2.3 * lines)
        grid = figure.subplots(lines, 3, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, (name, bins, colour, ece) in zip(grid, models, strict=False):
            _draw_reliability(axes, bins, colour)
            axes.set_title(shorten(name, 24), color=colour)
            text = f"ECE {nats(bins.ece if ece is None else ece)}"
            axes.text(
                0.96, 0.06, text, transform=axes.transAxes, ha="right", color=INK, fontsize=8.5
            )
        for axes in grid[len(models) :]:
            axes.set_visible(False)
        for i in range(len(models)):
            grid[i].tick_params(labelbottom=i + 3 >= len(models))
            if i + 3 >= len(models):
                grid[i].set_xlabel("confidence, %")
            if i % 3 == 0:
                grid[i].set_ylabel("accuracy, %")
        return to_svg(figure, "reliability", "Confidence against accuracy, one panel per model")


def _draw_reliability(axes: Axes, bins: Bins, colour: str) -> None:
    filled = bins.share > 0
    confidence, accuracy = 100 * bins.confidence[filled], 100 * bins.accuracy[filled]
    axes.plot([0, 100], [0, 100], color=QUIET, linewidth=0.9, linestyle=(0, (3, 2)))
    axes.vlines(confidence, confidence, accuracy, color=colour, linewidth=1.0, alpha=0.6)
    area = 9 + 130 * bins.share[filled]
    axes.scatter(
        confidence,
        accuracy,
        s=area,
        color=colour,
        alpha=0.85,
        linewidth=0.6,
        edgecolor="white",
        zorder=3,
    )
    axes.set_xlim(-4, 104)
    axes.set_ylim(-4, 104)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
    axes.grid(True)
    axes.tick_params(length=0)
