"""Finish a run whose models are all trained, but whose results have not been written.

Such a run was killed while its students were scored, or the disk was full.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import yaml
from omegaconf import OmegaConf

from limbeck._base.errors import ConfigError, LimbeckError, UntrustedFileError
from limbeck.cli.config.groups import CONF
from limbeck.cli.config.reopen import recompose
from limbeck.cli.run import execute
from limbeck.report.formats import plural
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import Manifest, now, read_manifest, write_manifest
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


def close(run: RunFolder) -> None:
    """Record in the manifest that a run is finished, if only its report was missing."""
    manifest = read_manifest(run)
    with suppress(LimbeckError):  # it is still running, or lacks files that are not needed here
        if not untrained_models(run, manifest):
            with run.claim(resume=True):
                state = manifest.final_state
                write_manifest(run, replace(manifest, state=state, finished=now(), error=None))
                if state == "finished":
                    remove_checkpoints(run)


def untrained_models(run: RunFolder, manifest: Manifest) -> list[str]:
    """Return the names of the models of a run that are neither saved nor have failed."""
    settings = _read_config(run)
    folders = {}
    if manifest.facts.get("verb") != "train":
        for arm in settings.get("arms") or {}:
            for seed in manifest.seeds:
                folders[f"{arm}/seed{seed}"] = run.student(arm, seed)
    teacher = settings.get("teacher") or {}
    if teacher.get("model") and not teacher.get("from"):
        for number, folder in enumerate(run.teachers()):
            folders[f"teacher {number}"] = folder
    return [
        name
        for name, folder in folders.items()
        if name not in manifest.failed and not (folder / "model.json").is_file()
    ]


def _read_config(run: RunFolder) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{run.config} is missing, so the run cannot be finished.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UntrustedFileError(f"{run.config} is damaged: {reason}.") from None
    if not isinstance(settings, dict):
        raise UntrustedFileError(f"{run.config} is damaged: it should contain settings by name.")
    return settings


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
