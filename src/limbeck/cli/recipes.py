"""``limbeck recipes``."""

import argparse
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

from limbeck._base.errors import ConfigError
from limbeck._base.printable import printable
from limbeck._base.reading import read_bytes
from limbeck.cli.parsers import add_verb
from limbeck.cli.terminal import say


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck recipes``."""
    text = "list the recipes"
    parser = add_verb(verbs, "recipes", text, run)
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="folder with your own recipes"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the name and the description of every recipe."""
    from limbeck.cli.config.groups import choices

    folder = arguments.config_dir
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--config-dir {folder} is not a folder. Name one that contains recipe/.")
    recipes = choices("recipe", folder)
    width = max(map(len, recipes))
    for name, file in recipes.items():
        line = printable(f"{name:<{width}}  {description(file)}")
        say(_fit_terminal(line, indent=width + 2))
    return 0


def _fit_terminal(line: str, indent: int) -> str:
    """Wrap a line at the width of the terminal. A line for a file or a pipe stays whole."""
    if not sys.stdout.isatty():
        return line
    columns = max(shutil.get_terminal_size().columns, indent + 20)
    return textwrap.fill(line, columns, subsequent_indent=" " * indent, break_on_hyphens=False)


def description(recipe: Path) -> str:
    """The first comment of a recipe, less Hydra's ``@package`` directive."""
    try:
        text = read_bytes(recipe).decode("utf-8-sig", errors="replace")
    except (OSError, ValueError):  # without permission, a broken link, too large, or a pipe
        return "(cannot be read)"
    for line in text.splitlines():
        comment = line.lstrip("# ")
        if line.startswith("#") and not comment.startswith("@package"):
            return comment
    return ""
