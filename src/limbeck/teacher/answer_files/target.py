"""Where answers are written: a file, or a folder of parts, on this machine or at an address."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from limbeck._base.addresses import path_of
from limbeck._base.errors import ConfigError
from limbeck._base.files import remove_new_folder_on_failure
from limbeck._base.scratch import scratch_folder
from limbeck._base.storage import Storage
from limbeck.data.tables.parquet import import_pyarrow
from limbeck.teacher.answer_files.location import SUFFIXES
from limbeck.teacher.answer_files.parts import check_idle, is_complete


def check_target(to: Path | str) -> str:
    """Return the form of a file of answers to write, or ``folder`` for a name without suffix.

    Args:
        to: Path, or address for fsspec.

    Raises:
        ConfigError: If the suffix is unknown, something is there already, or another process writes
            there.
        ResourceError: If a package is missing, or the storage cannot be reached.
    """
    suffix = suffix_of(to)
    form = SUFFIXES.get(suffix.lower(), "") if suffix else "folder"
    if not form:
        raise ConfigError(
            f"to={to}: unknown kind of file. Choose .csv, .parquet, .npz, .npy or .jsonl, or a "
            "folder for Parquet files."
        )
    if _exists(to, form):
        raise ConfigError(f"to={to} exists already. Choose another name, or remove it.")
    path = path_of(to)
    if path is not None and form == "folder":
        check_idle(path)
    if form in ("parquet", "folder"):
        import_pyarrow()
    return form


def suffix_of(to: Path | str) -> str:
    """Return the suffix of a file; empty for a folder of parts."""
    path = path_of(to)
    if path is not None:
        return path.suffix
    return PurePosixPath(str(to).partition("?")[0]).suffix


def _exists(to: Path | str, form: str) -> bool:
    path = path_of(to)
    if path is not None:
        return path.exists()
    return is_complete(str(to)) if form == "folder" else bool(Storage(str(to)).files())


@contextmanager
def open_target(to: Path | str) -> Iterator[Path]:
    """Return the path of a file to write, which goes to its address at the end of the block.

    A new folder is removed again if the block fails.

    Args:
        to: Path or address of a file.

    Raises:
        ResourceError: If the storage cannot be written to.
    """
    path = path_of(to)
    if path is not None:
        with remove_new_folder_on_failure(path.absolute().parent):
            yield path
        return
    folder, _, name = str(to).rpartition("/")
    storage = Storage(folder)
    with scratch_folder() as scratch:
        yield scratch / name
        storage.upload(scratch / name, name)
