"""Markdown with names that others have chosen."""

import re
from collections.abc import Sequence

from limbeck._base.printable import printable

MAX_NAMES = 12
"""Largest number of names of classes or categories in a list."""
_LINK = re.compile(r"://|www\.|@|mailto:|xmpp:", re.IGNORECASE)
"""Signs of an address, which some readers of Markdown turn into a link."""


def first_names(names: Sequence[str]) -> str:
    """Return the first names of a list, with the number of the others."""
    text = ", ".join(map(plain, names[:MAX_NAMES]))
    if len(names) > MAX_NAMES:
        text += f" and {len(names) - MAX_NAMES:,} more"
    return text


def last_part(name: str) -> str:
    """Return the last part of a name that is a path."""
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1]


def plain(text: object) -> str:
    """Return a text on one line, in which Markdown finds neither markup nor HTML nor a link."""
    line = printable(" ".join(str(text).split()))
    if _LINK.search(line):  # escapes do not keep all readers from linking an address
        fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
        return f"{fence} {line} {fence}".replace("|", r"\|")
    line = re.sub(r"([\\`*_\[\]<>#|&~])", r"\\\1", line)
    return re.sub(r"^([-+=]|\d+(?=[.)]))", _escape_start, line)


def _escape_start(match: re.Match[str]) -> str:
    """Escape the beginning of a list: a hyphen, or the full stop after a number."""
    return f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table, whose first row has the headings."""
    heading, *body = rows
    separator = ["---"] * len(heading)
    return "\n".join(f"| {' | '.join(row)} |" for row in [heading, separator, *body])
