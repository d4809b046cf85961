"""The results of a search against what the students cost, with the Pareto front."""

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from limbeck.report.arm_styles import MARKERS, OTHER
from limbeck.report.figures.axes import log_ticks, set_y_limits
from limbeck.report.figures.style import (
    INK,
    PAGE,
    QUIET,
    canvas,
    figure_settings,
    legend,
    only_grid,
)
from limbeck.report.figures.svg import ReportFigure, to_svg
from limbeck.report.measure_wording import wording_of
from limbeck.report.palette import light
from limbeck.report.search import CostAxis, cost_axis, measure_of_search
from limbeck.run.search import Search, Trial, value_of
from limbeck.run.summary import Summary

FRONT = light("arm-1")
CHOICE = light("arm-2")


def results_of_search(summary: Summary, search: Search) -> ReportFigure | None:
    """Draw every student of a search, the Pareto front and the chosen student.

    Returns:
        The figure, or None with fewer than two results.
    """
    results = search.results
    axis = cost_axis(search)
    if len(results) < 2 or min(map(axis.value, results)) <= 0:
        return None
    words, front = wording_of(summary), search.front()
    with figure_settings():
        figure = canvas(3.2)
        axes = figure.subplots()
        shapes = _shapes(results)
        for trial in results:
            is_best = trial in front
            _draw(axes, axis, trial, shapes[_kind(trial)], FRONT if is_best else OTHER.colour)
        axes.step(
            [axis.value(trial) for trial in front],
            [value_of(trial) for trial in front],
            where="post",
            color=FRONT,
            linewidth=1.0,
            zorder=1.8,
        )
        winner = search.winner
        if winner is not None:
            _draw(axes, axis, winner, shapes[_kind(winner)], CHOICE, size=9)
        _finish(axes, axis, [axis.value(trial) for trial in results])
        set_y_limits(axes, [value_of(trial) for trial in results], words)
        unit = measure_of_search(search).unit
        axes.set_ylabel(f"{unit} on {search.validation:,} validation samples")
        handles = _handles(shapes)
        legend(figure, list(handles.values()), list(handles))
        svg = to_svg(figure, "search", f"Validation {unit} of the students against {axis.title}")
    caption = (
        "One point for each student of the search; lower left is better. The line is the Pareto "
        "front: no other student is both cheaper and better."
    )
    if axis.limit is not None and max(map(axis.value, results)) > 0.3 * axis.limit:
        caption += " The dashed line is the budget."
    return ReportFigure("Students of the search", svg, caption)


def _kind(trial: Trial) -> str:
    return str(trial.settings["student"])


def _shapes(results: list[Trial]) -> dict[str, str]:
    """The shape of the points of each kind of student."""
    kinds = dict.fromkeys(map(_kind, results))
    return {kind: MARKERS[number % len(MARKERS)] for number, kind in enumerate(kinds)}


def _draw(
    axes: Axes, axis: CostAxis, trial: Trial, shape: str, colour: str, *, size: float = 6
) -> None:
    axes.plot(
        [axis.value(trial)],
        [value_of(trial)],
        shape,
        color=colour,
        markersize=size,
        markeredgecolor=PAGE,
        zorder=2 if colour == OTHER.colour else 3,
    )


def _finish(axes: Axes, axis: CostAxis, costs: list[float]) -> None:
    axes.set_xscale("log")
    axes.margins(x=0.08)
    if axis.limit is not None and max(costs) > 0.3 * axis.limit:
        axes.axvline(axis.limit, color=QUIET, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1)
    axes.xaxis.set_major_locator(FixedLocator(log_ticks(*axes.get_xlim())))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: axis.text(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(axis.title)
    only_grid(axes, "y")


def _handles(shapes: dict[str, str]) -> dict[str, Line2D]:
    """Entries of the legend: kinds by shape, then what the colours mean."""
    handles = {}
    for kind, shape in shapes.items():
        handles[kind] = Line2D(
            [], [], marker=shape, linestyle="none", color=INK, fillstyle="none", markersize=6
        )
    for name, colour in (("Pareto front", FRONT), ("chosen", CHOICE)):
        handles[name] = Line2D([], [], marker="o", linestyle="none", color=colour, markersize=6)
    return handles
