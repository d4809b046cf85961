"""The files that a run has saved, to detect damaged, replaced and foreign files.

The manifest holds the SHA-256 of each file of a model and of each result. Runs of earlier versions
have no such list, so nothing is compared.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from limbeck._base.digests import file_digest
from limbeck._base.errors import UntrustedFileError
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import UNFINISHED, Manifest, read_manifest

MODEL_ROOMS = ("teacher", "students")
"""Folders of a run that hold its models."""


def check_model_folders(run: RunFolder, folders: Iterable[Path]) -> None:
    """Check that models of a run are those that it saved.

    Args:
        run: Folder of the run.
        folders: Folders of the models.

    Raises:
        UntrustedFileError: If a file is damaged, was exchanged, or is not from this run.
    """
    saved = _saved_files(run)
    if saved is None:
        return
    for folder in folders:
        damage = damage_of_model(run, saved, folder)
        if damage is not None:
            raise _error(run, damage, "train the model again")


def run_of_model(folder: Path) -> RunFolder | None:
    """Return the run in whose folder for teachers or students a model lies; None if in none.

    Args:
        folder: Folder of the model.
    """
    for parent in folder.parents:
        run = RunFolder(parent)
        is_run = run.manifest.is_file() and run.config.is_file()
        if is_run and folder.relative_to(parent).parts[0] in MODEL_ROOMS:
            return run
    return None


def check_results(run: RunFolder, *files: Path) -> None:
    """Check that results of a finished run are those that it wrote. Missing files are skipped.

    Args:
        run: Folder of the run.
        files: Files of the results.

    Raises:
        UntrustedFileError: If a file is damaged or was exchanged.
    """
    saved = _saved_files(run)
    if saved is None:
        return
    for file in files:
        digest = saved.get(_name(run, file))
        if digest is not None and file.is_file() and file_digest(file) != digest:
            raise _error(run, _difference(run, file), "score the students again")


def damaged_files(run: RunFolder, manifest: Manifest) -> list[Path]:
    """Return the saved files of a run that are missing, damaged or exchanged."""
    damaged = []
    for name, digest in (manifest.files or {}).items():
        file = run.path / name
        if not file.is_file() or file_digest(file) != digest:
            damaged.append(file)
    return damaged


def damage_of_model(run: RunFolder, saved: Mapping[str, str], folder: Path) -> str | None:
    """Describe what is wrong with a model of a run; None if it is the one that the run saved.

    Args:
        run: Folder of the run.
        saved: Digests of the saved files, by path.
        folder: Folder of the model.
    """
    names = files_of_model(run, saved, folder)
    if not names:
        return f"{folder} is not in the list of {run.manifest}: this run has not saved it"
    for name in names:
        file = run.path / name
        if not file.is_file():
            return f"{file} is missing"
        if file_digest(file) != saved[name]:
            return _difference(run, file)
    return None


def files_of_model(run: RunFolder, saved: Mapping[str, str], folder: Path) -> list[str]:
    """Return the paths of the saved files of a model, without those of its subfolders."""
    start = _name(run, folder)
    return [name for name in saved if name.rpartition("/")[0] == start]


def _saved_files(run: RunFolder) -> Mapping[str, str] | None:
    """Digests of the files of a finished run; None if they are not known."""
    if not run.manifest.is_file():
        return None
    manifest = read_manifest(run)
    return None if manifest.state in UNFINISHED else manifest.files


def _difference(run: RunFolder, file: Path) -> str:
    return (
        f"{file} is damaged, or not the file that this run wrote: its SHA-256 differs from the one "
        f"in {run.manifest}"
    )


def _error(run: RunFolder, damage: str, action: str) -> UntrustedFileError:
    return UntrustedFileError(
        f"{damage}. Restore it from a copy, or {action} with 'limbeck resume {run.path}'."
    )


def _name(run: RunFolder, path: Path) -> str:
    """Path of a file inside the run folder."""
    return path.relative_to(run.path).as_posix()
