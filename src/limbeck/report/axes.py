"""What the figures over settings share: axes for errors, and one value for each arm."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from limbeck.report.families import Arm
from limbeck.report.wording import count


class Drawn(NamedTuple):
    """A figure: its title, the SVG and its caption."""

    title: str
    svg: str
    caption: str


def seed_errors(arm: Arm) -> list[float]:
    """Test errors of an arm, seed by seed."""
    return [seed["test"]["errors"] for seed in arm["seeds"]]


def label_errors(axes: Axes, summary: Mapping[str, Any]) -> None:
    """Say what the vertical axis counts."""
    axes.set_ylabel(f"errors of {summary['data']['test']:,} test samples")


def apart(values: Sequence[float]) -> list[float]:
    """The ascending values whose labels have room on a log axis: the ends, and others between them."""
    first, last = values[0], values[-1]
    kept, least = [first], (math.log(last) - math.log(first)) / 12
    for value in values[1:-1]:
        if min(math.log(value) - math.log(kept[-1]), math.log(last) - math.log(value)) >= least:
            kept.append(value)
    return kept if first == last else [*kept, last]


def frame(axes: Axes, values: Sequence[float]) -> None:
    """Room for the values; an interval of two seeds may leave the frame."""
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or 1.0
    axes.set_ylim(max(-pad / 2, low - pad), high + pad)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
