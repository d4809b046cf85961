"""Files of a table and their splits, as they are on the disk.

A folder that Hugging Face's ``datasets`` has saved (``save_to_disk``) contains Arrow files and
their description as JSON. Both are read as data: the library is not used, and no code is run.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck._base.reading import read_json
from limbeck.data.checks import files_below, is_file, join_some, require_folder
from limbeck.data.parts import PARTS, SPLIT_NAMES, TRAIN

SUFFIXES = (".parquet", ".pq", ".arrow")
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Table:
    """A file of a table.

    Attributes:
        file: Path of the file.
        part: Number of its split.
        features: Description of the columns by Hugging Face, by name.
    """

    file: Path
    part: int
    features: Mapping[str, Any]


def list_tables(root: Path, suffixes: Sequence[str] = SUFFIXES) -> list[Table]:
    """List the files of a table with their splits.

    Args:
        root: File of a table, folder of such files, or folder saved by ``datasets``.
        suffixes: Suffixes of the files in a folder, in lower case.

    Raises:
        DataError: If there are none, or if the split of a file is unknown.

    Warns:
        LimbeckWarning: If a split is not used.
    """
    if is_file(root):
        return [Table(root, TRAIN, {})]
    require_folder(root)
    if is_file(root / "dataset_dict.json"):
        return _list_saved_splits(root)
    if is_file(root / "state.json"):
        return _list_saved(root, TRAIN)
    files = [file for file in files_below(root) if file.suffix.lower() in suffixes]
    if not files:
        kinds = "Parquet or Arrow files" if tuple(suffixes) == SUFFIXES else "files of a table"
        raise DataError(f"{root} contains no {kinds} ({', '.join(suffixes)}).")
    splits = {file: _split_of(file.relative_to(root)) for file in files}
    unknown = [str(file.relative_to(root)) for file in files if splits[file] is None]
    if unknown and len(unknown) < len(files):
        raise DataError(
            f"{root}: the names of {len(unknown)} files name no split, those of others do: "
            f"{join_some(unknown)}. Names should contain {', '.join(PARTS)}, or none of them."
        )
    return [Table(file, PARTS[splits[file] or "train"], {}) for file in files]


def _split_of(path: Path) -> str | None:
    """Return the split that a file or its folders are named after."""
    for part in reversed(path.parts):
        for word in _WORD.findall(part.lower()):
            if word in SPLIT_NAMES:
                return SPLIT_NAMES[word]
    return None


def _list_saved_splits(root: Path) -> list[Table]:
    """List the files of several splits that ``datasets`` has saved."""
    names = _read_description(root / "dataset_dict.json").get("splits")
    if not isinstance(names, list) or not all(_is_plain_name(name) for name in names):
        raise DataError(f"{root / 'dataset_dict.json'} should list the names of the splits.")
    tables, unused = [], []
    for name in names:
        split = _split_of(Path(name))
        if split is None:
            unused.append(name)
        else:
            tables += _list_saved(root / name, PARTS[split])
    if not tables:
        raise DataError(f"{root} has the splits {', '.join(names)}, but no train.")
    if unused:
        warnings.warn(
            f"{root}: splits other than {', '.join(PARTS)} are not used: {join_some(unused)}.",
            LimbeckWarning,
            stacklevel=2,
        )
    return tables


def _list_saved(folder: Path, part: int) -> list[Table]:
    """List the files of a split that ``datasets`` has saved."""
    state = _read_description(folder / "state.json")
    if state.get("_indices_data_files"):
        raise DataError(
            f"{folder} contains an order of its rows (indices). Save it again with a version of "
            "datasets from 2.0, or after flatten_indices()."
        )
    entries = state.get("_data_files")
    names: list[Any] = []
    if isinstance(entries, list):
        names = [entry.get("filename") for entry in entries if isinstance(entry, dict)]
    if not names or not all(_is_plain_name(name) for name in names):
        raise DataError(f"{folder / 'state.json'} should list the names of the Arrow files.")
    features = _read_description(folder / "dataset_info.json").get("features")
    return [Table(folder / name, part, as_mapping(features)) for name in names]


def _read_description(file: Path) -> Mapping[str, Any]:
    try:
        return as_mapping(read_json(file))
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise DataError(f"{file} is damaged ({error}).") from None


def _is_plain_name(name: object) -> bool:
    """Whether a name is one of a file or folder in the same folder."""
    return isinstance(name, str) and Path(name).name == name and name not in ("", ".", "..")


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object, or an empty one in place of another value."""
    return value if isinstance(value, dict) else {}
