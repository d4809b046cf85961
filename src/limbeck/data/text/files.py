"""Text files in UTF-8: plain or gzipped, a single file or a folder."""

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck._base.mapped_memory import fits_memory
from limbeck.data.checks import files_below, join_some, subfolders, warn_of_unused
from limbeck.data.text.long_text import SEPARATOR, LongText, TextPart
from limbeck.data.text.manual import read_topics
from limbeck.data.text.reading import read_part

SPLITS = ("train", "val", "test")


def python_topics() -> bytes:
    """Return the topics of Python's own manual, in alphabetical order.

    These are the texts that ``help('LAMBDAS')`` shows.

    Raises:
        DataError: If this Python lacks them.
    """
    topics = read_topics()
    return SEPARATOR.join(topics[name].encode() for name in sorted(topics))


def read_text(path: Path, *, in_memory: bool | None = None) -> LongText:
    """Read a text file in UTF-8, without a byte order mark.

    Args:
        path: Path of the file, gzipped or not, as detected from its content.
        in_memory: Whether the text stays in memory; None to decide by its size.

    Raises:
        DataError: If the file is missing, damaged, empty or not text in UTF-8.
    """
    if os.path.isdir(path):  # Path.is_dir raises an error in a folder that may not be entered
        raise DataError(
            f"{path} is a folder. Set data=text_folder data.root={path} to read the files in it."
        )
    text = LongText([read_part(path, in_memory=keeps_in_memory([path], in_memory))])
    if text.is_blank:
        raise DataError(f"{path} is empty; expected a text.")
    return text


def keeps_in_memory(files: Iterable[Path], in_memory: bool | None) -> bool:
    """Whether the text of files stays in memory."""
    if in_memory is not None:
        return in_memory
    return fits_memory(sum(os.path.getsize(file) for file in files if os.path.isfile(file)))


def read_folder(
    root: Path, pattern: str | Iterable[str], *, in_memory: bool | None = None
) -> dict[str, LongText]:
    """Read the texts of a folder by split.

    Args:
        root: Folder of the texts, or of the folders ``train``, ``val`` and ``test``. Hidden files
            are skipped.
        pattern: Pattern of the file names to read, such as ``*.txt``, or several.
        in_memory: Whether the texts stay in memory; None to decide by their size.

    Returns:
        The text of each split that has a folder; a single ``train`` if there are no such folders.

    Raises:
        ConfigError: If a pattern is empty or not a string.
        DataError: If there is no text, if files cannot be read (each is named), if folders look
            like splits under other names, or if a text is in two splits.

    Warns:
        LimbeckWarning: If files from which splits are cut are copies of each other.
    """
    patterns = check_patterns(pattern)
    folders = _split_folders(root)
    if folders is None:
        folders = {"train": root}
    else:
        _warn_of_unused_texts(root, patterns)
    files = {part: matching_files(folder, patterns) for part, folder in folders.items()}
    all_files = [file for group in files.values() for file in group]
    contents = read_files(all_files, root, in_memory=keeps_in_memory(all_files, in_memory))
    _check_copies(files, contents)
    texts = {}
    for part, group in files.items():
        texts[part] = LongText([contents[file] for file in group])
        if texts[part].is_blank:
            raise DataError(f"{folders[part]} contains only empty files; expected texts.")
    return texts


def check_patterns(pattern: str | Iterable[str]) -> list[str]:
    """Return patterns of file names as a list.

    Raises:
        ConfigError: If a pattern is empty or not a string.
    """
    patterns = [pattern] if isinstance(pattern, str) else list(pattern)
    if not patterns or not all(isinstance(name, str) and name for name in patterns):
        raise ConfigError(
            f"data.pattern={pattern!r} should be a pattern of file names such as '*.txt', or a "
            "list of patterns."
        )
    return patterns


def _split_folders(root: Path) -> dict[str, Path] | None:
    """Return the folders of given splits; None if there are none."""
    folders = subfolders(root)
    if "train" not in folders:
        for name in sorted(folders):
            if name.lower() in ("train", "training"):
                raise DataError(
                    f"{root}: {name} looks like a split. Splits are called {', '.join(SPLITS)}, "
                    "all in lower case."
                )
        return None
    unknown = sorted(folders.keys() - set(SPLITS))
    if unknown:
        raise DataError(
            f"{root}: {join_some(unknown)} next to train. Splits are called {', '.join(SPLITS)}."
        )
    return {part: folders[part] for part in SPLITS if part in folders}


def _warn_of_unused_texts(root: Path, patterns: Sequence[str]) -> None:
    """Warn of texts next to the folders of given splits."""
    names = []
    for path in sorted(root.iterdir()):
        if path.is_file() and any(fnmatchcase(path.name, pattern) for pattern in patterns):
            names.append(path.name)
    warn_of_unused(root, names, "text", "next to train")


def matching_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files below a folder that match a pattern, in the same order on every system."""
    paths = {path.relative_to(folder).as_posix(): path for path in files_below(folder)}
    matching = []
    for key in sorted(paths):
        if any(fnmatchcase(paths[key].name, pattern) for pattern in patterns):
            matching.append(paths[key])
    if not matching:
        others = f"{len(paths)} other files, such as {min(paths)}," if paths else "no files"
        raise DataError(
            f"{folder} contains {others} and none called {' or '.join(patterns)}. Select the files "
            "with data.pattern='*.EXT'."
        )
    return matching


def read_files(
    files: Sequence[Path], root: Path, *, in_memory: bool = True
) -> dict[Path, TextPart]:
    """Read text files in UTF-8, gzipped or not.

    Args:
        files: Paths of the files.
        root: Folder of all files, for messages.
        in_memory: Whether the texts stay in memory.

    Raises:
        DataError: If files cannot be read; each is named.
    """
    contents: dict[Path, TextPart] = {}
    problems: list[str] = []
    for file in files:
        try:
            contents[file] = read_part(file, in_memory=in_memory)
        except DataError as error:
            problems.append(str(error).rstrip("."))
    if problems:
        raise DataError(
            f"{root}: {len(problems)} of {len(files)} text files cannot be used: "
            f"{join_some(problems)}."
        )
    return contents


def _check_copies(files: Mapping[str, Sequence[Path]], contents: Mapping[Path, TextPart]) -> None:
    """Check that no text is in two given splits, and warn of copies that may be cut apart."""
    first: dict[bytes, tuple[str, Path]] = {}
    in_two_splits, in_training = [], []
    for part, group in files.items():
        for file in group:
            if contents[file].is_blank:
                continue
            other_part, other_file = first.setdefault(contents[file].digest, (part, file))
            if other_part != part:
                in_two_splits.append(f"{file} = {other_file}")
            elif other_file != file and part == "train":
                in_training.append(f"{file} = {other_file}")
    if in_two_splits:
        texts = "1 text is" if len(in_two_splits) == 1 else f"{len(in_two_splits)} texts are"
        raise DataError(
            f"{texts} in two splits, so the test would measure memorised text: "
            f"{join_some(in_two_splits)}. Remove one of each pair."
        )
    if in_training and len(files) < len(SPLITS):
        texts = (
            "1 file is a copy" if len(in_training) == 1 else f"{len(in_training)} files are copies"
        )
        warnings.warn(
            f"{texts}, so text of the other splits may also be in training: "
            f"{join_some(in_training)}. Remove one of each pair.",
            LimbeckWarning,
            stacklevel=4,
        )
