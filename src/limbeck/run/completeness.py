"""What a run still lacks: models that are not trained, and results that are not written."""

from typing import Any

from limbeck._base.errors import UntrustedFileError
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import Manifest
from limbeck.run.settings import read_settings

VERBS = ("run", "train", "distill", "fit")
"""Verbs that start a run."""


def missing_results(run: RunFolder) -> list[str]:
    """Return the names of the files that every finished run has, and this one lacks."""
    files = (run.summary, run.metrics, run.predictions, run.report)
    return [file.name for file in files if not file.is_file()]


def check_verb(run: RunFolder, manifest: Manifest) -> None:
    """Check the verb in a manifest: a wrong one would finish a study without its students.

    Raises:
        UntrustedFileError: If it is not a verb, or does not fit the command or the run folder.
    """
    verb, command = manifest.facts.get("verb"), manifest.facts.get("command")
    if verb is None and command is None:
        return  # started from Python
    where = f"{run.manifest} is damaged: verb is {verb!r}"
    if verb not in VERBS:
        raise UntrustedFileError(f"{where}, expected one of {', '.join(VERBS)}.")
    if not isinstance(command, str) or command.split()[1:2] != [verb]:
        raise UntrustedFileError(f"{where}, but the command is {command!r}.")
    if verb == "train" and ((run.path / "students").is_dir() or any(run.logs.glob("cohort*"))):
        raise UntrustedFileError(f"{where}, but {run.path} has students.")


def untrained_models(run: RunFolder, manifest: Manifest) -> list[str]:
    """Return the names of the models of a run that are neither saved nor have failed.

    Raises:
        ConfigError: If the settings are missing.
        UntrustedFileError: If they are damaged.
    """
    check_verb(run, manifest)
    settings = read_settings(run)
    folders = {}
    if manifest.facts.get("verb") != "train":
        for arm in _section(run, settings, "arms"):
            for seed in manifest.seeds:
                folders[f"{arm}/seed{seed}"] = run.student(arm, seed)
    teacher = _section(run, settings, "teacher")
    if teacher.get("model") and not (teacher.get("from") or teacher.get("answers")):
        splits = settings.get("splits")
        for split in range(splits if isinstance(splits, int) else 1):
            for number, folder in enumerate(run.teachers(split)):
                name = f"teacher {number}" if split == 0 else f"teacher {number} of split {split}"
                folders[name] = folder
    return [
        name
        for name, folder in folders.items()
        if name not in manifest.failed and not (folder / "model.json").is_file()
    ]


def _section(run: RunFolder, settings: dict[str, Any], name: str) -> dict[Any, Any]:
    section = settings.get(name) or {}
    if not isinstance(section, dict):
        raise UntrustedFileError(f"{run.config} is damaged: {name} should be a group of settings.")
    return section
