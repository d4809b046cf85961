"""Reliability diagrams: confidence against accuracy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator

from limbeck.report.figures.predictions import Predictions, hidden_arms, models_of
from limbeck.report.figures.statistics import Bins, pooled_bins
from limbeck.report.figures.style import INK, PAGE, QUIET, break_at_commas, canvas, figure_settings
from limbeck.report.figures.svg import ReportFigure, to_svg
from limbeck.report.formats import nats
from limbeck.run.summary import Summary

PANELS_PER_ROW = 3


@dataclass(frozen=True)
class Diagram:
    """One panel of the figure.

    Attributes:
        name: Name of the model.
        bins: Confidence and accuracy.
        colour: Colour of the model.
        ece: Expected calibration error; None to compute it from the bins.
    """

    name: str
    bins: Bins
    colour: str
    ece: float | None = None


def reliability(summary: Summary, predictions: Predictions) -> ReportFigure | None:
    """Draw a reliability diagram of the teacher and of each arm, all seeds together.

    Returns:
        The figure, or None if there are no predictions.
    """
    diagrams = []
    for model in models_of(summary, predictions):
        bins = pooled_bins(predictions.labels, model.predictions)
        diagrams.append(Diagram(model.name, bins, model.colour, model.ece))
    if not diagrams:
        return None
    caption = (
        "Each dot groups predictions of similar confidence, all seeds together. Larger dots hold "
        "more predictions. Below the diagonal a model is overconfident, above it underconfident. "
        "ECE is the mean over seeds, as in the table."
    )
    return ReportFigure("Reliability", draw_reliability(diagrams), caption + hidden_arms(summary))


def draw_reliability(diagrams: Sequence[Diagram]) -> str:
    """Draw one panel per model as an SVG element."""
    rows = math.ceil(len(diagrams) / PANELS_PER_ROW)
    with figure_settings():
        figure = canvas(0.75 + 2.3 * rows)
        grid = figure.subplots(rows, PANELS_PER_ROW, squeeze=False, sharex=True, sharey=True)
        panels = grid.ravel()
        for axes, diagram in zip(panels, diagrams, strict=False):
            _draw_diagram(axes, diagram)
        for axes in panels[len(diagrams) :]:
            axes.set_visible(False)
        for i in range(len(diagrams)):
            is_lowest = i + PANELS_PER_ROW >= len(diagrams)
            panels[i].tick_params(labelbottom=is_lowest)
            if is_lowest:
                panels[i].set_xlabel("confidence, %")
            if i % PANELS_PER_ROW == 0:
                panels[i].set_ylabel("accuracy, %")
        return to_svg(figure, "reliability", "Confidence against accuracy, one panel per model")


def _draw_diagram(axes: Axes, diagram: Diagram) -> None:
    bins, colour = diagram.bins, diagram.colour
    is_filled = bins.share > 0
    confidence = 100 * bins.confidence[is_filled]
    accuracy = 100 * bins.accuracy[is_filled]
    axes.plot([0, 100], [0, 100], color=QUIET, linewidth=0.9, linestyle=(0, (3, 2)))
    axes.vlines(confidence, confidence, accuracy, color=colour, linewidth=1.0, alpha=0.6)
    axes.scatter(
        confidence,
        accuracy,
        s=9 + 130 * bins.share[is_filled],
        color=colour,
        alpha=0.85,
        linewidth=0.6,
        edgecolor=PAGE,
        zorder=3,
    )
    axes.set_xlim(-4, 104)
    axes.set_ylim(-4, 104)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
    axes.grid(True)
    axes.tick_params(length=0)
    axes.set_title(break_at_commas(diagram.name, 24))
    ece = bins.ece if diagram.ece is None else diagram.ece
    axes.text(
        0.96,
        0.06,
        f"ECE {nats(ece)}",
        transform=axes.transAxes,
        ha="right",
        color=INK,
        fontsize=8.5,
    )
