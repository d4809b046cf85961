"""``limbeck resume``."""

import argparse
from typing import TYPE_CHECKING, Any

from limbeck._base.errors import ConfigError
from limbeck.cli import report
from limbeck.cli.parsers import add_settings, add_trust, add_verb, repeat_command, trust_of
from limbeck.cli.terminal import note, say
from limbeck.cli.verb_settings import Setting, read_settings

if TYPE_CHECKING:
    from limbeck.run.folder import RunFolder

SETTINGS = {
    "trainer.devices": Setting(int, "trainer.devices=4", "number of devices, if it has changed"),
    "trainer.num_nodes": Setting(int, "trainer.num_nodes=2", "number of machines, likewise"),
}
"""Settings with which a run may go on although it was started with others."""


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck resume``."""
    text = "continue an interrupted run with the same settings"
    parser = add_verb(verbs, "resume", text, run, run="run folder", reads="everything")
    add_settings(parser, SETTINGS)
    add_trust(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read the settings of the run and continue in its folder."""
    from limbeck.run.completeness import missing_results, untrained_models
    from limbeck.run.folder import RunFolder
    from limbeck.run.manifest import read_manifest
    from limbeck.run.saved_files import damaged_files

    changes = read_settings(arguments.settings, SETTINGS)
    folder = RunFolder(arguments.run.absolute())
    folder.check(resume=True)
    trust = trust_of(arguments)
    trust.check_links(folder.path)
    repeat_command("resume", folder.path, trust, arguments.settings)
    manifest = read_manifest(folder)
    if manifest.state == "finished":
        missing = [*missing_results(folder), *untrained_models(folder, manifest)]
        damaged = damaged_files(folder, manifest)
        if not missing and not damaged:
            if _upload_rest(folder):
                say(f"{arguments.run} is finished. What was missing there has been uploaded.")
                return 0
            raise ConfigError(
                f"{arguments.run} is already finished. Its report is {folder.report}."
            )
        if missing:
            note(f"{arguments.run} lacks {', '.join(missing[:3])}")
        if missing == [folder.report.name] and not damaged:
            return report.run(arguments)
    from limbeck.cli.finish import continue_run

    return continue_run(folder, trust, changes)


def _upload_rest(folder: "RunFolder") -> bool:
    """Upload what an earlier process could not; returns False if nothing is missing there."""
    from limbeck.run.remote import remote_run

    remote = remote_run(folder.path)
    if remote is None or not remote.has_unsent_files():
        return False
    with folder.claim(resume=True):  # which uploads all files at its end
        return True
