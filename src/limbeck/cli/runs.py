"""``limbeck runs``."""

import argparse
from pathlib import Path
from typing import Any

from limbeck._base.addresses import with_addresses
from limbeck._base.errors import ConfigError
from limbeck._base.printable import cut, printable
from limbeck.cli.parsers import add_verb, path_or_address
from limbeck.cli.terminal import say, text_table

DEFAULT = Path("runs")
HEADING = ("run", "recipe", "data", "verdict", "started (UTC)", "state")
MAX_CELL = 60
"""Largest number of characters of a name in the table; paths stay whole."""


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck runs``."""
    text = "list the runs in a folder, the newest first"
    parser = add_verb(verbs, "runs", text, run)
    help_text = "folder or address to search (default: runs)"
    parser.add_argument("folder", nargs="?", type=path_or_address, metavar="FOLDER", help=help_text)


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each run."""
    from limbeck._base.scratch import scratch_folder
    from limbeck.run.listing import list_runs, list_runs_at

    place = arguments.folder or DEFAULT
    if isinstance(place, str):
        with scratch_folder() as folder:
            entries = list_runs_at(place, folder)
    elif arguments.folder is not None and not place.is_dir():
        raise ConfigError(f"{place} is not a folder. Name one that contains runs.")
    else:
        entries = list_runs(place) if place.is_dir() else []
    if not entries:
        say(f"no runs in {place}")
        return 0
    rows: list[tuple[str, ...]] = [HEADING]
    for entry in entries:
        started = entry.started[:16].replace("T", " ")
        cells = [entry.recipe, entry.data, entry.verdict, started, entry.state]
        names = [cut(printable(cell), MAX_CELL) for cell in cells]
        rows.append((printable(with_addresses(str(entry.path))), *names))
    say(text_table(rows, names=len(HEADING)))
    return 0
