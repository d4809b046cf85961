"""A heat map of the recall of every class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from limbeck.report.figures.predictions import Predictions, hidden_arms, models_of
from limbeck.report.figures.statistics import mean_recall
from limbeck.report.figures.style import (
    PAGE,
    WIDTH,
    canvas,
    figure_settings,
    ink_on_shade,
    only_grid,
    shades,
    shorten,
    shorten_apart,
)
from limbeck.report.figures.svg import ReportFigure, to_svg
from limbeck.run.summary import Summary

MAX_CLASSES = 100
MAX_LETTERS = 26
"""Longest name of a class that is not shortened."""
CLASSES_PER_ROW = 20


@dataclass(frozen=True)
class HeatMap:
    """A heat map of recall.

    Attributes:
        svg: Drawing as an SVG element.
        classes: Number of classes in the drawing.
        lowest: Recall in % of the last shade.
    """

    svg: str
    classes: int
    lowest: float


def recall_by_class(summary: Summary, predictions: Predictions) -> ReportFigure | None:
    """Draw the recall of every class for the teacher and the arms, mean over seeds.

    Returns:
        The figure, or None if there are no predictions.
    """
    models = models_of(summary, predictions)
    if not models:
        return None
    classes = list(summary.classes)
    if len(classes) != predictions.classes:
        classes = [str(i) for i in range(predictions.classes)]
    recalls = [(model.name, mean_recall(predictions, model.predictions)) for model in models]
    heat_map = recall_heat_map(recalls, classes)
    caption = (
        "Each cell is the share of the test samples of a class that a model assigns to this "
        "class, in %, mean over seeds. The more a cell stands out from the page, the lower the "
        f"recall: the shades run from 100 % to {heat_map.lowest:.1f} %."
    )
    if heat_map.classes < len(classes):
        caption += (
            f" Only the {heat_map.classes} of {len(classes)} classes with the lowest recall are "
            "drawn."
        )
    return ReportFigure("Recall by class", heat_map.svg, caption + hidden_arms(summary))


def recall_heat_map(
    recalls: Sequence[tuple[str, NDArray[np.float64]]], classes: Sequence[str]
) -> HeatMap:
    """Draw the recall in % of every class and model, in stronger shades where it is lower.

    Only the 100 classes with the lowest recall are drawn.

    Args:
        recalls: Name and recall per class ``[C]`` of each model, the teacher first.
        classes: Names of the classes.
    """
    values = 100 * np.array([recall for _, recall in recalls])
    columns = _lowest_recall(values, MAX_CLASSES)
    lowest = min(float(np.nanmin(values[:, columns])), 99.0)
    names = [shorten(name, MAX_LETTERS) for name in classes]
    models = shorten_apart([name for name, _ in recalls], 22)
    letters = max(len(names[i]) for i in columns)
    per_row = min(len(columns), CLASSES_PER_ROW)
    fits_across = letters * 0.075 <= 5.6 / per_row
    cells = Cells(values[:, columns], [names[i] for i in columns], models, lowest)
    with figure_settings():
        figure = _classes_across(cells) if fits_across else _classes_down(cells, letters)
        svg = to_svg(figure, "recall", "Recall of every class, teacher and arms")
    return HeatMap(svg, len(columns), lowest)


@dataclass(frozen=True)
class Cells:
    """The numbers of a heat map.

    Attributes:
        values: Recall in % of each model and class.
        classes: Names of the classes.
        models: Names of the models.
        lowest: Recall in % of the last shade.
    """

    values: NDArray[np.float64]
    classes: list[str]
    models: list[str]
    lowest: float


def _classes_across(cells: Cells) -> Figure:
    """A column for each class, for few classes with short names."""
    classes = len(cells.classes)
    blocks = np.array_split(np.arange(classes), math.ceil(classes / CLASSES_PER_ROW))
    width = len(blocks[0])
    figure = canvas(len(blocks) * (0.25 * len(cells.models) + 0.37) + 0.1)
    grid = figure.subplots(len(blocks), 1, squeeze=False)[:, 0]
    for axes, block in zip(grid, blocks, strict=True):
        _draw_cells(axes, cells.values[:, block], cells.lowest, decimals=int(width <= 12))
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_xticks(range(len(block)), [cells.classes[i] for i in block])
        axes.set_yticks(range(len(cells.models)), cells.models)
        axes.tick_params(labelsize=7.5 if width > 12 else 8.5)
    return figure


def _classes_down(cells: Cells, letters: int) -> Figure:
    """A row for each class, for many classes or long names."""
    cell = 0.48 if len(cells.models) <= 3 else 0.3
    longest = max(map(len, cells.models))
    is_vertical = 0.065 * longest > cell
    header = 0.07 * longest + 0.15 if is_vertical else 0.25
    block_width = 0.068 * letters + 0.2 + cell * len(cells.models)
    columns = min(max(1, int(WIDTH / block_width)), math.ceil(len(cells.classes) / 5))
    blocks = np.array_split(np.arange(len(cells.classes)), columns)
    height = len(blocks[0])
    figure = canvas(0.17 * height + header + 0.1)
    grid = figure.subplots(1, columns, squeeze=False)[0]
    for axes, block in zip(grid, blocks, strict=True):
        _draw_cells(axes, cells.values[:, block].T, cells.lowest, decimals=0)
        axes.set_ylim(height - 0.5, -0.5)
        rotation = 90 if is_vertical else 0
        axes.set_xticks(range(len(cells.models)), cells.models, rotation=rotation)
        axes.set_yticks(range(len(block)), [cells.classes[i] for i in block])
        axes.tick_params(labelsize=7.5)
    return figure


def _lowest_recall(values: NDArray[np.float64], limit: int) -> NDArray[np.int64]:
    """Indices of the classes with the lowest mean recall, ascending; unknown recall ranks last."""
    classes = values.shape[1]
    if classes <= limit:
        return np.arange(classes)
    is_unknown = np.isnan(values).all(axis=0)
    means = np.nan_to_num(values, nan=100).mean(axis=0)
    ranked = np.argsort(np.where(is_unknown, np.inf, means), kind="stable")
    return np.sort(ranked[:limit])


def _draw_cells(axes: Axes, values: NDArray[np.float64], lowest: float, *, decimals: int) -> None:
    miss_rate = np.ma.masked_invalid(100 - values)
    rows, columns = values.shape
    axes.pcolormesh(
        np.arange(columns + 1) - 0.5,
        np.arange(rows + 1) - 0.5,
        miss_rate,
        cmap=shades(),
        vmin=0,
        vmax=100 - lowest,
        edgecolors=PAGE,
        linewidth=1,
    )
    axes.invert_yaxis()
    axes.xaxis.tick_top()
    only_grid(axes, "none")
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(values):
        axes.text(
            column,
            row,
            _percentage(value, decimals),
            ha="center",
            va="center",
            color=ink_on_shade(100 - value, 0, 100 - lowest),
            fontsize=8.5 if decimals else 7.5,
        )


def _percentage(value: float, decimals: int) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.{decimals}f}" if value < 100 else "100"
