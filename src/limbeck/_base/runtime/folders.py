"""Files in folders and their subfolders."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import SHORTAGES, InputError, RuntimeFailure

MAX_DEPTH, MAX_PATHS = 64, 1000
"""Largest depth of folders to search, and number of paths by which links lead to one folder."""
SYSTEM_FILES = ("__macosx", "__pycache__", "desktop.ini", "thumbs.db", "dicomdir")


def input_files(paths: Sequence[str | Path]) -> list[Path]:
    """Return the files in ``paths``, with those of its folders and their subfolders."""
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        inside = files_below(path)
        if not inside:
            raise RuntimeFailure(f"{path}: the folder contains no files.")
        files += inside
    if not files:
        raise RuntimeFailure("Pass at least one file or folder.")
    return files


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders, sorted, without hidden and system files.

    Links to folders are followed, except for those that lead back to a folder above them. Links to
    missing files are returned too, so that whoever reads them reports them.

    Raises:
        InputError: If a folder cannot be read, lies too deep, or is the target of too many links.
    """
    return list(_walk(folder, (), Counter()))


def _walk(folder: Path, folders_above: tuple[Path, ...], paths_to: Counter[Path]) -> Iterator[Path]:
    try:
        resolved = folder.resolve()
        if resolved in folders_above:
            return
        paths_to[resolved] += 1
        if paths_to[resolved] > MAX_PATHS:
            raise InputError(f"{folder} (more than {MAX_PATHS} paths of links lead to this folder)")
        if len(folders_above) > MAX_DEPTH:
            raise InputError(f"{folder} (more than {MAX_DEPTH} folders deep)")
        paths = sorted(folder.iterdir())
        is_folder = {path: path.is_dir() for path in paths}
    except OSError as error:
        if error.errno in SHORTAGES:
            raise
        raise InputError(f"{folder} (the folder cannot be read: {error.strerror})") from None
    for path in paths:
        if is_system_file(path.name):
            continue
        if is_folder[path]:
            yield from _walk(path, (*folders_above, resolved), paths_to)
        else:
            yield path


def is_system_file(name: str) -> bool:
    """Whether a file or folder is hidden, or left by an operating system or program."""
    return name.startswith(".") or name.lower() in SYSTEM_FILES
