"""Files of a bundle, in a folder or a zip file, checked against their checksums."""

import hashlib
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

from .errors import SHORTAGES, BundleError, one_line
from .file_names import (
    CARD,
    GOLDEN,
    KINDS,
    LABELS,
    METADATA,
    PREPROCESS,
    RUNTIME,
    SIGNATURE,
    SUMS,
    TOKENIZER,
)
from .files import MAX_RATIO, MAX_TEXT_BYTES, open_file
from .tokenizer_limits import MAX_TOKENIZER_BYTES

MAX_MODEL_BYTES = 2 << 30
"""Largest size of a model, and of the packed golden arrays."""
MAX_FILES = 64
"""Largest number of files in a bundle."""
_SUM = re.compile(
    rf"(?P<digest>[0-9a-f]{{64}})  (?P<name>(?:{RUNTIME}/)?[^/\\\x00-\x1f\x7f]{{1,255}})"
)
"""One line of ``SHA256SUMS``: the checksum and the name of a file in the bundle itself."""


class CheckedFiles:
    """Files of a bundle. Each is checked against ``SHA256SUMS`` before it is used.

    Args:
        path: Folder of the bundle, or its zip file, which is read without unpacking.

    Attributes:
        sums: Content of ``SHA256SUMS``.

    Raises:
        BundleError: If it is not a bundle, or ``SHA256SUMS`` is damaged.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._is_zip = _is_zip(self.path)
        self.sums = self._read(SUMS)
        self._sums = self._read_sums()

    def files(self) -> list[str]:
        """Return the names of all files in ``SHA256SUMS``."""
        return list(self._sums)

    def unexpected_files(self) -> list[str]:
        """Return the names of files in the folder that do not belong to the bundle."""
        if self._is_zip:
            return []
        expected = {*self._sums, SUMS, CARD, SIGNATURE}
        names = {path.name for path in self.path.iterdir()}
        runtime = self.path / RUNTIME
        if any(name.startswith(f"{RUNTIME}/") for name in expected) and runtime.is_dir():
            names.remove(RUNTIME)
            names |= {f"{RUNTIME}/{path.name}" for path in runtime.iterdir()}
        return sorted(names - expected)

    def read(self, name: str) -> bytes:
        """Read a file of the bundle and check it against its checksum.

        Raises:
            BundleError: If the file is missing or was changed.
        """
        if name not in self._sums:
            raise self.error(f"{SUMS} does not list {name}")
        content = self._read(name)
        if hashlib.sha256(content).hexdigest() != self._sums[name]:
            raise self.error(
                f"{name} is damaged or was changed: its SHA-256 differs from the one in {SUMS}"
            )
        return content

    def read_signature(self) -> bytes:
        """Read the signature of the checksums.

        Raises:
            BundleError: If it is missing or cannot be read.
        """
        return self._read(SIGNATURE)

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON object.

        Raises:
            BundleError: If the file is missing, was changed, or contains something else.
        """
        try:
            content = json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise self.error(f"{name} is damaged ({error})") from None
        if not isinstance(content, dict):
            raise self.error(f"{name} should contain an object")
        return content

    def error(self, fault: str) -> BundleError:
        """Return an error that names the bundle."""
        return BundleError(f"{self.path}: {fault}.")

    def _read(self, name: str) -> bytes:
        try:
            if self._is_zip:
                return self._read_zipped(name)
            with open_file(self.path / name) as stream:
                self._check_size(name, os.fstat(stream.fileno()).st_size)
                return stream.read()
        except BundleError:
            raise
        except FileNotFoundError:
            hint = "the bundle is incomplete"
            if name == SUMS:
                hint = "it is not a bundle written by 'limbeck export'"
            elif name == SIGNATURE:
                hint = "the bundle is not signed"
            raise self.error(f"{name} is missing; {hint}") from None
        except Exception as error:  # readers may raise anything on a damaged file
            if getattr(error, "errno", None) in SHORTAGES:
                raise
            raise self.error(f"{name} cannot be read ({one_line(error)})") from None

    def _read_zipped(self, name: str) -> bytes:
        with zipfile.ZipFile(self.path) as archive:
            entries = [e for e in archive.infolist() if f"/{e.filename}".endswith(f"/{name}")]
            if not entries:
                raise FileNotFoundError
            if len(entries) > 1:
                raise self.error(f"{name} occurs twice")
            size, compressed_size = entries[0].file_size, entries[0].compress_size
            self._check_size(name, size)
            if size > max(MAX_TEXT_BYTES, MAX_RATIO * compressed_size):
                raise self.error(f"{name} unpacks from {compressed_size:,} to {size:,} bytes")
            return archive.read(entries[0])

    def _check_size(self, name: str, size: int) -> None:
        max_bytes = MAX_MODEL_BYTES if name.endswith((".onnx", ".npz")) else MAX_TEXT_BYTES
        if name == TOKENIZER:
            max_bytes = MAX_TOKENIZER_BYTES
        if size > max_bytes:
            raise self.error(f"{name} is larger than {max_bytes >> 20} MiB")

    def _read_sums(self) -> dict[str, str]:
        sums = {}
        lines = self.sums.decode("utf-8", "backslashreplace").split("\n")
        for number, line in enumerate(lines, 1):
            if not line and number == len(lines):
                continue
            entry = _SUM.fullmatch(line.removesuffix("\r"))
            if entry is None or not _is_name(entry["name"]) or entry["name"] in sums:
                is_link = not self._is_zip and (self.path / SUMS).is_symlink()
                # A link may lead to a file of the user, whose content is nobody else's business.
                content = "something else behind a link" if is_link else repr(line[:80])
                raise self.error(
                    f"{SUMS} is damaged in line {number}: expected a checksum, two spaces and the "
                    f"name of a file, found {content}"
                )
            sums[entry["name"]] = entry["digest"]
        if len(sums) > MAX_FILES:
            raise self.error(f"{SUMS} lists more than {MAX_FILES} files")
        required = (METADATA, LABELS, PREPROCESS, GOLDEN, KINDS["fp32"])
        missing = [name for name in required if name not in sums]
        if missing:
            raise self.error(f"{SUMS} does not list {', '.join(missing)}")
        return sums


def _is_name(name: str) -> bool:
    return name.rpartition("/")[2] not in (".", "..", SUMS)


def _is_zip(path: Path) -> bool:
    try:
        if path.is_dir():
            return False
        exists = path.exists()
        is_zip = path.is_file() and zipfile.is_zipfile(path)
    except OSError as error:
        if error.errno in SHORTAGES:
            raise
        raise BundleError(f"{path} cannot be read ({error.strerror}).") from None
    if not exists:
        advice = "Choose a bundle: a folder or zip file written by 'limbeck export'."
        raise BundleError(f"{path} does not exist. {advice}")
    if not is_zip:
        raise BundleError(f"{path} is not a bundle; expected a folder or a zip file.")
    return True
