"""The figures of sweeps: results against temperature, over two settings, and against the size of
the student.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from limbeck.report.families import control_of, families, is_control, labels, settings
from limbeck.report.figures.axes import Drawn, apart, frame, name_height
from limbeck.report.figures.drawing import (
    COLOURS,
    INK,
    QUIET,
    TEACHER,
    canvas,
    drawing,
    legend,
    only_grid,
    shorten,
    to_svg,
)
from limbeck.report.figures.size import by_size
from limbeck.report.figures.statistics import t_interval
from limbeck.report.judged_by import Arm, Measure, measure_of

MOST_PANELS = 6
MOST_LINES = 8
T = "objective.temperature"
SWEPT = {
    T: "temperature T",
    "objective.soft_weight": "soft weight",
    "objective.hard_weight": "hard weight",
    "optimizer.lr": "learning rate",
}
_ERRORS = LinearSegmentedColormap.from_list(
    "errors", ["#f4f8fb", "#bcd9ea", "#7fb2d3", "#1c679f", "#08406b"]
)


def sweep_figures(summary: Mapping[str, Any]) -> list[Drawn]:
    """The figures that a study's arms allow: each needs arms that are equal but for what it shows."""
    measure = measure_of(summary)
    if any(measure.of(arm["mean"]) is None for arm in summary["arms"]):
        return []
    makers: tuple[Callable[[Mapping[str, Any]], Drawn | None], ...] = (
        by_temperature,
        over_two_settings,
        by_size,
    )
    return [drawn for make in makers if (drawn := make(summary)) is not None]


# Temperature --------------------------------------------------------------------------------------


def by_temperature(summary: Mapping[str, Any]) -> Drawn | None:
    """Means against T, where arms that are otherwise equal have at least three temperatures; else
    None.

    A panel for each control, a line for each family of arms: mean over seeds with its 95 %
    t-interval.
    """
    measure = measure_of(summary)
    arms = [
        arm for arm in summary["arms"] if not is_control(arm) and settings(arm).get(T) is not None
    ]
    lines = [
        family for family in families(arms, [T]) if len({settings(arm)[T] for arm in family}) >= 3
    ]
    panels = _by_control(lines, summary)
    if not panels:
        return None
    told = [
        labels(families_, [T], control["name"] if control else "") for control, families_ in panels
    ]
    names = list(dict.fromkeys(name for row in told for name in row))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    few = len(names) <= 3 and len(panels) == 1
    with drawing():
        figure, grid = _panels(len(panels), 3.4)
        for axes, (control, rows), row in zip(grid, panels, told, strict=True):
            values = _draw_levels(axes, control, summary)
            for i, (name, family) in enumerate(zip(row, rows, strict=True)):
                values += _draw_line(
                    axes, family, measure, colours[name], i - (len(rows) - 1) / 2, dots=few
                )
            _finish_temperatures(
                axes, [settings(arm)[T] for family in rows for arm in family], values, measure
            )
            if len(panels) > 1:
                axes.set_title(
                    shorten(
                        control["name"] if control else "no control",
                        40 if len(panels) in (2, 4) else 24,
                    )
                )
        name_height(grid[0], measure, summary["data"])
        handles = [
            Line2D([], [], color=colours[name], marker="o", markersize=4, linewidth=1.6)
            for name in names
        ]
        legend(figure, [*handles, *_LEVELS.values()], [*names, *_LEVELS])
        svg = to_svg(
            figure, "temperature", f"{measure.title} against the temperature of the soft loss"
        )
    caption = (
        "Point and bar: mean over seeds and its 95 % interval. Band: that interval of the control."
    )
    caption += " Dots: seeds." if few else ""
    left_out = len(lines) - sum(len(rows) for _, rows in panels)
    if left_out:
        caption += f" Left out: {left_out} lines with more validation {measure.noun}."
    if len(panels) > 1:
        caption += " A panel for each control; its scale is its own."
    return Drawn(f"{measure.noun.capitalize()} against temperature", svg, caption)


_LEVELS = {
    "control": Line2D([], [], color=QUIET, linestyle=(0, (5, 2)), linewidth=1.3),
    "teacher": Line2D([], [], color=TEACHER, linestyle=(0, (1, 1.6)), linewidth=1.5),
}


def _by_control(
    lines: Sequence[list[Arm]], summary: Mapping[str, Any]
) -> list[tuple[Arm | None, list[list[Arm]]]]:
    """The families under their controls, in each the ones that are best on the validation split."""
    panels: dict[str, tuple[Arm | None, list[list[Arm]]]] = {}
    for family in lines:
        control = control_of(family[0], summary)
        panels.setdefault(control["name"] if control else "", (control, []))[1].append(family)

    def best(family: list[Arm]) -> float:
        return min(measure_of(summary).on_validation(arm) for arm in family)

    kept = sorted(panels.values(), key=lambda panel: min(map(best, panel[1])))[:MOST_PANELS]
    shown = [panel for panel in panels.values() if panel in kept]
    limited = [sorted(rows, key=best)[:MOST_LINES] for _, rows in shown]
    return [
        (control, [family for family in rows if family in some])
        for (control, rows), some in zip(shown, limited, strict=True)
    ]


def _draw_levels(axes: Axes, control: Arm | None, summary: Mapping[str, Any]) -> list[float]:
    """Control and teacher as levels; the heights that should be in the frame."""
    values, measure = [], measure_of(summary)
    if control is not None:
        seeds = measure.of_seeds(control)
        level = float(np.mean(seeds))
        axes.axhline(level, color=QUIET, linestyle=(0, (5, 2)), linewidth=1.3, zorder=1.5)
        bounds = t_interval(seeds)
        if bounds:
            axes.axhspan(*bounds, color=QUIET, alpha=0.12, linewidth=0)
        values += [level, *(bounds if bounds and len(seeds) > 2 else seeds)]
    teacher = None if summary["teacher"] is None else measure.of(summary["teacher"]["test"])
    if teacher is not None:
        axes.axhline(teacher, color=TEACHER, linestyle=(0, (1, 1.6)), linewidth=1.5)
        values.append(teacher)
    return values


def _draw_line(
    axes: Axes, family: Sequence[Arm], measure: Measure, colour: str, place: float, *, dots: bool
) -> list[float]:
    """A family: means with intervals, moved aside a little so that lines do not hide each other."""
    ordered = sorted(family, key=lambda arm: settings(arm)[T])
    at = [settings(arm)[T] * 1.035**place for arm in ordered]
    means = [float(np.mean(measure.of_seeds(arm))) for arm in ordered]
    axes.plot(at, means, color=colour, marker="o", markersize=4.5, linewidth=1.6, zorder=3)
    values = list(means)
    for x, arm in zip(at, ordered, strict=True):
        seeds = measure.of_seeds(arm)
        bounds = t_interval(seeds)
        if bounds:
            axes.vlines(x, *bounds, color=colour, linewidth=1.3, alpha=0.75, zorder=2)
        if dots and len(seeds) > 1:
            axes.plot(
                [x] * len(seeds),
                seeds,
                "o",
                color=colour,
                alpha=0.35,
                markersize=3.2,
                markeredgewidth=0,
            )
        values += bounds if bounds and len(seeds) > 2 else seeds
    return values


def _finish_temperatures(
    axes: Axes, temperatures: Sequence[float], values: Sequence[float], measure: Measure
) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(apart(sorted(set(temperatures)))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("temperature T")
    frame(axes, values, measure)
    only_grid(axes, "y")


# Two settings -------------------------------------------------------------------------------------


def over_two_settings(summary: Mapping[str, Any]) -> Drawn | None:
    """Means over two swept settings, such as T and the soft weight; None if no two were swept
    together.

    A panel for each family of arms; its best cell on the validation split is outlined.
    """
    measure = measure_of(summary)
    arms = [arm for arm in summary["arms"] if not is_control(arm)]
    pair, maps = max(
        ((pair, _maps(arms, pair)) for pair in combinations(SWEPT, 2)),
        key=lambda found: _cells(found[1]),
    )
    if not maps:
        return None
    shown = sorted(maps, key=lambda family: min(map(measure.on_validation, family)))[:MOST_PANELS]
    shown = [family for family in maps if family in shown]
    tall = max(len({settings(arm)[pair[1]] for arm in family}) for family in shown)
    with drawing():
        figure, grid = _panels(len(shown), 0.95 + 0.34 * tall)
        for axes, family, name in zip(grid, shown, labels(shown, pair), strict=True):
            _draw_map(axes, family, measure, pair, small=len(shown) > 1)
            if len(shown) > 1:
                axes.set_title(shorten(name, 40 if len(shown) in (2, 4) else 24))
        svg = to_svg(
            figure, "settings", f"Mean {measure.lower} by {SWEPT[pair[0]]} and {SWEPT[pair[1]]}"
        )
    caption = f"Mean {measure.lower} over seeds; darker is more. Outlined: the fewest {measure.noun} on the validation split."
    if len(shown) > 1:
        caption += " Colours compare within a panel."
    if len(shown) < len(maps):
        kept = f"{len(shown)} of {len(maps)} groups of arms"
        caption += f" Shown: {kept}, those with the fewest validation {measure.noun}."
    return Drawn(
        f"{measure.noun.capitalize()} by {SWEPT[pair[0]]} and {SWEPT[pair[1]]}", svg, caption
    )


def _maps(arms: Sequence[Arm], pair: Sequence[str]) -> list[list[Arm]]:
    """Families in which both settings have several values, and not just along a diagonal."""
    found = []
    for family in families(
        [arm for arm in arms if all(settings(arm).get(key) is not None for key in pair)], pair
    ):
        sides = [len({settings(arm)[key] for arm in family}) for key in pair]
        if min(sides) >= 2 and len(family) > max(sides):
            found.append(family)
    return found


def _cells(maps: Sequence[Sequence[Arm]]) -> int:
    return sum(len(family) for family in maps)


def _draw_map(
    axes: Axes, family: Sequence[Arm], measure: Measure, pair: Sequence[str], *, small: bool
) -> None:
    columns, rows = (sorted({settings(arm)[key] for arm in family}) for key in pair)
    values = np.full((len(rows), len(columns)), np.nan)
    for arm in family:
        row, column = rows.index(settings(arm)[pair[1]]), columns.index(settings(arm)[pair[0]])
        values[row, column] = np.mean(measure.of_seeds(arm))
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    edges = np.arange(len(columns) + 1) - 0.5, np.arange(len(rows) + 1) - 0.5
    axes.pcolormesh(
        *edges, np.ma.masked_invalid(values), cmap=_ERRORS, vmin=low, vmax=high, edgecolors="white"
    )
    for (row, column), value in np.ndenumerate(values):
        if math.isnan(value):
            continue
        dark = value > low + 0.55 * (high - low)
        size = 8.5 if len(columns) * (3 if small else 1) <= 15 else 7
        text = measure.mean(value)
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=size,
            color="white" if dark else INK,
        )
    best = min(family, key=measure.on_validation)
    corner = (
        columns.index(settings(best)[pair[0]]) - 0.46,
        rows.index(settings(best)[pair[1]]) - 0.46,
    )
    axes.add_patch(
        Rectangle(corner, 0.92, 0.92, fill=False, edgecolor="#d55e00", linewidth=2.2, gid="best")
    )
    axes.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
    axes.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
    axes.set_xlabel(SWEPT[pair[0]])
    axes.set_ylabel(SWEPT[pair[1]])
    only_grid(axes, "none")
    axes.spines[:].set_visible(False)


def _panels(number: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, up to three in a row; those not needed are not there."""
    columns = 2 if number == 4 else min(3, number)
    rows = math.ceil(number / columns)
    figure = canvas(0.4 + height * rows if columns < 3 else 0.4 + 0.8 * height * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[number:]:
        axes.remove()
    return figure, list(grid[:number])
