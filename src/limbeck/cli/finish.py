"""Finish a run whose models are all trained, but whose results have not been written.

Such a run was killed while its students were scored, or the disk was full.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from limbeck._base.errors import ConfigError, LimbeckError
from limbeck.cli.config.reopen import reopen
from limbeck.cli.config.trust import Trust
from limbeck.cli.fit import finish_search
from limbeck.cli.parsers import repeat_command
from limbeck.cli.run import execute
from limbeck.report.formats import plural
from limbeck.report.page import write_report
from limbeck.run.completeness import untrained_models
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import now, read_manifest, write_manifest
from limbeck.study.run_folder import remove_checkpoints


def finish(run: RunFolder, trust: Trust) -> int:
    """Score the students of a run, write its results, and print them.

    Args:
        run: Run folder.
        trust: Whether the user trusts it.

    Returns:
        The exit code.

    Raises:
        ConfigError: If a model is not trained yet, or the run was started from Python.
        UntrustedFileError: If a file is damaged, or the run is not trusted but asks for more than
            limbeck's own objects.
    """
    run = RunFolder(run.path.absolute())  # it is reopened in another working directory
    with run.keep_unchanged():
        missing = untrained_models(run, read_manifest(run))
    resume = f"'limbeck resume {run.path}'"
    if missing:
        raise ConfigError(
            f"{run.path} is not finished: {plural(len(missing), 'model')} to train, first "
            f"{missing[0]}. Continue with {resume}."
        )
    repeat_command("report", run.path, trust)
    return continue_run(run, trust)


def continue_run(run: RunFolder, trust: Trust, changes: Mapping[str, int] | None = None) -> int:
    """Run the study of a run folder again, which keeps what is finished; returns the exit code.

    Args:
        run: Run folder.
        trust: Whether the user trusts it.
        changes: Settings of the group ``trainer`` that have changed, by their key.
    """
    advice = "Repeat the study with options=RunOptions(resume=True)."
    with reopen(run, advice, trust) as study:
        return execute(
            _with_changes(study.settings, changes or {}),
            run.path,
            study.command,
            record=_with_changes(study.record, changes or {}),
            follow_links=trust.is_given,
            finish=finish_search if study.command.verb == "fit" else None,
        )


def _with_changes(settings: dict[str, Any], changes: Mapping[str, int]) -> dict[str, Any]:
    """Return settings with other values of keys such as ``trainer.devices``."""
    trainer = {**settings.get("trainer", {})}
    for key, value in changes.items():
        trainer[key.removeprefix("trainer.")] = value
    return {**settings, "trainer": trainer} if changes else settings


def write_missing_report(run: RunFolder) -> Path | None:
    """Write the report of a run that lacks nothing else, and record that it is finished.

    Returns:
        The path of the report; None if the run is still running, or lacks more.
    """
    manifest = read_manifest(run)
    with suppress(LimbeckError):
        if not untrained_models(run, manifest):
            with run.claim(resume=True):
                final = replace(manifest, state=manifest.final_state, finished=now(), error=None)
                path = write_report(run.path, final)
                if final.state == "finished":
                    remove_checkpoints(run)
                write_manifest(run, final)
                return path
    return None
