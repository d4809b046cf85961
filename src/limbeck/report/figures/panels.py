"""Panels of a figure, one for each control or family of arms."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from limbeck.report.figures.style import canvas, shorten

MAX_PANELS = 6


def make_panels(number: int, height: float) -> tuple[Figure, list[Axes]]:
    """Create a figure with ``number`` panels, up to three in a row, each ``height`` inches high."""
    columns = columns_of(number)
    rows = math.ceil(number / columns)
    figure = canvas(0.4 + height * rows if columns < 3 else 0.4 + 0.8 * height * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[number:]:
        axes.remove()
    return figure, list(panels[:number])


def set_panel_title(axes: Axes, name: str, number: int) -> None:
    """Title a panel, unless it is the only one.

    Args:
        axes: Panel to title.
        name: Name of the control or family.
        number: Number of panels in the figure.
    """
    if number > 1:
        axes.set_title(shorten(name, 40 if columns_of(number) == 2 else 24))


def columns_of(number: int) -> int:
    """The number of panels in a row."""
    return 2 if number == 4 else min(3, number)
