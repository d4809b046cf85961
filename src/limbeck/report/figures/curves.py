"""The training curves of a report: what was logged, epoch by epoch."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from limbeck.report.figures.drawing import (
    OTHER,
    TEACHER,
    Style,
    arm_styles,
    canvas,
    drawing,
    legend,
    only_grid,
    to_svg,
)
from limbeck.report.judged_by import ERRORS, Measure


class Panel(NamedTuple):
    """How a metric of ``metrics.csv`` is drawn: its name in a sentence, a title, and what its axis
    shows of a value.
    """

    plural: str
    title: str
    scale: Callable[[Any], Any]


PANELS = {
    "val_acc": Panel("validation errors", "Validation error, %", lambda value: 100 * (1 - value)),
    "val_loss": Panel("validation losses", "Validation loss, nats per token", lambda value: value),
    "train_loss": Panel(
        "training losses", "Training loss, each arm's own objective", lambda value: value
    ),
}


def training_curves(
    rows: Sequence[Mapping[str, Any]],
    arms: Sequence[str],
    shown: Sequence[str] | None = None,
    *,
    measure: Measure = ERRORS,
) -> str | None:
    """Validation error or loss, and training loss per epoch: a line per arm (mean over seeds) in a
    band of its seeds.

    Args:
        rows: the scalars of ``metrics.csv``.
        arms: names of the arms, in the order that gives them their colours.
        shown: the arms to draw in colour, if not all; the others are thin grey lines.
        measure: what the study is judged by; its ``curve`` is the metric beside the training loss.

    Returns:
        The SVG, or None where nothing was logged.
    """
    curves = {metric: _curves(rows, metric, arms) for metric in (measure.curve, "train_loss")}
    curves = {metric: found for metric, found in curves.items() if found}
    if not curves:
        return None
    styles = arm_styles(arms, shown)
    with drawing():
        figure = canvas(3.3 if shown is None else 4.1)
        grid = figure.subplots(1, len(curves), squeeze=False)[0]
        for axes, (metric, found) in zip(grid, curves.items(), strict=True):
            lines = {arm: PANELS[metric].scale(values) for arm, values in found.items()}
            _draw_curves(axes, lines, styles)
            if metric == measure.curve:
                _draw_teacher_level(axes, rows, metric)
            axes.set_title(PANELS[metric].title)
            axes.set_xlabel("epoch")
            _log_when_wide(axes, lines)
        named = [
            arm for arm in arms if styles[arm] != OTHER and any(arm in c for c in curves.values())
        ]
        handles = [
            Line2D([], [], color=styles[a].colour, linestyle=styles[a].dash, linewidth=1.8)
            for a in named
        ]
        if len(named) < len(arms):
            handles, named = (
                [*handles, Line2D([], [], color=OTHER.colour, linewidth=0.8)],
                [*named, "other arms"],
            )
        legend(figure, handles, named)
        label = f"{PANELS[measure.curve].title.partition(',')[0]} and training loss per epoch, one line per arm"
        return to_svg(figure, "curves", label)


def _curves(
    rows: Sequence[Mapping[str, Any]], metric: str, arms: Sequence[str]
) -> dict[str, NDArray]:
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
        axes.plot(
            epochs,
            mean,
            color=style.colour,
            linestyle=style.dash,
            linewidth=1.6,
            marker=marker,
            markersize=4,
        )
        if len(curve) > 1:
            lowest, highest = np.nanmin(curve, axis=0), np.nanmax(curve, axis=0)
            axes.fill_between(epochs, lowest, highest, color=style.colour, alpha=0.13, linewidth=0)
    only_grid(axes, "y")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def _draw_teacher_level(axes: Axes, rows: Sequence[Mapping[str, Any]], metric: str) -> None:
    logged = [
        r
        for r in rows
        if r["stage"] == "teacher" and r["metric"] == metric and math.isfinite(r["value"])
    ]
    if not logged:
        return
    level = PANELS[metric].scale(max(logged, key=lambda row: row["epoch"])["value"])
    axes.axhline(level, color=TEACHER, linestyle=(0, (4, 3)), linewidth=1.1)
    axes.annotate(
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
    ).set_in_layout(False)  # no errors at all are infinitely far down on a log axis


def _log_when_wide(axes: Axes, lines: Mapping[str, NDArray]) -> None:
    """A log axis where the values are positive and span more than a factor of five."""
    values = np.concatenate([curve[np.isfinite(curve)] for curve in lines.values()])
    if values.min() > 0 and values.max() / values.min() > 5:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}" if value < 1e5 else f"{value:.0e}")
    )
