"""The training curves of a study."""

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from limbeck._base.errors import UntrustedFileError
from limbeck.report.arm_styles import OTHER, TEACHER, Style, styles_of
from limbeck.report.families import highlighted_arms
from limbeck.report.figures.style import canvas, figure_settings, legend, only_grid
from limbeck.report.figures.svg import ReportFigure, to_svg
from limbeck.report.measure_wording import wording_of
from limbeck.run.folder import RunFolder
from limbeck.run.summary import Summary

Curves: TypeAlias = dict[str, NDArray[np.float64]]
"""``[seeds, epochs]`` of each arm, NaN for missing epochs."""


@dataclass(frozen=True)
class Panel:
    """Drawing of a metric of ``metrics.csv``.

    Attributes:
        plural: Name of the metric in a sentence, in the plural.
        title: Title of the panel.
        scale: Conversion of logged values to axis values.
    """

    plural: str
    title: str
    scale: Callable[[Any], Any] = lambda value: value


PANELS = {
    "val_acc": Panel("validation errors", "Validation error, %", lambda value: 100 * (1 - value)),
    "val_loss": Panel("validation losses", "Validation loss, nats per token"),
    "train_loss": Panel("training losses", "Training loss, each arm's own objective"),
}
LOSS_PANELS = {
    "squared_error": Panel("validation squared errors", "Validation squared error"),
    "label_errors": Panel("validation losses", "Validation loss, nats per label"),
}
"""Drawings of ``val_loss`` in other units, by the measure of the study."""


def read_scalars(folder: RunFolder) -> list[dict[str, Any]]:
    """Read the rows of ``metrics.csv``.

    Raises:
        UntrustedFileError: If the file is damaged.
    """
    try:
        rows = folder.read_scalars()
        if any(row.get(key) is None for row in rows for key in ("stage", "arm", "metric")):
            raise ValueError("a column is missing")
        if any(row["epoch"] < 0 for row in rows):
            raise ValueError("an epoch is below 0")
    except KeyError as error:
        raise _damaged(folder, f"column {error} is missing") from None
    except (TypeError, ValueError, csv.Error, OSError) as error:
        raise _damaged(folder, str(error)) from None
    return rows


def _damaged(folder: RunFolder, reason: str) -> UntrustedFileError:
    return UntrustedFileError(f"{folder.metrics} is damaged: {reason}.")


def training_curves(summary: Summary, rows: Sequence[Mapping[str, Any]]) -> ReportFigure | None:
    """Draw validation error (or loss) and training loss over the epochs, a line for each arm.

    Args:
        summary: Summary of the study.
        rows: Rows of ``metrics.csv``.

    Returns:
        The figure, or None if there are no values.
    """
    names = [arm.name for arm in summary.arms]
    words = wording_of(summary)
    metric, drawings = words.validation_curve, dict(PANELS)
    drawings["val_loss"] = LOSS_PANELS.get(words.measure.key, PANELS["val_loss"])
    panels = {key: _curves(rows, key, names) for key in (metric, "train_loss")}
    panels = {key: curves for key, curves in panels.items() if curves}
    if not panels:
        return None
    highlighted = highlighted_arms(summary)
    styles = styles_of(summary)
    has_level = False
    with figure_settings():
        figure = canvas(3.3 if highlighted is None else 4.1)
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (key, curves) in zip(grid, panels.items(), strict=True):
            panel = drawings[key]
            lines = {arm: panel.scale(values) for arm, values in curves.items()}
            _draw_curves(axes, lines, styles)
            if key == metric:
                has_level = _draw_teacher_level(axes, rows, key)
            axes.set_title(panel.title)
            axes.set_xlabel("epoch")
            _use_log_scale_if_wide(axes, lines)
        handles = _handles(styles, panels.values())
        legend(figure, list(handles.values()), list(handles))
        title = drawings[metric].title.partition(",")[0]
        losses = f"{title} and training loss" if metric in panels else "Training loss"
        label = f"{losses} per epoch, one line per arm"
        svg = to_svg(figure, "curves", label)
    caption = _caption(summary, drawings[metric].plural if metric in panels else "", has_level)
    return ReportFigure("Training curves", svg, caption)


def _caption(summary: Summary, plural: str, has_level: bool) -> str:
    sentences = ["One seed per arm."]
    if any(len(arm.seeds) > 1 for arm in summary.arms):
        sentences = ["Lines are means over seeds.", "Bands span the lowest to the highest seed."]
    if has_level:
        sentences.append("The dashed line is the teacher.")
    comparable = "Training"
    if plural:
        comparable = f"{plural.capitalize()} are comparable between arms; training"
    others = "not." if plural else "not comparable."
    sentences.append(f"{comparable} losses of different objectives are {others}")
    return " ".join(sentences)


def _curves(rows: Sequence[Mapping[str, Any]], metric: str, arms: Sequence[str]) -> Curves:
    """The values of a metric, for each arm that logged it."""
    values_by_arm: dict[str, dict[tuple[int, int], float]] = {}
    for row in rows:
        if row["stage"] == "students" and row["metric"] == metric and row["arm"] in arms:
            values_by_arm.setdefault(row["arm"], {})[row["seed"], row["epoch"]] = row["value"]
    curves = {}
    for arm, values in values_by_arm.items():
        seeds = sorted({seed for seed, _ in values})
        epochs = max(epoch for _, epoch in values) + 1
        curve = np.full((len(seeds), epochs), np.nan)
        for (seed, epoch), value in values.items():
            if math.isfinite(value):
                curve[seeds.index(seed), epoch] = value
        if np.isfinite(curve).any():
            curves[arm] = curve
    return curves


def _draw_curves(axes: Axes, lines: Curves, styles: Mapping[str, Style]) -> None:
    for arm, curve in lines.items():
        is_logged = np.isfinite(curve).any(axis=0)
        epochs = np.arange(1, curve.shape[1] + 1)[is_logged]
        curve = curve[:, is_logged]
        mean = np.nanmean(curve, axis=0)
        style = styles[arm]
        if style == OTHER:
            axes.plot(epochs, mean, color=style.colour, linewidth=0.7, alpha=0.6, zorder=1.5)
            continue
        axes.plot(
            epochs,
            mean,
            color=style.colour,
            linestyle=style.dash,
            linewidth=1.6,
            marker="o" if len(epochs) <= 3 else None,
            markersize=4,
        )
        if len(curve) > 1:
            lowest, highest = np.nanmin(curve, axis=0), np.nanmax(curve, axis=0)
            axes.fill_between(epochs, lowest, highest, color=style.colour, alpha=0.13, linewidth=0)
    only_grid(axes, "y")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def _draw_teacher_level(axes: Axes, rows: Sequence[Mapping[str, Any]], metric: str) -> bool:
    """Draw the teacher's value after its last epoch; return whether there is one."""
    teacher_rows = [row for row in rows if row["stage"] == "teacher" and row["metric"] == metric]
    teacher_rows = [row for row in teacher_rows if math.isfinite(row["value"])]
    if not teacher_rows:
        return False
    last = max(teacher_rows, key=lambda row: row["epoch"])
    level = PANELS[metric].scale(last["value"])
    axes.axhline(level, color=TEACHER, linestyle=(0, (4, 3)), linewidth=1.1)
    text = axes.annotate(
        "teacher",
        (0, level),
        xycoords=("axes fraction", "data"),
        xytext=(4, 3),
        textcoords="offset points",
        ha="left",
        va="bottom",
        color=TEACHER,
        fontsize=8.5,
        annotation_clip=True,
    )
    text.set_in_layout(False)  # a teacher without errors is infinitely far down on a log axis
    return True


def _use_log_scale_if_wide(axes: Axes, lines: Curves) -> None:
    """Use a log scale if all values are positive and span more than a factor of five."""
    values = np.concatenate([curve[np.isfinite(curve)] for curve in lines.values()])
    if values.min() > 0 and values.max() / values.min() > 5:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))


def _plain(value: float) -> str:
    return f"{value:g}" if value < 1e5 else f"{value:.0e}"


def _handles(styles: Mapping[str, Style], panels: Iterable[Curves]) -> dict[str, Line2D]:
    """Entries of the legend: the highlighted arms with a line, then all others as one."""
    drawn_arms = {arm for curves in panels for arm in curves}
    handles = {}
    for arm, style in styles.items():
        if style != OTHER and arm in drawn_arms:
            handles[arm] = Line2D([], [], color=style.colour, linestyle=style.dash, linewidth=1.8)
    if len(handles) < len(styles):
        handles["other arms"] = Line2D([], [], color=OTHER.colour, linewidth=0.8)
    return handles
