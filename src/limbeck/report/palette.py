"""The colours of the page, its figures and the demo, each for light and for dark screens.

A figure is drawn in the colours for light screens. In its SVG each of them becomes a CSS variable,
so that the figure follows the page.
"""

import re
from typing import NamedTuple


class Colour(NamedTuple):
    """A colour on light and on dark screens, as ``#rrggbb``."""

    light: str
    dark: str


PALETTE = {
    # The page.
    "page": Colour("#ffffff", "#15171a"),
    "ink": Colour("#1d2025", "#e6e8eb"),
    "quiet": Colour("#5c636e", "#9aa2ad"),
    "line": Colour("#e1e4e8", "#2c3036"),
    "strong": Colour("#b9bec6", "#4a505a"),
    "focus": Colour("#0b5cad", "#8dbdec"),
    # Verdicts, and the shades behind them.
    "good": Colour("#0b6b46", "#6fd3a4"),
    "good-shade": Colour("#e8f5ee", "#12281f"),
    "bad": Colour("#a8321a", "#ff9c85"),
    "bad-shade": Colour("#fcece8", "#33190f"),
    "open": Colour("#755600", "#e9c46a"),
    "open-shade": Colour("#fbf3dc", "#2b240f"),
    "plain": Colour("#2d5a88", "#8dbdec"),
    "plain-shade": Colour("#eaf1f8", "#14222f"),
    # The teacher, the arms in their order, and arms without a colour of their own.
    "teacher": Colour("#3d4045", "#c3c8d0"),
    "arm-1": Colour("#0072b2", "#4a9fe3"),
    "arm-2": Colour("#d55e00", "#f0883e"),
    "arm-3": Colour("#00936b", "#3cc09a"),
    "arm-4": Colour("#b24d8f", "#dd8fc6"),
    "arm-5": Colour("#b07a00", "#dcae3f"),
    "arm-6": Colour("#3590c6", "#a3d8f8"),
    "arm-7": Colour("#7d5a3c", "#b98f6b"),
    "arm-8": Colour("#66741c", "#b7c44d"),
    "other": Colour("#878d97", "#6d7580"),
    # Lines through several arms.
    "family-1": Colour("#27364d", "#e1e8f2"),
    "family-2": Colour("#5b6f8e", "#a9b8cf"),
    "family-3": Colour("#8192aa", "#71819a"),
    # Heat maps: numbers have the colour "ink" on the first five shades, "page" on the others.
    "shade-1": Colour("#f4f8fb", "#1b2530"),
    "shade-2": Colour("#dcebf5", "#1f3345"),
    "shade-3": Colour("#c3dced", "#24425c"),
    "shade-4": Colour("#a8cde5", "#295174"),
    "shade-5": Colour("#8cbcdb", "#2e618c"),
    "shade-6": Colour("#2f76ac", "#5fa3d8"),
    "shade-7": Colour("#1c629a", "#7fb9e4"),
    "shade-8": Colour("#0f5083", "#a2cfef"),
    "shade-9": Colour("#08406b", "#c8e4f8"),
}
_NAMES = {colour.light: name for name, colour in PALETTE.items()}
_HEX = re.compile(r"#[0-9a-f]{6}\b")


def light(name: str) -> str:
    """The colour ``name`` on light screens."""
    return PALETTE[name].light


def name_of(colour: str) -> str:
    """The name of a colour for light screens."""
    return _NAMES[colour]


def variable(colour: str) -> str:
    """The CSS variable of a colour for light screens; any other colour as it is."""
    name = _NAMES.get(colour)
    return colour if name is None else f"var(--{name})"


def with_variables(svg: str) -> str:
    """Replace the colours of a drawing by CSS variables that fall back to these colours."""

    def replace(match: re.Match[str]) -> str:
        name = _NAMES.get(match[0])
        return match[0] if name is None else f"var(--{name}, {match[0]})"

    return re.sub(r'(?<=\sstyle=")[^"]*', lambda style: _HEX.sub(replace, style[0]), svg)


def css() -> str:
    """The CSS variables of all colours: light on paper, as the reader prefers on screens."""
    by_light = _rules({name: colour.light for name, colour in PALETTE.items()})
    by_dark = _rules({name: colour.dark for name, colour in PALETTE.items()})
    return (
        f":root {{ {by_light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {by_dark} }} }}\n"
    )


def _rules(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())
