"""Text files as bytes of UTF-8: plain or gzipped, a single file or a folder."""

import codecs
import gzip
import hashlib
import os
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck._base.reading import decompress
from limbeck._base.runtime.files import open_file
from limbeck.data.checks import files_below, join_some, subfolders, warn_of_unused
from limbeck.data.text.manual import read_topics

SPLITS = ("train", "val", "test")
SEPARATOR = b"\n\n"
_CHUNK = 1 << 20


def python_topics() -> bytes:
    """Return the topics of Python's own manual, in alphabetical order.

    These are the texts that ``help('LAMBDAS')`` shows.

    Raises:
        DataError: If this Python lacks them.
    """
    topics = read_topics()
    return SEPARATOR.join(topics[name].encode() for name in sorted(topics))


def read_text(path: Path) -> bytes:
    """Read a text file in UTF-8, without a byte order mark.

    Args:
        path: Path of the file, gzipped or not, as detected from its content.

    Raises:
        DataError: If the file is missing, damaged, empty or not text in UTF-8.
    """
    if os.path.isdir(path):  # Path.is_dir raises an error in a folder that may not be entered
        raise DataError(
            f"{path} is a folder. Set data=text_folder data.root={path} to read the files in it."
        )
    content = _read(path)
    if _is_blank(content):
        raise DataError(f"{path} is empty; expected a text.")
    return content


def read_folder(root: Path, pattern: str | Iterable[str]) -> dict[str, bytes]:
    """Read the texts of a folder by split.

    Args:
        root: Folder of the texts, or of the folders ``train``, ``val`` and ``test``. Hidden files
            are skipped.
        pattern: Pattern of the file names to read, such as ``*.txt``, or several.

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
    contents = read_files([file for group in files.values() for file in group], root)
    _check_copies(files, contents)
    texts = {}
    for part, group in files.items():
        texts[part] = SEPARATOR.join(contents[file] for file in group if contents[file])
        if _is_blank(texts[part]):
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


def _is_blank(content: bytes) -> bool:
    return not content or content.isspace()


def _read(path: Path) -> bytes:
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise DataError(f"{path} is neither a file nor a folder; expected a text.")
        with open_file(path) as file:
            content = file.read()
        if content[:2] == b"\x1f\x8b":
            content = decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged ({error}). Download it again.") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None
    _check_utf8(content, path)
    return content.removeprefix(codecs.BOM_UTF8)


def _check_utf8(content: bytes, path: Path) -> None:
    """Check that the bytes are valid UTF-8 without NUL characters."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise DataError(
            f"{path} is text in UTF-16; expected UTF-8. Convert it: iconv -f UTF-16 -t UTF-8 "
            "FILE > NEW."
        )
    if (offset := content.find(0)) >= 0:
        raise DataError(
            f"{path} is not text: byte {offset:,} is 0, as in binary files. Choose a text file in "
            "UTF-8."
        )
    decoder = codecs.getincrementaldecoder("utf-8")()
    for first in range(0, len(content) + 1, _CHUNK):
        part = content[first : first + _CHUNK]
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(part, final=first + _CHUNK > len(content))
        except UnicodeDecodeError as error:
            offset = first - pending + error.start
            raise DataError(
                f"{path} is not text in UTF-8: byte {offset:,} is 0x{content[offset]:02x} "
                f"({error.reason}). If it is text in another encoding, convert it: "
                "iconv -f LATIN1 -t UTF-8 FILE > NEW."
            ) from None


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


def read_files(files: Sequence[Path], root: Path) -> dict[Path, bytes]:
    """Read text files in UTF-8, gzipped or not.

    Args:
        files: Paths of the files.
        root: Folder of all files, for messages.

    Raises:
        DataError: If files cannot be read; each is named.
    """
    contents: dict[Path, bytes] = {}
    problems: list[str] = []
    for file in files:
        try:
            contents[file] = _read(file)
        except DataError as error:
            problems.append(str(error).rstrip("."))
    if problems:
        raise DataError(
            f"{root}: {len(problems)} of {len(files)} text files cannot be used: "
            f"{join_some(problems)}."
        )
    return contents


def _check_copies(files: Mapping[str, Sequence[Path]], contents: Mapping[Path, bytes]) -> None:
    """Check that no text is in two given splits, and warn of copies that may be cut apart."""
    first: dict[bytes, tuple[str, Path]] = {}
    in_two_splits, in_training = [], []
    for part, group in files.items():
        for file in group:
            if _is_blank(contents[file]):
                continue
            digest = hashlib.sha256(contents[file]).digest()
            other_part, other_file = first.setdefault(digest, (part, file))
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
