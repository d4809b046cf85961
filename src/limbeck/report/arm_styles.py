"""One style for one arm: on the page, in every figure, and in the demo."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.report.families import highlighted_arms
from limbeck.report.palette import light
from limbeck.run.summary import Summary

TEACHER = light("teacher")
COLOURS = tuple(light(f"arm-{number}") for number in range(1, 9))
FAMILIES = tuple(light(f"family-{number}") for number in range(1, 4))
DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
"""Shapes of the points of families, in figures where colours stand for arms."""


@dataclass(frozen=True)
class Style:
    """Colour and dash pattern of an arm, the same in every figure."""

    colour: str
    dash: Any = "solid"


OTHER = Style(light("other"))
"""The style of arms without a colour of their own."""


def arm_styles(arms: Sequence[str], highlighted: Sequence[str] | None = None) -> dict[str, Style]:
    """Assign a style to each arm.

    With more than eight arms, colours repeat with another dash. Arms that are not ``highlighted``
    are grey; with None, all arms are highlighted.
    """
    if highlighted is None:
        highlighted = arms
    styles = dict.fromkeys(arms, OTHER)
    for i, arm in enumerate(arm for arm in arms if arm in highlighted):
        dash = DASHES[(i // len(COLOURS)) % len(DASHES)]
        styles[arm] = Style(COLOURS[i % len(COLOURS)], dash)
    return styles


def styles_of(summary: Summary) -> dict[str, Style]:
    """The style of each arm of a study, on the page, in every figure, and in the demo."""
    return arm_styles([arm.name for arm in summary.arms], highlighted_arms(summary))


def style_of_family(number: int) -> Style:
    """The style of a line through several arms, in a tone that is no arm's colour."""
    dash = DASHES[(number // len(FAMILIES)) % len(DASHES)]
    return Style(FAMILIES[number % len(FAMILIES)], dash)
