"""What all figures share: colours, type, and a tidy SVG that can stand inside a page."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

TEACHER = "#3d4045"
INK = "#2b2e33"
QUIET = "#6a6f78"
GRID = "#e6e8eb"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b24d8f", "#c28800", "#3f9fd8", "#7d5a3c", "#7a7a7a")
DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
WIDTH = 7.5
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_RC: Any = {
    "svg.hashsalt": "limbeck",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": "#b9bec6",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": "#b9bec6",
    "ytick.color": "#b9bec6",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Style:
    """How one arm is drawn in every figure."""

    colour: str
    dash: Any = "solid"


OTHER = Style("#aab0b8")
"""Of arms that are not shown in a colour of their own."""


def arm_styles(arms: Sequence[str], shown: Sequence[str] | None = None) -> dict[str, Style]:
    """One style per arm; beyond eight arms the colours come back with another dash. Arms not
    ``shown`` are grey.
    """
    picked = [arm for arm in arms if shown is None or arm in shown]
    styles = {
        arm: Style(COLOURS[i % len(COLOURS)], DASHES[(i // len(COLOURS)) % len(DASHES)])
        for i, arm in enumerate(picked)
    }
    return {arm: styles.get(arm, OTHER) for arm in arms}


@contextmanager
def drawing() -> Iterator[None]:
    """Settings for the figures, whatever the user's own Matplotlib settings are; undone on leaving."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def canvas(height: float) -> Figure:
    """An empty figure of the common width."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def shorten(name: str, limit: int) -> str:
    """``name`` on one line, its middle cut out beyond ``limit`` characters: both ends tell names
    apart.
    """
    line = " ".join(str(name).split())
    if len(line) <= limit:
        return line
    tail = (limit - 1) // 2
    return f"{line[: limit - 1 - tail]}…{line[-tail:]}"


def shorten_apart(names: Sequence[str], limit: int) -> list[str]:
    """The names shortened, to more than ``limit`` characters where that is what tells them apart."""
    for more in range(limit, max(map(len, names), default=0), 4):
        short = [shorten(name, more) for name in names]
        if len(set(short)) == len(set(names)):
            return short
    return [" ".join(str(name).split()) for name in names]


def legend(figure: Figure, handles: Sequence[Line2D], names: Sequence[str]) -> None:
    """A legend above the panels; the columns follow the longest name."""
    labels = shorten_apart(names, 44)
    widest = max(len(label) for label in labels)
    columns = max(1, min(len(labels), int(105 / (widest + 8))))
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=columns,
        handlelength=1.8,
        columnspacing=1.6,
    )


def only_grid(axes: Axes, which: str) -> None:
    """Keep the grid lines of one axis (``x``, ``y`` or ``none``) and drop the tick marks."""
    axes.grid(False)
    if which != "none":
        axes.grid(True, axis="x" if which == "x" else "y")
    axes.tick_params(length=0)


def to_svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an SVG element whose ids all begin with ``name`` and whose text is text.

    Args:
        figure: what to draw.
        name: prefix of the ids; unique in a page.
        label: what the figure shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].rstrip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<[a-zA-Z][^>]*>", lambda tag: _prefix_ids(tag[0], name), svg)
    opening = f'<svg role="img" aria-label="{escape(label)}" data-figure="{name}"'
    svg = re.sub(r"<svg[^>]*>", lambda tag: _root(tag[0], opening), svg, count=1)
    return svg


def _prefix_ids(tag: str, name: str) -> str:
    tag = re.sub(r'(\sid=")', rf"\g<1>{name}-", tag)
    tag = re.sub(r"url\(#", f"url(#{name}-", tag)
    tag = re.sub(r'\s(?:xlink:)?href="#', f' href="#{name}-', tag)
    return tag.replace("'DejaVu Sans'", _FONT)


def _root(tag: str, opening: str) -> str:
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', tag)
    width, height = (float(side) for side in box.groups()) if box else (540.0, 300.0)
    shown = 720
    return (
        f'{opening} xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{shown}" height="{shown * height / width:.0f}">'
    )
