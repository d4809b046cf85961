"""Finish a run whose models are all trained, but whose results have not been written.

Such a run was killed while its students were scored, or the disk was full.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from limbeck._base.errors import ConfigError, LimbeckError
from limbeck.cli.config.groups import CONF
from limbeck.cli.config.reopen import recompose
from limbeck.cli.run import execute
from limbeck.report.formats import plural
from limbeck.report.page import write_report
from limbeck.run.completeness import untrained_models
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import now, read_manifest, write_manifest
from limbeck.run.renamed_targets import MOVED, REPLACED
from limbeck.study.run_folder import remove_checkpoints


def finish(run: RunFolder) -> int:
    """Score the students of a run, write its results, and print them.

    Returns:
        The exit code.

    Raises:
        ConfigError: If a model is not trained yet, the run was started from Python, or its settings
            name objects outside limbeck: these would be executed.
    """
    run = RunFolder(run.path.absolute())  # its settings are composed in another folder
    missing = untrained_models(run, read_manifest(run))
    resume = f"'limbeck resume {run.path}'"
    if missing:
        raise ConfigError(
            f"{run.path} is not finished: {plural(len(missing), 'model')} to train, first "
            f"{missing[0]}. Continue with {resume}."
        )
    with recompose(run, "Repeat the study with options=RunOptions(resume=True).") as (
        config,
        command,
    ):
        names = foreign_objects(OmegaConf.to_container(config))
        if command.config_dir is not None:
            names.append(command.config_dir)
        if names:
            raise ConfigError(
                f"{run.path} has no summary.json, and its settings name {', '.join(names)}, which "
                f"'limbeck report' does not execute. If you trust them, continue with {resume}."
            )
        return execute(config, run.path, command, resume=True)


def close(run: RunFolder) -> Path | None:
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


def foreign_objects(settings: Any) -> list[str]:
    """Return the objects in nested settings that limbeck's own settings do not name.

    Files of ``torch.save`` that may hold code count, too.
    """
    own = {*MOVED, *REPLACED}
    for file in CONF.rglob("*.yaml"):
        own.update(_targets(yaml.safe_load(file.read_text(encoding="utf-8"))))
    return sorted(set(_targets(settings)) - own)


def _targets(settings: Any) -> Iterator[str]:
    """Yield each value of ``_target_`` in nested settings, and ``trust_pickle`` where it is set."""
    if isinstance(settings, list):
        for item in settings:
            yield from _targets(item)
    if isinstance(settings, dict):
        for key, value in settings.items():
            if key == "_target_":
                yield str(value)
            elif key == "trust_pickle" and value:
                yield key
            yield from _targets(value)
