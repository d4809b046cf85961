"""Results against the size of the model file and the latency."""

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from limbeck.report.arm_styles import TEACHER, styles_of
from limbeck.report.cost import RUNTIME_NAMES
from limbeck.report.figures.axes import log_ticks, set_y_label, set_y_limits
from limbeck.report.figures.style import INK, PAGE, canvas, figure_settings, legend, only_grid
from limbeck.report.figures.svg import ReportFigure, to_svg
from limbeck.report.formats import file_size, is_number
from limbeck.report.measure_wording import wording_of
from limbeck.run.cost import Cost, CostRow
from limbeck.run.summary import Summary

_MARKERS = {("torch", "fp32"): "s", ("onnx", "fp32"): "o", ("onnx", "int8"): "v"}


def results_by_cost(summary: Summary, cost: Cost) -> ReportFigure | None:
    """Draw the results against the size of the file and the latency on one core.

    Returns:
        The figure, or None if no model has a result.
    """
    words = wording_of(summary)
    values = [(row, getattr(row, words.measure.key, None)) for row in cost.rows]
    points = [(row, value) for row, value in values if is_number(value)]
    if not points:
        return None
    colours = _colours([row for row, _ in points], summary)
    with figure_settings():
        figure = canvas(3.2)
        left, right = figure.subplots(1, 2, sharey=True)
        for row, value in points:
            marker, colour = _MARKERS[row.runtime, row.precision], colours[row.model]
            if row.runtime == "onnx":
                _draw_point(left, row.bytes, value, marker, colour)
            low, high = row.one_core.quartiles
            right.hlines(value, low, high, color=colour, linewidth=1.4, alpha=0.7)
            _draw_point(right, row.one_core.median, value, marker, colour)
        _finish(left, "size of the file", file_size)
        _finish(right, "latency on one core, ms", lambda value: f"{value:.3g}")
        set_y_limits(left, [value for _, value in points], words)
        set_y_label(left, words, summary.data)
        handles = _handles(colours, [row for row, _ in points])
        legend(figure, list(handles.values()), list(handles))
        label = f"{words.title} against file size and latency of each model"
        svg = to_svg(figure, "cost", label)
    title = f"{words.unit.capitalize()} against size and latency"
    caption = "Bars are the quartiles of the latency. Lower left is better in both panels."
    return ReportFigure(title, svg, caption)


def _colours(rows: list[CostRow], summary: Summary) -> dict[str, str]:
    """The colour of each model, as in all figures."""
    styles = styles_of(summary)
    names = dict.fromkeys(row.model for row in rows)
    return {name: styles[name].colour if name in styles else TEACHER for name in names}


def _draw_point(axes: Axes, x: float, y: float, marker: str, colour: str) -> None:
    axes.plot([x], [y], marker, color=colour, markersize=7, markeredgecolor=PAGE, zorder=3)


def _finish(axes: Axes, title: str, text_of: Callable[[float], str]) -> None:
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(FixedLocator(log_ticks(*axes.get_xlim())))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: text_of(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(title)
    only_grid(axes, "y")


def _handles(colours: dict[str, str], rows: list[CostRow]) -> dict[str, Line2D]:
    """Entries of the legend: the models by colour, then the runtimes by marker."""
    handles = {}
    for name, colour in colours.items():
        handles[name] = Line2D([], [], marker="o", linestyle="none", color=colour)
    runtimes = {(row.runtime, row.precision) for row in rows}
    for key, name in RUNTIME_NAMES.items():
        if key in runtimes:
            marker = _MARKERS[key]
            handles[name] = Line2D(
                [], [], marker=marker, linestyle="none", color=INK, fillstyle="none"
            )
    return handles
