"""The figures of a report, each one an inline SVG string."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from limbeck.report.drawing import (
    INK,
    OTHER,
    QUIET,
    TEACHER,
    Style,
    arm_styles,
    canvas,
    drawing,
    legend,
    only_grid,
    shorten,
    shorten_apart,
    to_svg,
)
from limbeck.report.families import MANY
from limbeck.report.measures import Bins, t_interval
from limbeck.report.wording import count, nats, tenths

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


def training_curves(
    rows: Sequence[Mapping[str, Any]], arms: Sequence[str], shown: Sequence[str] | None = None
) -> str | None:
    """Validation error and training loss per epoch: a line per arm (mean over seeds) in a band of all its seeds.

    Args:
        rows: the scalars of ``metrics.csv``.
        arms: names of the arms, in the order that gives them their colours.
        shown: the arms to draw in colour, if not all; the others are thin grey lines.

    Returns:
        The SVG, or None where nothing was logged.
    """
    panels = [
        ("val_acc", "Validation error, %", lambda v: 100 * (1 - v)),
        ("train_loss", "Training loss, each arm's own objective", lambda v: v),
    ]
    curves = {metric: _curves(rows, metric, arms) for metric, _, _ in panels}
    panels = [panel for panel in panels if curves[panel[0]]]
    if not panels:
        return None
    styles = arm_styles(arms, shown)
    with drawing():
        figure = canvas(3.3 if shown is None else 4.1)
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (metric, title, scale) in zip(grid, panels, strict=True):
            lines = {arm: scale(values) for arm, values in curves[metric].items()}
            _draw_curves(axes, lines, styles)
            if metric == "val_acc":
                _draw_teacher_level(axes, rows)
            axes.set_title(title)
            axes.set_xlabel("epoch")
            _log_when_wide(axes, lines)
        named = [arm for arm in arms if styles[arm] != OTHER and any(arm in c for c in curves.values())]
        handles = [Line2D([], [], color=styles[a].colour, linestyle=styles[a].dash, linewidth=1.8) for a in named]
        if len(named) < len(arms):
            handles, named = [*handles, Line2D([], [], color=OTHER.colour, linewidth=0.8)], [*named, "other arms"]
        legend(figure, handles, named)
        return to_svg(figure, "curves", "Validation error and training loss per epoch, one line per arm")


def _curves(rows: Sequence[Mapping[str, Any]], metric: str, arms: Sequence[str]) -> dict[str, NDArray]:
    """``[seeds, epochs]`` per arm, NaN where nothing was logged."""
    found: dict[str, dict[tuple[int, int], float]] = {}
    for row in rows:
        if row["stage"] == "students" and row["metric"] == metric and row["arm"] in arms:
            found.setdefault(row["arm"], {})[row["seed"], row["epoch"]] = row["value"]
    curves = {}
    for arm, values in found.items():
        seeds = sorted({seed for seed, _ in values})
        curve = np.full((len(seeds), max(epoch for _, epoch in values) + 1), np.nan)
        for (seed, epoch), value in values.items():
            curve[seeds.index(seed), epoch] = value if math.isfinite(value) else np.nan
        if np.isfinite(curve).any():
            curves[arm] = curve
    return curves


def _draw_curves(axes: Axes, lines: Mapping[str, NDArray], styles: Mapping[str, Style]) -> None:
    for arm, curve in lines.items():
        kept = np.isfinite(curve).any(axis=0)
        epochs, curve = np.arange(1, len(kept) + 1)[kept], curve[:, kept]
        style = styles[arm]
        marker = "o" if len(epochs) <= 3 else None
        mean = np.nanmean(curve, axis=0)
        if style == OTHER:
            axes.plot(epochs, mean, color=style.colour, linewidth=0.7, alpha=0.6, zorder=1.5)
            continue
        axes.plot(epochs, mean, color=style.colour, linestyle=style.dash, linewidth=1.6, marker=marker, markersize=4)
        if len(curve) > 1:
            lowest, highest = np.nanmin(curve, axis=0), np.nanmax(curve, axis=0)
            axes.fill_between(epochs, lowest, highest, color=style.colour, alpha=0.13, linewidth=0)
    only_grid(axes, "y")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def _draw_teacher_level(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    logged = [r for r in rows if r["stage"] == "teacher" and r["metric"] == "val_acc" and math.isfinite(r["value"])]
    if not logged:
        return
    level = 100 * (1 - max(logged, key=lambda row: row["epoch"])["value"])
    axes.axhline(level, color=TEACHER, linestyle=(0, (4, 3)), linewidth=1.1)
    axes.annotate(
        "teacher", (0, level), xycoords=("axes fraction", "data"), xytext=(4, 3),
        textcoords="offset points", ha="left", va="bottom", color=TEACHER, fontsize=8.5, annotation_clip=True,
    ).set_in_layout(False)  # fmt: skip  # no errors at all are infinitely far down on a log axis


def _log_when_wide(axes: Axes, lines: Mapping[str, NDArray]) -> None:
    """A log axis where the values are positive and span more than a factor of five."""
    values = np.concatenate([curve[np.isfinite(curve)] for curve in lines.values()])
    if values.min() > 0 and values.max() / values.min() > 5:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value < 1e5 else f"{value:.0e}"))


def comparison_groups(summary: Mapping[str, Any]) -> list[list[str]]:
    """Arms to draw together: a control and what is compared with it, then the arms without a comparison."""
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


def errors_by_arm(summary: Mapping[str, Any], shown: Sequence[str] | None = None) -> str:
    """Test errors: a dot per seed, the mean with its 95 % t-interval, and the teacher as a dashed line.

    Args:
        summary: the content of ``summary.json``.
        shown: the arms to draw in colour, if not all.
    """
    arms = {arm["name"]: arm for arm in summary["arms"]}
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
            seeds = [s["test"]["errors"] for s in arms[name]["seeds"] if s["test"]["errors"] is not None]
            (_draw_errors_flat if many else _draw_errors)(axes, height, seeds, styles[name])
        teacher = summary["teacher"]
        if teacher is not None and teacher["test"]["errors"] is not None:
            errors = teacher["test"]["errors"]
            axes.axvline(errors, color=TEACHER, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
            axes.annotate(
                f"teacher {count(errors)}", (errors, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
                textcoords="offset points", ha="center", va="bottom", color=TEACHER, fontsize=8.5,
            )  # fmt: skip
        axes.set_yticks(list(heights.values()), shorten_apart(list(heights), 52 if many else 30))
        axes.set_ylim(max(heights.values(), default=0) + 0.7, -0.7)
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
        axes.set_xlabel(f"errors of {summary['data']['test']:,} test samples (fewer is better)")
        only_grid(axes, "x")
        axes.spines["left"].set_visible(False)
        return to_svg(figure, "errors", "Test errors of every arm, seed by seed, beside the teacher")


def _draw_errors(axes: Axes, height: float, seeds: Sequence[float], style: Style) -> None:
    if not seeds:
        return
    colour, mean, bounds = style.colour, float(np.mean(seeds)), t_interval(seeds)
    if bounds:
        dots = [height + 0.16] * len(seeds)
        axes.plot(seeds, dots, "o", color=colour, alpha=0.55, markersize=4.5, markeredgewidth=0)
        axes.plot(bounds, [height - 0.1] * 2, color=colour, linewidth=2.2, zorder=2)
    axes.plot([mean], [height - 0.1], "D", color=colour, markersize=5.5, markeredgecolor="white", zorder=3)
    text = tenths(mean) if len(seeds) > 1 else count(mean)
    axes.annotate(
        text, (mean, height - 0.1), xytext=(0, 6), textcoords="offset points", ha="center",
        va="bottom", fontsize=8.5, color=INK, bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 0.3},
    )  # fmt: skip


def _draw_errors_flat(axes: Axes, height: float, seeds: Sequence[float], style: Style) -> None:
    """The same on one line, the number beside it: for many arms."""
    if not seeds:
        return
    mean, bounds = float(np.mean(seeds)), t_interval(seeds)
    if bounds:
        axes.plot(bounds, [height] * 2, color=style.colour, linewidth=1.8, zorder=2)
        axes.plot(seeds, [height] * len(seeds), "|", color=style.colour, markersize=6, zorder=2)
    axes.plot([mean], [height], "D", color=style.colour, markersize=4.5, markeredgecolor="white", zorder=3)
    axes.annotate(
        tenths(mean) if len(seeds) > 1 else count(mean), (max([*seeds, *(bounds or ())]), height), xytext=(5, 0),
        textcoords="offset points", va="center", fontsize=8, color=INK,
    )  # fmt: skip


def recall_heat_map(models: Sequence[tuple[str, NDArray]], classes: Sequence[str]) -> HeatMap:
    """Recall per class of every model: numbers in %, darker where more is missed.

    Args:
        models: ``(name, recall per class)``, the teacher first.
        classes: names of the classes.

    Returns:
        The SVG, how many classes it shows (all, or the hardest 100 where there are more) and the recall in %
        that is darkest.
    """
    values = 100 * np.array([recall for _, recall in models])
    shown = np.arange(len(classes))
    if len(classes) > MOST_CLASSES:
        hardness = np.where(np.isnan(values).all(axis=0), np.inf, np.nan_to_num(values, nan=100).mean(axis=0))
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
        for axes, block in zip(figure.subplots(len(blocks), 1, squeeze=False)[:, 0], blocks, strict=True):
            _draw_recall(axes, values[:, block], floor, numbers=len(shown) <= NUMBERS_UP_TO)
            axes.set_xlim(-0.5, len(blocks[0]) - 0.5)
            axes.set_xticks(range(len(block)), [names[i] for i in block], rotation=90 if slanted else 0)
            axes.set_yticks(range(len(models)), [shorten(name, 22) for name, _ in models])
            axes.tick_params(labelsize=7.5 if len(blocks[0]) > 12 else 8.5)
        svg = to_svg(figure, "recall", "Recall of every class, teacher and arms")
        return HeatMap(svg, len(shown), floor)


def _draw_recall(axes: Axes, values: NDArray, floor: float, *, numbers: bool) -> None:
    missed = np.ma.masked_invalid(100 - values)
    edges = np.arange(values.shape[1] + 1) - 0.5, np.arange(values.shape[0] + 1) - 0.5
    axes.pcolormesh(*edges, missed, cmap=_MISSED, vmin=0, vmax=100 - floor, edgecolors="white", linewidth=1)
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
            column, row, text, ha="center", va="center", color="white" if dark else INK,
            fontsize=8.5 if decimals else 7.5,
        )  # fmt: skip


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
            axes.text(0.96, 0.06, text, transform=axes.transAxes, ha="right", color=INK, fontsize=8.5)
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
    axes.scatter(confidence, accuracy, s=area, color=colour, alpha=0.85, linewidth=0.6, edgecolor="white", zorder=3)
    axes.set_xlim(-4, 104)
    axes.set_ylim(-4, 104)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
    axes.grid(True)
    axes.tick_params(length=0)
