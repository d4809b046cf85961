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


def spaced_ticks(values: Sequence[float], room: int = 12) -> list[float]:
    """Choose ticks that do not overlap on a log axis: both ends, and some values between them.

    Args:
        values: Positive values, ascending.
        room: Number of labels for which the axis has room.
    """
    first, last = values[0], values[-1]
    if first == last:
        return [first]
    min_distance = (math.log(last) - math.log(first)) / room
    ticks = [first]
    for value in values[1:-1]:
        left_distance = math.log(value) - math.log(ticks[-1])
        right_distance = math.log(last) - math.log(value)
        if min(left_distance, right_distance) >= min_distance:
            ticks.append(value)
    return [*ticks, last]


def log_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Choose two to ``most`` round ticks for a log axis.

    Args:
        low: Lower end of the axis, above 0.
        high: Upper end of the axis.
        most: Maximum number of ticks.
    """
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [factor * 10.0**exponent for exponent in exponents for factor in factors]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if 2 <= len(ticks) <= most:
            return ticks
    if len(ticks) > most:
        return ticks[:: math.ceil(len(ticks) / most)]
    ticks = [float(tick) for tick in MaxNLocator(most - 1).tick_values(low, high)]
    return [tick for tick in ticks if low <= tick <= high][:most]


def set_y_limits(axes: Axes, values: Sequence[float], words: MeasureWording) -> None:
    """Set the limits of the vertical axis so that it shows the values.

    Nothing else affects the limits, so the wide interval of two seeds may be cut off.
    """
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or (1.0 if words.measure.is_integer else 0.01)
    axes.set_ylim(max(-pad / 2, low - pad), high + pad)
    set_ticks(axes.yaxis, 6, words)


def widen_x_limits(axes: Axes, words: MeasureWording) -> None:
    """Show at least two units of the measure, if all values are nearly equal."""
    least = 2.0 if words.measure.is_integer else 0.002
    low, high = axes.get_xlim()
    if high - low < least:
        middle = (low + high) / 2
        axes.set_xlim(middle - least / 2, middle + least / 2)


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
