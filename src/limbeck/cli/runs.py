"""``limbeck runs``."""

import argparse
from pathlib import Path
from typing import Any

from limbeck._base.errors import ConfigError
from limbeck._base.printable import cut, printable
from limbeck.cli.parsers import add_verb
from limbeck.cli.terminal import say, text_table

DEFAULT = Path("runs")
HEADING = ("run", "recipe", "data", "verdict", "started (UTC)", "state")
MAX_CELL = 60
"""Largest number of characters of a name in the table; paths stay whole."""


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck runs``."""
    text = "list the runs in a folder, the newest first"
    parser = add_verb(verbs, "runs", text, run)
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="FOLDER", help="folder to search (default: runs)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each run."""
    from limbeck.run.listing import list_runs

    folder = arguments.folder or DEFAULT
    if arguments.folder is not None and not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder. Name one that contains runs.")
    entries = list_runs(folder) if folder.is_dir() else []
    if not entries:
        say(f"no runs in {folder}")
        return 0
    rows: list[tuple[str, ...]] = [HEADING]
    for entry in entries:
        started = entry.started[:16].replace("T", " ")
        cells = [entry.recipe, entry.data, entry.verdict, started, entry.state]
        names = [cut(printable(cell), MAX_CELL) for cell in cells]
        rows.append((printable(entry.path), *names))
    say(text_table(rows, names=len(HEADING)))
    return 0
