"""What a run still lacks: models that are not trained, and results that are not written."""

from typing import Any

from limbeck._base.errors import UntrustedFileError
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import Manifest
from limbeck.run.settings import read_settings


def missing_results(run: RunFolder) -> list[str]:
    """Return the names of the files that every finished run has, and this one lacks."""
    files = (run.summary, run.metrics, run.predictions, run.report)
    return [file.name for file in files if not file.is_file()]


def untrained_models(run: RunFolder, manifest: Manifest) -> list[str]:
    """Return the names of the models of a run that are neither saved nor have failed.

    Raises:
        ConfigError: If the settings are missing.
        UntrustedFileError: If they are damaged.
    """
    settings = read_settings(run)
    folders = {}
    if manifest.facts.get("verb") != "train":
        for arm in _section(run, settings, "arms"):
            for seed in manifest.seeds:
                folders[f"{arm}/seed{seed}"] = run.student(arm, seed)
    teacher = _section(run, settings, "teacher")
    if teacher.get("model") and not teacher.get("from"):
        for number, folder in enumerate(run.teachers()):
            folders[f"teacher {number}"] = folder
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
