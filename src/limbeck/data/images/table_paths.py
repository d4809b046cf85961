"""Image files that a table names, however it writes their names."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from limbeck._base.errors import DataError
from limbeck.data.checks import join_some
from limbeck.data.images.listing import IMAGE_SUFFIXES


def find_files(names: Sequence[str], folder: Path, suffix: str, table: Path) -> list[Path]:
    """Return the path of each image file that a table names.

    A name is a path within the folder, or an absolute path. If there is no such file, names are
    compared without their suffix, without upper and lower case, in another Unicode form, and with
    backslashes as on Windows. A name without any file stays as it is.

    Args:
        names: Names of the files.
        folder: Folder of the files.
        suffix: Suffix to add to the names; a name that has it already keeps it.
        table: File of the table, for messages.

    Raises:
        DataError: If several files have a name.
    """
    finder = _Finder(folder, suffix)
    paths = [finder.find(name) for name in names]
    if finder.ambiguous:
        raise DataError(
            f"{table}: {len(finder.ambiguous)} names belong to several files: "
            f"{join_some(finder.ambiguous)}. Add the suffix in the table, or set data.suffix=."
        )
    return paths


@dataclass
class _Finder:
    """Finds files by names.

    Attributes:
        folder: Folder of the files.
        suffix: Suffix to add to the names.
        ambiguous: Names of several files, for messages.
    """

    folder: Path
    suffix: str
    ambiguous: list[str] = field(default_factory=list)
    _folders: dict[Path, dict[str, list[str]]] = field(default_factory=dict)

    def find(self, name: str) -> Path:
        """Return the path of a file."""
        names = [name + self.suffix, name]
        if "\\" in name:
            names += [one.replace("\\", "/") for one in names]
        paths = [self.folder / one for one in dict.fromkeys(names)]
        for path in paths:
            if os.path.lexists(path) and not os.path.isdir(path):
                return path
        for path in paths:
            files = self._files_in(path.parent).get(_plain(path.name), [])
            if len(files) > 1:
                self.ambiguous.append(f"{name} ({' and '.join(files)})")
            if files:
                return path.parent / files[0]
        return paths[0]

    def _files_in(self, folder: Path) -> dict[str, list[str]]:
        """Return the images in a folder by their names with and without suffix."""
        if folder not in self._folders:
            files = defaultdict(list)
            try:
                names = sorted(os.listdir(folder))
            except OSError:  # the decoder reports the files that are missing
                names = []
            for name in names:
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in IMAGE_SUFFIXES:
                    for key in {_plain(name), _plain(stem)}:
                        files[key].append(name)
            self._folders[folder] = dict(files)
        return self._folders[folder]


def _plain(name: str) -> str:
    """Return a name that is equal for all ways of writing it."""
    return unicodedata.normalize("NFC", name).casefold()
