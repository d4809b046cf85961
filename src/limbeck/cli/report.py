"""``limbeck report``."""

import argparse
from typing import TYPE_CHECKING, Any

from limbeck.cli.fit import say_search
from limbeck.cli.parsers import add_trust, add_verb, trust_of
from limbeck.cli.terminal import note, say

if TYPE_CHECKING:
    from limbeck.run.folder import RunFolder


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck report``."""
    text = "print the results of a run and write its report.html again"
    add_trust(add_verb(verbs, "report", text, run, run="run folder", reads="results"))


def run(arguments: argparse.Namespace) -> int:
    """Write the report and print the summary. If the summary is missing, finish the run first."""
    from limbeck._base.errors import ConfigError
    from limbeck.report.page import write_report
    from limbeck.report.terminal import print_summary
    from limbeck.run.folder import RunFolder
    from limbeck.run.manifest import UNFINISHED, read_manifest
    from limbeck.run.remote import everything, remote_run
    from limbeck.run.summary import read_summary

    trust = trust_of(arguments)
    folder = RunFolder(arguments.run, follow_links=trust.is_given)
    trust.check_links(folder.path)
    is_unfinished = folder.manifest.is_file() and read_manifest(folder).state in UNFINISHED
    remote = remote_run(folder.path)
    if remote is not None and is_unfinished:
        remote.fetch(everything)  # to finish it here
    if folder.manifest.is_file() and not folder.summary.is_file():
        from limbeck.cli.finish import finish

        return finish(folder, trust)
    summary = read_summary(folder)
    path = None
    if folder.manifest.is_file() and read_manifest(folder).state in UNFINISHED:
        from limbeck.cli.finish import write_missing_report

        path = write_missing_report(folder)
    if path is None:
        with folder.keep_unchanged():
            summary = read_summary(folder)
            try:
                folder.check_writable(folder.report.name)
            except ConfigError:  # the results can be read all the same
                print_summary(summary)
                raise
            path = write_report(folder.path)
    print_summary(summary)
    say_search(summary, folder.path)
    say(f"report: {path}")
    if folder.manifest.is_file():
        _name_missing_files(folder)
    return 0


def _name_missing_files(folder: "RunFolder") -> None:
    """Say which figures the report lacks because a file is missing, and how to get it back."""
    from limbeck.run.completeness import missing_results

    missing = missing_results(folder)
    if missing:
        note(
            f"warning: {' and '.join(missing)} missing in {folder.path}, so the report lacks "
            f"figures. 'limbeck resume {folder.path}' restores them."
        )
