"""Errors or bits per byte against the size of the student."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from limbeck.report.families import families, is_control, labels
from limbeck.report.figures.axes import Drawn, apart, frame, name_height
from limbeck.report.figures.drawing import (
    COLOURS,
    INK,
    OTHER,
    TEACHER,
    canvas,
    drawing,
    legend,
    only_grid,
    to_svg,
)
from limbeck.report.figures.statistics import t_interval
from limbeck.report.judged_by import Arm, Measure, measure_of

MOST_FAMILIES = 8
SIZE = ("student", "params")


def by_size(summary: Mapping[str, Any]) -> Drawn | None:
    """The measure against parameters, with the front of each size's best on validation; None if all
    have one size.
    """
    arms, measure = summary["arms"], measure_of(summary)
    if len({arm["params"] for arm in arms}) < 2:
        return None
    groups = families(arms, SIZE)
    many = len(groups) > MOST_FAMILIES
    styles = _kinds(arms, measure) if many else _families(groups)
    teacher = summary["teacher"]
    with drawing():
        figure = canvas(3.6)
        axes = figure.subplots()
        values: list[float] = []
        for place, (_, colour, members) in enumerate(styles):
            values += _draw_sizes(axes, members, measure, colour, place - (len(styles) - 1) / 2)
        front = _front(arms, measure)
        axes.step(
            *zip(*front, strict=True),
            where="post",
            color=INK,
            linewidth=1.0,
            linestyle=(0, (4, 2)),
            zorder=1.8,
        )
        handles = [_dot(colour, "o") for _, colour, _ in styles]
        names = [name for name, _, _ in styles]
        level = None if teacher is None else measure.of(teacher["test"])
        if level is not None:
            axes.plot([teacher["params"]], [level], "*", color=TEACHER, markersize=12, zorder=4)
            handles, names, values = (
                [*handles, _dot(TEACHER, "*", 10)],
                [*names, "teacher"],
                [*values, level],
            )
        handles.append(Line2D([], [], color=INK, linewidth=1.0, linestyle=(0, (4, 2))))
        sizes = [arm["params"] for arm in arms] + ([teacher["params"]] if teacher else [])
        _finish_sizes(axes, sizes, values, measure)
        name_height(axes, measure, summary["data"])
        legend(figure, handles, [*names, "Pareto front"])
        svg = to_svg(
            figure,
            "sizes",
            f"{measure.title} against the number of parameters, with the Pareto front",
        )
    caption = (
        "Point and bar: mean over seeds and its 95 % interval. Pareto front: of each size the arm "
        "with the fewest "
        f"validation {measure.noun}, where it has fewer test {measure.noun} than those of all "
        "smaller sizes."
    )
    if many:
        caption += (
            f" Chosen: the distilled arm of each size with the fewest validation {measure.noun}."
        )
    return Drawn(f"{measure.noun.capitalize()} against size", svg, caption)


def _families(groups: Sequence[list[Arm]]) -> list[tuple[str, str, list[Arm]]]:
    """A label and a colour for each family."""
    names = labels(groups, SIZE)
    return [
        (name, COLOURS[i], list(group))
        for i, (name, group) in enumerate(zip(names, groups, strict=True))
    ]


def _kinds(arms: Sequence[Arm], measure: Measure) -> list[tuple[str, str, list[Arm]]]:
    """Controls, the distilled arm of each size that validation chooses, and the others in grey."""
    soft = [arm for arm in arms if not is_control(arm)]
    chosen = _best_of_each_size(soft, measure)
    kinds = [
        ("other distilled", OTHER.colour, [arm for arm in soft if arm not in chosen]),
        ("control", COLOURS[0], [arm for arm in arms if is_control(arm)]),
        ("distilled, chosen", COLOURS[1], chosen),
    ]
    return [kind for kind in kinds if kind[2]]


def _best_of_each_size(arms: Sequence[Arm], measure: Measure) -> list[Arm]:
    """The arm of each size that is best on the validation split; the test split has no say."""
    sizes = dict.fromkeys(arm["params"] for arm in arms)
    return [
        min((arm for arm in arms if arm["params"] == size), key=measure.on_validation)
        for size in sizes
    ]


def _draw_sizes(
    axes: Axes, members: Sequence[Arm], measure: Measure, colour: str, place: float
) -> list[float]:
    faint = colour == OTHER.colour
    values: list[float] = []
    for arm in members:
        seeds, x = measure.of_seeds(arm), arm["params"] * 1.02**place
        bounds, mean = t_interval(seeds), float(np.mean(seeds))
        if bounds and not faint:
            axes.vlines(x, *bounds, color=colour, linewidth=1.4, alpha=0.7, zorder=2)
        axes.plot(
            [x],
            [mean],
            "o",
            color=colour,
            markersize=4 if faint else 6,
            markeredgecolor="white",
            zorder=3 - faint,
        )
        values += bounds if bounds and len(seeds) > 2 and not faint else [mean]
    return values


def _front(arms: Sequence[Arm], measure: Measure) -> list[tuple[float, float]]:
    """Parameters and test mean, by size: of the arms that validation chooses, those no smaller one
    beats.
    """
    front: list[tuple[float, float]] = []
    for arm in sorted(_best_of_each_size(arms, measure), key=lambda arm: arm["params"]):
        if not front or arm["mean"][measure.key] < front[-1][1]:
            front.append((arm["params"], arm["mean"][measure.key]))
    return front


def _finish_sizes(
    axes: Axes, sizes: Sequence[int], values: Sequence[float], measure: Measure
) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(apart(sorted(set(sizes)))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _thousands(value)))
    axes.margins(x=0.08)
    axes.set_xlabel("parameters")
    frame(axes, values, measure)
    only_grid(axes, "y")


def _thousands(value: float) -> str:
    """``850``, ``2.4k``, ``1.3M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.0f}"


def _dot(colour: str, marker: str, size: float = 6) -> Line2D:
    return Line2D(
        [],
        [],
        color=colour,
        marker=marker,
        markersize=size,
        linestyle="none",
        markeredgecolor="white",
    )
