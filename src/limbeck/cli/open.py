"""``limbeck open``."""

import argparse
from pathlib import Path
from typing import Any

from limbeck.cli.parsers import add_verb
from limbeck.cli.terminal import note, say


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck open``."""
    text = "open the report of a run in the browser"
    add_verb(verbs, "open", text, run, run="run folder", reads="results")


def run(arguments: argparse.Namespace) -> int:
    """Open ``report.html`` in the browser of the user, and print its path."""
    import webbrowser

    page = find_report(arguments.run)
    say(f"report: {page}")
    if not webbrowser.open(page.resolve().as_uri()):
        note("No browser could be started here. Open the file in one.")
    return 0


def find_report(path: Path) -> Path:
    """Return the report of a run, after a check that it cannot run code in the browser.

    Raises:
        ConfigError: If the folder is not a run, or has no report.
        UntrustedFileError: If the report is not a page of this version, which forbids scripts.
    """
    from limbeck._base.errors import ConfigError, UntrustedFileError
    from limbeck._base.reading import read_text
    from limbeck.report.template import is_own_page
    from limbeck.run.folder import RunFolder

    folder = RunFolder(path)
    write_again = f"'limbeck report {path}' writes it again"
    if not folder.is_run():
        raise ConfigError(
            f"{path} is not a run: it has no manifest.json of limbeck. 'limbeck runs' lists runs."
        )
    if not folder.report.is_file():
        raise ConfigError(f"{path} has no report.html; {write_again} if the run is finished.")
    try:
        is_safe = folder.holds(folder.report) and is_own_page(read_text(folder.report))
    except ValueError:  # not UTF-8, or too large
        is_safe = False
    if not is_safe:
        raise UntrustedFileError(
            f"{folder.report} is not a page that this version of limbeck has written, so it could "
            f"run scripts in your browser; {write_again}."
        )
    return folder.report
