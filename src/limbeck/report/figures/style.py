"""The common style of all figures: colours, fonts, canvas and legend."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from limbeck.report.palette import light

PAGE = light("page")
INK = light("ink")
QUIET = light("quiet")
STRONG = light("strong")
SHADES = tuple(light(f"shade-{number}") for number in range(1, 10))
"""The colours of a heat map, from few errors to many."""
DARK_SHADES = 4
"""Number of the last shades, on which numbers are bright."""

WIDTH = 7.5
"""Width of every figure in inches."""

_SETTINGS: Any = {
    "svg.hashsalt": "limbeck",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": STRONG,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": light("line"),
    "grid.linewidth": 0.7,
    "xtick.color": STRONG,
    "ytick.color": STRONG,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
}


def shades() -> Colormap:
    """The colour map of a heat map; cells without a value have the colour of lines."""
    return ListedColormap(list(SHADES), "shades").with_extremes(bad=light("line"))


def ink_on_shade(value: float, low: float, high: float) -> str:
    """The colour of a number in a cell of a heat map from ``low`` to ``high``."""
    share = (value - low) / (high - low) if high > low else 0.0
    is_dark = share * len(SHADES) >= len(SHADES) - DARK_SHADES
    return PAGE if is_dark else INK


@contextmanager
def figure_settings() -> Iterator[None]:
    """Apply the figures' Matplotlib settings, and restore the user's settings afterwards."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        # Labels of absurd numbers leave no room for the axes.
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def canvas(height: float) -> Figure:
    """An empty figure of the common width, ``height`` inches high."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def shorten(name: str, limit: int) -> str:
    """Cut the middle out of a name of more than ``limit`` characters.

    Both ends stay, because names may differ in either.
    """
    line = " ".join(str(name).split())
    if len(line) <= limit:
        return line
    tail = (limit - 1) // 2
    head = limit - 1 - tail
    return f"{line[:head]}…{line[-tail:]}"


def shorten_apart(names: Sequence[str], limit: int) -> list[str]:
    """Shorten names to about ``limit`` characters, or to more if they would become equal."""
    longest = max(map(len, names), default=0)
    for length in range(limit, longest, 4):
        short = [shorten(name, length) for name in names]
        if len(set(short)) == len(set(names)):
            return short
    return [shorten(name, longest) for name in names]


def break_at_commas(name: str, limit: int) -> str:
    """Break a name after commas into lines of at most ``limit`` characters."""
    lines = [""]
    for part in re.findall(r"[^,]*,|[^,]+$", name):
        if lines[-1] and len(lines[-1] + part) > limit:
            lines.append("")
        lines[-1] += part
    return "\n".join(shorten(line, limit) for line in lines)


def legend(figure: Figure, handles: Sequence[Line2D], names: Sequence[str]) -> None:
    """Add a legend above the panels, in as many columns as the longest name allows.

    Entries are in order from left to right, then from top to bottom.
    """
    labels = shorten_apart(names, 44)
    widest = max(len(label) for label in labels)
    columns = max(1, min(len(labels), int(105 / (widest + 8))))
    entries = list(zip(handles, labels, strict=True))
    by_column = [entry for column in range(columns) for entry in entries[column::columns]]
    figure.legend(
        [handle for handle, _ in by_column],
        [label for _, label in by_column],
        loc="outside upper left",
        ncols=columns,
        handlelength=1.8,
        columnspacing=1.6,
    )


def only_grid(axes: Axes, which: str) -> None:
    """Keep the grid lines of one axis (``x``, ``y`` or ``none``) and remove the tick marks."""
    axes.grid(False)
    if which == "x":
        axes.grid(True, axis="x")
    if which == "y":
        axes.grid(True, axis="y")
    axes.tick_params(which="both", length=0)
