"""Conversion of a Matplotlib figure to an SVG element for a page."""

import io
import re
from dataclasses import dataclass
from html import escape

from matplotlib.figure import Figure

from limbeck.report.palette import with_variables

PAGE_WIDTH = 720
"""Width of a figure on the page in pixels."""

_FONT = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', "
    "sans-serif"
)


@dataclass(frozen=True)
class ReportFigure:
    """A figure of a report.

    Attributes:
        title: Heading above the figure.
        svg: Drawing as an SVG element.
        caption: Sentences below the figure.
    """

    title: str
    svg: str
    caption: str


def to_svg(figure: Figure, name: str, label: str) -> str:
    """Render a figure as an SVG element whose text stays selectable and whose colours are CSS
    variables.

    Args:
        figure: Figure to render.
        name: Prefix of all ids in the element, unique in a page.
        label: Description for screen readers.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    svg = text[text.index("<svg") :].rstrip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<[a-zA-Z][^>]*>", lambda tag: _prefix_ids(tag[0], name), svg)
    svg = with_variables(svg)
    opening = f'<svg role="img" aria-labelledby="{name}-title" data-figure="{name}"'
    title = f'<title id="{name}-title">{escape(label)}</title>'
    return re.sub(r"<svg[^>]*>", lambda tag: _root(tag[0], opening) + title, svg, count=1)


def _prefix_ids(tag: str, name: str) -> str:
    tag = re.sub(r'(\sid=")', rf"\g<1>{name}-", tag)
    tag = re.sub(r"url\(#", f"url(#{name}-", tag)
    tag = re.sub(r'\s(?:xlink:)?href="#', f' href="#{name}-', tag)
    return tag.replace("'DejaVu Sans'", _FONT)


def _root(tag: str, opening: str) -> str:
    width, height = 540.0, 300.0
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', tag)
    if box:
        width, height = float(box[1]), float(box[2])
    return (
        f'{opening} xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{PAGE_WIDTH}" height="{PAGE_WIDTH * height / width:.0f}">'
    )
