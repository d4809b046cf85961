"""What the figures over settings share: axes for what a study is judged by."""

import math
from collections.abc import Sequence
from textwrap import fill
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, MaxNLocator, ScalarFormatter

from limbeck.report.formats import count
from limbeck.report.judged_by import Data, Measure


class Drawn(NamedTuple):
    """A figure: its title, the SVG and its caption."""

    title: str
    svg: str
    caption: str


def apart(values: Sequence[float]) -> list[float]:
    """The ascending values whose labels have room on a log axis: the ends, and others between them."""
    first, last = values[0], values[-1]
    kept, least = [first], (math.log(last) - math.log(first)) / 12
    for value in values[1:-1]:
        if min(math.log(value) - math.log(kept[-1]), math.log(last) - math.log(value)) >= least:
            kept.append(value)
    return kept if first == last else [*kept, last]


def frame(axes: Axes, values: Sequence[float], measure: Measure) -> None:
    """Room for the values; an interval of two seeds may leave the frame."""
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or (1.0 if measure.whole else 0.01)
    axes.set_ylim(max(-pad / 2, low - pad), high + pad)
    ticks(axes.yaxis, 6, measure)


def name_height(axes: Axes, measure: Measure, data: Data) -> None:
    """Say what the vertical axis measures, on two lines where it is long."""
    axes.set_ylabel(fill(measure.unit(data), 34))


def ticks(axis: Axis, most: int, measure: Measure) -> None:
    """Whole numbers only where the measure is one, and equally many decimals where it is not."""
    axis.set_major_locator(
        MaxNLocator(most, integer=True) if measure.whole else MaxNLocator(most, steps=[1, 2, 5, 10])
    )
    plain = FuncFormatter(lambda value, _: count(value))
    axis.set_major_formatter(plain if measure.whole else ScalarFormatter(useOffset=False))
