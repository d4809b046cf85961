"""Where a file of answers lies: on the disk, or at an address that fsspec reads."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limbeck._base.addresses import is_address
from limbeck._base.errors import TeacherError
from limbeck._base.scratch import scratch_folder
from limbeck._base.storage import Storage
from limbeck.run.folder import RunFolder
from limbeck.teacher.answer_files.part_folders import MANIFEST

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".npz": "npz",
    ".npy": "npy",
}
"""Form of a file by its suffix."""


def form_of(path: Path) -> str:
    """Return the form of a file, or ``folder``.

    Raises:
        TeacherError: If its suffix is unknown.
    """
    if path.is_dir():
        return "folder"
    form = SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise TeacherError(
            f"{path}: unknown kind of file. Answers can be in a .csv, .parquet, .npz, .npy or "
            ".jsonl file, or in a folder of .parquet files."
        )
    return form


@contextmanager
def local_path(source: str) -> Iterator[Path]:
    """Return the path of a file or folder; what lies elsewhere is copied to a temporary folder.

    Args:
        source: Path, or address for fsspec.

    Raises:
        TeacherError: If it is missing.
        ResourceError: If it cannot be reached.
    """
    if not is_address(source):
        path = Path(source).expanduser()
        if not path.exists():
            raise TeacherError(f"{path} is missing. Set teacher.answers= to a file of answers.")
        yield path
        return
    with scratch_folder() as folder:
        yield _download(source, folder)


def _download(source: str, folder: Path) -> Path:
    """Copy a file, or the Parquet files in a folder, from an address."""
    storage = Storage(source)
    files = storage.files()
    if not files:
        raise TeacherError(f"{source} is missing.")
    first = next(iter(files.values()))
    if storage.is_root(first):
        storage.download([first], folder)
        return folder / first.name
    target = folder / (storage.name or "answers")
    target.mkdir()
    endings = (".parquet", ".pq")
    is_part = {name: name.endswith(endings) and "/" not in name for name in files}
    is_part[MANIFEST] = True
    storage.download([file for name, file in files.items() if is_part[name]], target)
    return target


def parts_of(folder: Path) -> list[Path]:
    """Return the Parquet files in a folder, sorted.

    Raises:
        TeacherError: If there are none.
    """
    files = sorted(path for path in folder.iterdir() if SUFFIXES.get(path.suffix) == "parquet")
    if not files and RunFolder(folder).manifest.is_file():
        raise TeacherError(
            f"{folder} is a run, not a file of answers. To learn from its teacher, set "
            f"teacher.from={folder}; 'limbeck answers {folder} to=answers.csv' writes its answers."
        )
    if not files:
        raise TeacherError(f"{folder} contains no .parquet files.")
    return files


def digest_of_parts(digests: Mapping[str, str]) -> str:
    """Return the SHA-256 of the names and digests of a folder's parts."""
    digest = hashlib.sha256()
    for name, of_part in sorted(digests.items()):
        digest.update(f"{name} {of_part}\n".encode())
    return digest.hexdigest()


def name_of(source: Any) -> str:
    """Return the name of a source for messages."""
    return str(source) if isinstance(source, (str, Path)) else "the array of answers"
