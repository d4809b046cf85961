"""What the pages of this package share: templates, the style sheet, and filters for names."""

import re
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from limbeck.report import palette

MAX_UNBROKEN = 20
"""Longest part of a name that is never broken into two lines."""


def template(name: str) -> Any:
    """The template of a page; ``parts.html`` holds what pages share."""
    environment = Environment(
        loader=FunctionLoader(asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["together"] = _with_no_break_spaces
    environment.filters["breakable"] = breakable
    environment.filters["class_name"] = class_name
    environment.filters["variable"] = palette.variable
    return environment.get_template(name)


def style() -> Markup:
    """The style sheet of all pages: the colours, then the rules."""
    return Markup(palette.css() + asset("report.css"))


def asset(name: str) -> str:
    """The text of a file of this package, such as a template."""
    return files("limbeck.report").joinpath(name).read_text(encoding="utf-8")


def breakable(name: object) -> Markup:
    """Allow line breaks after the commas between the settings in an arm's name, and only there.

    Very long parts, and parts with spaces, may be broken elsewhere.
    """
    parts = re.split(r"(?<=,)(?=[^\d\s.-])", str(name))
    return Markup("<wbr>").join(_part(part) for part in parts)


def class_name(name: object) -> Markup:
    """Allow line breaks after the marks between the words of a class's name."""
    return Markup("<wbr>").join(map(escape, re.split(r"(?<=[_/.-])(?=\w)", str(name))))


def _part(part: str) -> Markup:
    is_short = len(part) <= MAX_UNBROKEN and not re.search(r"\s", part)
    is_whole_word = part.replace("_", "").isalnum()
    if is_short and not is_whole_word:
        return Markup('<span class="part">{}</span>').format(part)
    return escape(part)


def is_own_page(html: str) -> bool:
    """Whether a report begins as this version writes it, so that the browser runs no scripts.

    Its head forbids scripts and other sources before anything else, and nothing may redirect the
    reader: ``<meta`` can only come from the template, because names are escaped.
    """
    page = asset("report.html")
    start = page[page.index("<!doctype") : page.index("<title")]
    return html.startswith(start) and _count_meta(html) == _count_meta(page)


def _count_meta(html: str) -> int:
    return len(re.findall(r"<\s*meta\b", html, re.IGNORECASE))


def _with_no_break_spaces(sentence: str) -> str:
    """Put no-break spaces into ``95 %`` and ``p = 0.03``."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\bp) (?=[=<])|(?<=\bp [=<]) (?=\d)", "\u00a0", sentence)
