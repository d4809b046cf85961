"""Heat maps of the results over two settings of a sweep."""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from limbeck.evaluation.measure import measure_of
from limbeck.report.families import Family, families, is_control, labels, settings
from limbeck.report.figures.panels import MAX_PANELS, columns_of, make_panels, set_panel_title
from limbeck.report.figures.style import (
    INK,
    PAGE,
    WIDTH,
    figure_settings,
    ink_on_shade,
    only_grid,
    shades,
)
from limbeck.report.figures.svg import ReportFigure, to_svg
from limbeck.report.measure_wording import wording_of
from limbeck.report.wording_base import MeasureWording
from limbeck.run.summary import ArmResult, Summary

SETTING_LABELS = {
    "objective.temperature": "temperature T",
    "objective.soft_weight": "soft weight",
    "objective.hard_weight": "hard weight",
    "optimizer.lr": "learning rate",
}
"""Axis labels of the settings that heat maps support."""

ROOM_FOR_AXIS = 0.65
"""Inches of a panel that its labels take."""

Pair = tuple[str, str]


def by_two_settings(summary: Summary) -> ReportFigure | None:
    """Draw the means over two settings, such as temperature and soft weight.

    There is a panel for each family of arms; its best cell on the validation split is outlined.

    Returns:
        The figure, or None if no two settings were swept together.
    """
    words, measure = wording_of(summary), measure_of(summary)
    pair, maps = _largest_maps(summary)
    if not maps:
        return None
    best = sorted(maps, key=lambda family: min(map(measure.validation_mean, family)))
    panels = [family for family in maps if family in best[:MAX_PANELS]]
    rows = max(len(_values(family, pair[1])) for family in panels)
    names = f"{SETTING_LABELS[pair[0]]} and {SETTING_LABELS[pair[1]]}"
    with figure_settings():
        figure, grid = make_panels(len(panels), 0.95 + 0.34 * rows)
        for axes, family, name in zip(grid, panels, labels(panels, pair), strict=True):
            _draw_map(axes, family, words, pair, WIDTH / columns_of(len(panels)))
            set_panel_title(axes, name, len(panels))
        svg = to_svg(figure, "settings", f"Mean {words.title_in_sentence} by {names}")
    title = f"{words.unit.capitalize()} by {names}"
    return ReportFigure(title, svg, _caption(words, len(panels), len(maps)))


def _caption(words: MeasureWording, panels: int, maps: int) -> str:
    sentences = [
        f"Each cell is the mean of {words.title_in_sentence} over seeds.",
        "The more a cell stands out from the page, the higher its value.",
        f"The outlined cell has the {words.least} {words.unit} on the validation split.",
    ]
    if panels > 1:
        sentences.append("Colours are comparable only within a panel.")
    if panels < maps:
        sentences.append(
            f"Only {panels} of {maps} groups of arms are drawn: those with the {words.least} "
            f"validation {words.unit}."
        )
    return " ".join(sentences)


def _largest_maps(summary: Summary) -> tuple[Pair, list[Family]]:
    """Find the pair of settings with the most arms in its maps; return both."""
    arms = [arm for arm in summary.arms if not is_control(arm)]
    candidates = [(pair, _maps(arms, pair)) for pair in combinations(SETTING_LABELS, 2)]
    return max(candidates, key=lambda candidate: sum(map(len, candidate[1])))


def _maps(arms: Sequence[ArmResult], pair: Pair) -> list[Family]:
    """Families that form a grid: both settings have several values, not only along a diagonal."""
    maps = []
    for key in pair:
        arms = [arm for arm in arms if settings(arm).get(key) is not None]
    for family in families(arms, pair):
        sides = [len(_values(family, key)) for key in pair]
        if min(sides) >= 2 and len(family) > max(sides):
            maps.append(family)
    return maps


def _values(family: Family, key: str) -> list[float]:
    return sorted({settings(arm)[key] for arm in family})


def _draw_map(axes: Axes, family: Family, words: MeasureWording, pair: Pair, width: float) -> None:
    """Draw a map on a panel of ``width`` inches."""
    columns, rows = _values(family, pair[0]), _values(family, pair[1])

    def cell(arm: ArmResult) -> tuple[int, int]:
        values = settings(arm)
        return rows.index(values[pair[1]]), columns.index(values[pair[0]])

    means = np.full((len(rows), len(columns)), np.nan)
    for arm in family:
        means[cell(arm)] = np.mean(words.measure.seed_values(arm))
    low, high = float(np.nanmin(means)), float(np.nanmax(means))
    axes.pcolormesh(
        np.arange(len(columns) + 1) - 0.5,
        np.arange(len(rows) + 1) - 0.5,
        np.ma.masked_invalid(means),
        cmap=shades(),
        vmin=low,
        vmax=high,
        edgecolors=PAGE,
    )
    longest = max(len(words.mean(mean)) for mean in means[~np.isnan(means)])
    size = _font_size(longest, (width - ROOM_FOR_AXIS) / len(columns))
    for (row, column), mean in np.ndenumerate(means):
        if math.isnan(mean) or not size:
            continue
        axes.text(
            column,
            row,
            words.mean(mean),
            ha="center",
            va="center",
            fontsize=size,
            color=ink_on_shade(mean, low, high),
        )
    _outline(axes, *cell(min(family, key=words.measure.validation_mean)))
    axes.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
    axes.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
    axes.set_xlabel(SETTING_LABELS[pair[0]])
    axes.set_ylabel(SETTING_LABELS[pair[1]])
    only_grid(axes, "none")
    axes.spines[:].set_visible(False)


def _font_size(letters: int, width: float) -> float:
    """The size of numbers in cells of ``width`` inches; 0 if they do not fit."""
    for size in (8.5, 7.0, 6.0):
        if 0.66 * size * letters / 72 <= width:
            return size
    return 0.0


def _outline(axes: Axes, row: int, column: int) -> None:
    corner = (column - 0.46, row - 0.46)
    axes.add_patch(
        Rectangle(corner, 0.92, 0.92, fill=False, edgecolor=INK, linewidth=2.2, gid="best")
    )
