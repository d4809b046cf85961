"""Axes for the measure of a study, and for log scales."""

import math
from collections.abc import Sequence
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, MaxNLocator, ScalarFormatter

from limbeck.report.formats import count
from limbeck.report.wording_base import MeasureWording
from limbeck.run.summary import DataFacts


def spaced_ticks(values: Sequence[float]) -> list[float]:
    """Choose ticks that do not overlap on a log axis: both ends, and some values between them.

    Args:
        values: Positive values, ascending.
    """
    first, last = values[0], values[-1]
    if first == last:
        return [first]
    min_distance = (math.log(last) - math.log(first)) / 12
    ticks = [first]
    for value in values[1:-1]:
        left_distance = math.log(value) - math.log(ticks[-1])
        right_distance = math.log(last) - math.log(value)
        if min(left_distance, right_distance) >= min_distance:
            ticks.append(value)
    return [*ticks, last]


def set_y_limits(axes: Axes, values: Sequence[float], words: MeasureWording) -> None:
    """Set the limits of the vertical axis so that it shows the values.

    Nothing else affects the limits, so the wide interval of two seeds may be cut off.
    """
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or (1.0 if words.measure.is_integer else 0.01)
    axes.set_ylim(max(-pad / 2, low - pad), high + pad)
    set_ticks(axes.yaxis, 6, words)


def set_y_label(axes: Axes, words: MeasureWording, data: DataFacts) -> None:
    """Label the vertical axis, on two lines if the label is long."""
    axes.set_ylabel(fill(words.axis(data), 34))


def set_ticks(axis: Axis, max_ticks: int, words: MeasureWording) -> None:
    """Set at most ``max_ticks`` ticks, at whole numbers if the measure is an integer."""
    if words.measure.is_integer:
        axis.set_major_locator(MaxNLocator(max_ticks, integer=True))
        axis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    else:
        axis.set_major_locator(MaxNLocator(max_ticks, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(ScalarFormatter(useOffset=False))
