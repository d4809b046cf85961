"""Axes for the measure by which a study is judged, and for sizes on a log scale."""

import math
from collections.abc import Sequence
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, MaxNLocator, ScalarFormatter

from limbeck.report.formats import count
from limbeck.report.measure_wording import MeasureWording
from limbeck.run.summary import DataFacts


def spaced_ticks(values: Sequence[float]) -> list[float]:
    """The values whose tick labels have room on a log axis: both ends, and some between them.

    Args:
        values: Positive values, ascending.
    """
    first, last = values[0], values[-1]
    if first == last:
        return [first]
    least = (math.log(last) - math.log(first)) / 12
    ticks = [first]
    for value in values[1:-1]:
        to_the_left = math.log(value) - math.log(ticks[-1])
        to_the_right = math.log(last) - math.log(value)
        if min(to_the_left, to_the_right) >= least:
            ticks.append(value)
    return [*ticks, last]


def set_height(axes: Axes, values: Sequence[float], words: MeasureWording) -> None:
    """Make room for the values on the vertical axis.

    Only these values set the limits, so a wide interval of two seeds may be cut off.
    """
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or (1.0 if words.measure.is_integer else 0.01)
    axes.set_ylim(max(-pad / 2, low - pad), high + pad)
    set_ticks(axes.yaxis, 6, words)


def label_height(axes: Axes, words: MeasureWording, data: DataFacts) -> None:
    """Name the vertical axis, on two lines where its title is long."""
    axes.set_ylabel(fill(words.axis(data), 34))


def set_ticks(axis: Axis, most: int, words: MeasureWording) -> None:
    """Set at most so many ticks: whole numbers for a whole measure, else equally many decimals."""
    if words.measure.is_integer:
        axis.set_major_locator(MaxNLocator(most, integer=True))
        axis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    else:
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(ScalarFormatter(useOffset=False))
