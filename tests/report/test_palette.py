import re

import pytest

from limbeck.report.figures.style import DARK_SHADES, SHADES
from limbeck.report.palette import PALETTE, css, variable, with_variables

TEXT, GRAPHIC = 4.5, 3.0
"""Contrast that WCAG 2.2 AA asks of text and of parts of a drawing."""
ARMS = ["teacher", "other", *(f"arm-{number}" for number in range(1, 9))]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_of_known_pairs():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_and_drawings_have_enough_contrast(mode):
    colours = {name: getattr(colour, mode) for name, colour in PALETTE.items()}
    pairs = [(name, "page", TEXT) for name in ("ink", "quiet", "focus", "open", "bad")]
    pairs += [(name, "page", GRAPHIC) for name in (*ARMS, "family-1", "family-2", "family-3")]
    for verdict in ("good", "bad", "open", "plain"):
        pairs.append((verdict, f"{verdict}-shade", TEXT))
    pairs.append(("ink", "plain-shade", TEXT))
    switch = len(SHADES) - DARK_SHADES
    for number in range(1, len(SHADES) + 1):
        pairs.append((f"shade-{number}", "ink" if number <= switch else "page", TEXT))
    for one, other, least in pairs:
        assert contrast(colours[one], colours[other]) >= least, (one, other)


def test_arms_differ_from_each_other():
    for mode in ("light", "dark"):
        colours = [getattr(PALETTE[name], mode) for name in ARMS]
        assert len(set(colours)) == len(colours)


def test_a_drawing_names_its_colours():
    blue = PALETTE["arm-1"].light
    svg = f'<path style="fill: {blue}; stroke: #123456"/><text>{blue}</text>'
    expected = f'<path style="fill: var(--arm-1, {blue}); stroke: #123456"/><text>{blue}</text>'
    assert with_variables(svg) == expected
    assert variable(blue) == "var(--arm-1)"
    assert variable("#123456") == "#123456"
    assert len({colour.light for colour in PALETTE.values()}) == len(PALETTE)


def test_the_style_sheet_has_both_modes_and_paper_is_light():
    light, dark = css().splitlines()
    assert "@media screen and (prefers-color-scheme: dark)" in dark
    for name, colour in PALETTE.items():
        assert f"--{name}: {colour.light};" in light
        assert re.search(rf"--{name}: {colour.dark};", dark)
