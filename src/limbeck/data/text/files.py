"""Text files as bytes of UTF-8: plain or gzipped, alone or all of a folder."""

import codecs
import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from limbeck._base.errors import ConfigError, DataError
from limbeck.data.images.decoding import listed

SPLITS = ("train", "val", "test")
SEAM = b"\n\n"
_CHUNK = 1 << 20


def python_topics() -> bytes:
    """The topics of Python's own manual (what ``help('LAMBDAS')`` shows), in alphabetical order.

    Raises:
        DataError: this Python lacks them.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError(
            "This Python lacks its manual (pydoc_data.topics); name a text with data.path=FILE."
        ) from None
    return SEAM.join(topics[name].encode() for name in sorted(topics))


def read_text(path: Path) -> bytes:
    """A file of text in UTF-8, gzipped or not (told by its content), without a byte order mark.

    Raises:
        DataError: it is missing, damaged, empty or no text in UTF-8.
    """
    if os.path.isdir(
        path
    ):  # unlike Path.is_dir, it raises nothing where a folder may not be entered
        raise DataError(
            f"{path} is a folder; set data=text_folder data.root={path} to read the files in it."
        )
    content = _content(path)
    if _is_blank(content):
        raise DataError(f"{path} is empty; a text was expected.")
    return content


def read_folder(root: Path, pattern: str | Iterable[str]) -> dict[str, bytes]:
    """The texts of a folder by split: of ``train`` and whatever lies beside it, or all as
    ``train``.

    Args:
        root: the folder. Hidden files are skipped.
        pattern: names of the files wanted, as in ``*.txt``; one or several.

    Raises:
        ConfigError: a pattern is none.
        DataError: there is no text, files cannot be read (each is named), folders look like splits
            under other names, or a file is in two splits.
    """
    patterns = [pattern] if isinstance(pattern, str) else list(pattern)
    if not patterns or not all(isinstance(one, str) and one for one in patterns):
        raise ConfigError(
            f"data.pattern={pattern!r} should be names of files as in '*.txt', one or a list."
        )
    folders = _splits(root) or {"train": root}
    files = {part: _files(folder, patterns) for part, folder in folders.items()}
    contents = _read_all([file for found in files.values() for file in found], root)
    _check_apart(files, contents)
    joined = {
        part: SEAM.join(contents[file] for file in found if contents[file])
        for part, found in files.items()
    }
    for part, text in joined.items():
        if _is_blank(text):
            raise DataError(f"{folders[part]} holds empty files alone; texts were expected.")
    return joined


def _is_blank(content: bytes) -> bool:
    return not content or content.isspace()


def _content(path: Path) -> bytes:
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise DataError(f"{path} is neither a file nor a folder; a text was expected.")
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged ({error}); fetch it again.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None
    _check_utf8(content, path)
    return content.removeprefix(codecs.BOM_UTF8)


def _check_utf8(content: bytes, path: Path) -> None:
    """Every byte should be part of a character, and none should be NUL, which no text holds."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise DataError(
            f"{path} is text in UTF-16; UTF-8 was expected. Convert it: iconv -f UTF-16 -t UTF-8 "
            "FILE > NEW."
        )
    if (place := content.find(0)) >= 0:
        raise DataError(
            f"{path} is no text: byte {place:,} is 0, as in binary files. Name a text file in "
            "UTF-8."
        )
    decoder = codecs.getincrementaldecoder("utf-8")()
    for first in range(0, len(content) + 1, _CHUNK):
        part, held = content[first : first + _CHUNK], len(decoder.getstate()[0])
        try:
            decoder.decode(part, final=first + _CHUNK > len(content))
        except UnicodeDecodeError as error:
            place = first - held + error.start
            raise DataError(
                f"{path} is no text in UTF-8: byte {place:,} is 0x{content[place]:02x} "
                f"({error.reason}). If it is text "
                "in another encoding, convert it: iconv -f LATIN1 -t UTF-8 FILE > NEW."
            ) from None


def _splits(root: Path) -> dict[str, Path] | None:
    """The folders of given splits, if there are any."""
    folders = next(os.walk(root, onerror=_refuse))[1]
    inside = {name: root / name for name in folders if not _is_hidden(name)}
    if "train" not in inside:
        for name in sorted(inside):
            if name.lower() in ("train", "training"):
                raise DataError(
                    f"{root}: {name} looks like a split; splits are called {', '.join(SPLITS)}, "
                    "all in small letters."
                )
        return None
    strange = sorted(inside.keys() - set(SPLITS))
    if strange:
        raise DataError(
            f"{root}: {listed(strange)} beside train; splits are called {', '.join(SPLITS)}."
        )
    return {part: inside[part] for part in SPLITS if part in inside}


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """The files below a folder that fit a pattern, in the order of their paths on every system."""
    seen: dict[str, Path] = {}
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        paths = [Path(place, name) for name in names if not _is_hidden(name)]
        seen |= {path.relative_to(folder).as_posix(): path for path in paths}
    found = [
        seen[name]
        for name in sorted(seen)
        if any(fnmatchcase(seen[name].name, one) for one in patterns)
    ]
    if not found:
        others = f"{len(seen)} other files, as {min(seen)}" if seen else "no files"
        raise DataError(
            f"{folder} holds {others}, and none called {' or '.join(patterns)}. Name the files "
            "wanted with "
            "data.pattern='*.EXT'."
        )
    return found


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be read ({error.strerror}).")


def _read_all(files: Sequence[Path], root: Path) -> dict[Path, bytes]:
    found: dict[Path, bytes] = {}
    bad: list[str] = []
    for file in files:
        try:
            found[file] = _content(file)
        except DataError as error:
            bad.append(str(error).rstrip("."))
    if bad:
        raise DataError(
            f"{root}: {len(bad)} of {len(files)} text files cannot be used: {listed(bad)}."
        )
    return found


def _check_apart(files: dict[str, list[Path]], contents: dict[Path, bytes]) -> None:
    """No text should be in two of the given splits."""
    if len(files) == 1:
        return
    seen: dict[bytes, tuple[str, Path]] = {}
    pairs = []
    for part, found in files.items():
        for file in found:
            if not _is_blank(contents[file]):
                first = seen.setdefault(hashlib.sha256(contents[file]).digest(), (part, file))
                pairs += [f"{file} = {first[1]}"] if first[0] != part else []
    if pairs:
        raise DataError(
            f"{len(pairs)} text{'s are' if len(pairs) > 1 else ' is'} in two splits, which would "
            "test what was learnt "
            f"by heart: {listed(pairs)}. Remove one of each pair, or let limbeck split a single "
            "folder."
        )
