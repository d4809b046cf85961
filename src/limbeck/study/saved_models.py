"""Models that a resumed run has saved before: sound ones are used, others are trained again."""

import warnings
from collections.abc import Iterable
from pathlib import Path

from limbeck._base.errors import LimbeckWarning, UntrustedFileError
from limbeck.models.files.weights import DESCRIPTION, model_files, read_checked_description
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import ManifestWriter
from limbeck.run.saved_files import damage_of_model, files_of_model


def record_models(manifest: ManifestWriter, folders: Iterable[Path]) -> None:
    """Record the digests of models that are completely saved."""
    manifest.add_files([file for folder in folders for file in model_files(folder)])


def record_models_of_earlier_version(run: RunFolder, manifest: ManifestWriter) -> None:
    """Record the sound models of a resumed run, if an earlier version wrote no list of them."""
    if manifest.content.files is not None:
        return
    folders = [file.parent for file in sorted(run.path.glob(f"**/{DESCRIPTION}"))]
    record_models(manifest, filter(_is_sound, folders))


def unsaved_models(
    run: RunFolder, manifest: ManifestWriter, folders: Iterable[Path]
) -> tuple[list[Path], list[str]]:
    """Find the models that have to be trained.

    Args:
        run: Folder of the run.
        manifest: Manifest of the run.
        folders: Folders of the models.

    Returns:
        Folders of the models that are not saved or not sound, and what is wrong with the latter.
    """
    saved = manifest.content.files or {}
    unsaved, damages = [], []
    for folder in folders:
        damage = damage_of_model(run, saved, folder)
        if damage is None:
            continue
        unsaved.append(folder)
        if files_of_model(run, saved, folder):  # a kill may come before a model is listed
            damages.append(damage)
    return unsaved, damages


def warn_of_damage(damages: Iterable[str], models: str) -> None:
    """Warn that models are trained again because files are damaged.

    Args:
        damages: Description of each damage.
        models: Subject of the sentence, such as ``The teacher is``.
    """
    for damage in damages:
        warnings.warn(f"{damage}. {models} trained again.", LimbeckWarning, stacklevel=3)


def _is_sound(folder: Path) -> bool:
    """Whether the weights are those that the description names."""
    weights, *_ = model_files(folder)
    try:
        read_checked_description(weights)
    except (OSError, UntrustedFileError):
        return False
    return True
