"""Where the texts of a figure stand."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

SLACK = 1.0
"""Pixels by which boxes may touch."""


def collisions(figure: Figure) -> list[tuple[str, str]]:
    """The pairs of texts of a figure that lie on each other, and the texts that it cuts off."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # the layout is complete after the first drawing
    with _drawn_texts() as texts:
        canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer).padded(-SLACK)) for text in texts]
    pairs = [
        (one, other)
        for (one, box), (other, other_box) in combinations(boxes, 2)
        if box.overlaps(other_box)
    ]
    page = figure.bbox.padded(2 * SLACK)
    for name, box in boxes:
        if not (page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1)):
            pairs.append((name, "edge of the figure"))
    return pairs


@contextmanager
def _drawn_texts() -> Iterator[list[Text]]:
    """Collect the texts that are drawn, without ticks outside the axes."""
    texts: dict[int, Text] = {}
    draw: Callable = Text.draw

    def record(self, renderer, *arguments, **options):
        if self.get_visible() and self.get_text().strip():
            texts[id(self)] = self
        return draw(self, renderer, *arguments, **options)

    result: list[Text] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", record)
        yield result
    result.extend(texts.values())
