"""Results against the temperature of the soft loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from limbeck.evaluation.measure import Measure, measure_of
from limbeck.report.arm_styles import MARKERS, OTHER, TEACHER, Style, style_of_family, styles_of
from limbeck.report.families import Family, control_of, families, is_control, labels, settings
from limbeck.report.figures.axes import set_y_label, set_y_limits, spaced_ticks
from limbeck.report.figures.panels import MAX_PANELS, columns_of, make_panels, set_panel_title
from limbeck.report.figures.statistics import t_interval
from limbeck.report.figures.style import INK, figure_settings, legend, only_grid
from limbeck.report.figures.svg import ReportFigure, to_svg
from limbeck.report.measure_wording import wording_of
from limbeck.report.wording_base import MeasureWording
from limbeck.run.summary import ArmResult, Summary

MAX_LINES = 8
"""Maximum number of lines in a panel."""
MIN_TEMPERATURES = 3
"""Minimum number of temperatures for a line."""
TEMPERATURE = "objective.temperature"


@dataclass(frozen=True)
class Panel:
    """The families of arms that are compared with one control.

    Attributes:
        control: Control of these arms. None if they have none.
        lines: Families whose arms differ only in temperature.
    """

    control: ArmResult | None
    lines: list[Family]

    def names(self) -> list[str]:
        """A name for each line."""
        return labels(self.lines, [TEMPERATURE], self.control.name if self.control else "")


@dataclass(frozen=True)
class Line:
    """A line of the figure.

    Attributes:
        family: Arms that differ only in temperature.
        styles: Style of each arm of the study.
        number: Number of the line in the legend.
        shift: Factor of the positions, so that lines do not hide each other.
        has_dots: Whether to draw single seeds.
    """

    family: Family
    styles: Mapping[str, Style]
    number: int
    shift: float
    has_dots: bool

    @property
    def style(self) -> Style:
        """Style of the line."""
        return style_of_family(self.number)

    @property
    def shape(self) -> str:
        """Shape of its points."""
        return MARKERS[self.number % len(MARKERS)]

    def colour_of(self, arm: ArmResult) -> str:
        """The colour of the arm, or of the line if the arm has none."""
        style = self.styles[arm.name]
        return self.style.colour if style == OTHER else style.colour

    def handle(self) -> Line2D:
        """Entry of the legend."""
        look: dict[str, Any] = {"color": self.style.colour, "linestyle": self.style.dash}
        return Line2D([], [], marker=self.shape, markersize=4, linewidth=1.6, **look)


def by_temperature(summary: Summary) -> ReportFigure | None:
    """Draw means and their 95 % t-intervals against the temperature.

    There is a panel for each control and a line for each family of arms that are otherwise equal.

    Returns:
        The figure, or None if no family has at least three temperatures.
    """
    words = wording_of(summary)
    lines = _lines(summary)
    panels = _panels(lines, summary)
    if not panels:
        return None
    styles = styles_of(summary)
    names = list(dict.fromkeys(name for panel in panels for name in panel.names()))
    has_dots = len(names) <= 3 and len(panels) == 1
    handles: dict[str, Line2D] = {}
    with figure_settings():
        figure, grid = make_panels(len(panels), 3.4)
        for axes, panel in zip(grid, panels, strict=True):
            values = _draw_levels(axes, panel.control, summary, styles)
            middle = (len(panel.lines) - 1) / 2
            for i, (name, line) in enumerate(zip(panel.names(), panel.lines, strict=True)):
                shift = 1.035 ** (i - middle)  # so that lines do not hide each other
                drawing = Line(line, styles, names.index(name), shift, has_dots)
                values += _draw_line(axes, drawing, words.measure)
                handles[name] = drawing.handle()
            temperatures = [_temperature(arm) for line in panel.lines for arm in line]
            _finish(axes, temperatures, values, words, 12 // columns_of(len(panels)))
            control = panel.control.name if panel.control else "no control"
            set_panel_title(axes, control, len(panels))
        set_y_label(grid[0], words, summary.data)
        handles |= _levels(panels, styles)
        legend(figure, list(handles.values()), list(handles))
        label = f"{words.title} against the temperature of the soft loss"
        svg = to_svg(figure, "temperature", label)
    hidden = len(lines) - sum(len(panel.lines) for panel in panels)
    title = f"{words.unit.capitalize()} against temperature"
    return ReportFigure(title, svg, _caption(words, len(panels), hidden, dots=has_dots))


def _levels(panels: Sequence[Panel], styles: Mapping[str, Style]) -> dict[str, Line2D]:
    """Entries of the legend for control and teacher."""
    colour = INK
    if len(panels) == 1 and panels[0].control is not None:
        colour = styles[panels[0].control.name].colour
    return {
        "control": Line2D([], [], color=colour, linestyle=(0, (5, 2)), linewidth=1.3),
        "teacher": Line2D([], [], color=TEACHER, linestyle=(0, (1, 1.6)), linewidth=1.5),
    }


def _caption(words: MeasureWording, panels: int, hidden: int, *, dots: bool) -> str:
    sentences = [
        "Points are means over seeds with the 95 % intervals of these means.",
        "Each has the colour of its arm, or of its line if the arm has none.",
        "The band is the interval of the control.",
    ]
    if dots:
        sentences.append("Small dots are single seeds.")
    if hidden:
        sentences.append(f"{hidden} lines with more validation {words.unit} are not drawn.")
    if panels > 1:
        sentences.append("There is a panel for each control, with a scale of its own.")
    return " ".join(sentences)


def _temperature(arm: ArmResult) -> float:
    return settings(arm)[TEMPERATURE]


def _lines(summary: Summary) -> list[Family]:
    arms = [arm for arm in summary.arms if not is_control(arm)]
    arms = [arm for arm in arms if settings(arm).get(TEMPERATURE) is not None]
    lines = families(arms, [TEMPERATURE])
    return [line for line in lines if len(set(map(_temperature, line))) >= MIN_TEMPERATURES]


def _panels(lines: Sequence[Family], summary: Summary) -> list[Panel]:
    """Group the lines by control; if there are too many, keep the best on validation."""
    measure = measure_of(summary)
    panels: dict[str, Panel] = {}
    for line in lines:
        control = control_of(line[0], summary)
        name = control.name if control else ""
        panels.setdefault(name, Panel(control, [])).lines.append(line)

    def best(line: Family) -> float:
        return min(map(measure.validation_mean, line))

    def best_of_panel(panel: Panel) -> float:
        return min(map(best, panel.lines))

    best_panels = sorted(panels.values(), key=best_of_panel)[:MAX_PANELS]
    panels_to_draw = []
    for panel in panels.values():
        if panel in best_panels:
            best_lines = sorted(panel.lines, key=best)[:MAX_LINES]
            lines = [line for line in panel.lines if line in best_lines]
            panels_to_draw.append(Panel(panel.control, lines))
    return panels_to_draw


def _draw_levels(
    axes: Axes, control: ArmResult | None, summary: Summary, styles: Mapping[str, Style]
) -> list[float]:
    """Draw control and teacher; return the y values that the axis should show."""
    measure = measure_of(summary)
    values: list[float] = []
    if control is not None:
        seeds = measure.seed_values(control)
        level = float(np.mean(seeds))
        colour = styles[control.name].colour
        axes.axhline(level, color=colour, linestyle=(0, (5, 2)), linewidth=1.3, zorder=1.5)
        interval = t_interval(seeds)
        if interval:
            axes.axhspan(*interval, color=colour, alpha=0.12, linewidth=0)
        values += [level, *_y_range(seeds)]
    if summary.teacher is not None:
        teacher = measure.value(summary.teacher.test)
        if teacher is not None:
            axes.axhline(teacher, color=TEACHER, linestyle=(0, (1, 1.6)), linewidth=1.5)
            values.append(teacher)
    return values


def _draw_line(axes: Axes, line: Line, measure: Measure) -> list[float]:
    """Draw a family of arms; return the y values that the axis should show."""
    arms = sorted(line.family, key=_temperature)
    positions = [_temperature(arm) * line.shift for arm in arms]
    means = [float(np.mean(measure.seed_values(arm))) for arm in arms]
    style = line.style
    axes.plot(positions, means, color=style.colour, linestyle=style.dash, linewidth=1.4, zorder=2.5)
    values = list(means)
    for x, mean, arm in zip(positions, means, arms, strict=True):
        colour = line.colour_of(arm)
        axes.plot([x], [mean], line.shape, color=colour, markersize=4.5, zorder=3)
        seeds = measure.seed_values(arm)
        interval = t_interval(seeds)
        if interval:
            axes.vlines(x, *interval, color=colour, linewidth=1.3, alpha=0.75, zorder=2)
        if line.has_dots and len(seeds) > 1:
            dots: dict[str, Any] = {"alpha": 0.35, "markersize": 3.2, "markeredgewidth": 0}
            axes.plot([x] * len(seeds), seeds, "o", color=colour, **dots)
        values += _y_range(seeds)
    return values


def _y_range(seeds: Sequence[float]) -> Sequence[float]:
    """The interval, or the seeds if there are only two, whose interval is very wide."""
    interval = t_interval(seeds)
    return interval if interval and len(seeds) > 2 else seeds


def _finish(
    axes: Axes,
    temperatures: Sequence[float],
    values: Sequence[float],
    words: MeasureWording,
    room: int,
) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(spaced_ticks(sorted(set(temperatures)), room)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("temperature T")
    set_y_limits(axes, values, words)
    only_grid(axes, "y")
