"""Files that others may have written, read within limits of memory and time.

Such a file may be a pipe, from which a read waits forever; be larger than the memory; or grow when
it is read, as nested JSON, aliases in YAML and compressed arrays do.

NumPy and PyYAML are imported only where they are used, because ``limbeck --help`` needs neither.
"""

import gzip
import io
import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from limbeck._base.runtime.files import check_archive, open_file

if TYPE_CHECKING:
    import yaml
    from numpy.lib.npyio import NpzFile

MAX_TEXT_BYTES = 64 << 20
MAX_NESTING, MAX_DIGITS = 100, 40
"""Largest depth of lists and objects in JSON, and number of digits of a whole number."""
MAX_NODES = 1_000_000
"""Largest number of settings in a YAML file, in which an alias counts as what it stands for."""
MIN_UNPACKED_BYTES, MAX_ARRAY_RATIO, MAX_GZIP_RATIO = 256 << 20, 64, 100
"""Size up to which any compressed file may unpack, and largest ratios to the size of the file."""


def read_bytes(file: Path, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """Read a file.

    Args:
        file: Path of the file.
        max_bytes: Largest size in bytes.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is a pipe or device, or too large.
    """
    with open_file(file) as stream:
        is_larger = os.fstat(stream.fileno()).st_size > max_bytes
        content = b"" if is_larger else stream.read(max_bytes + 1)
    if is_larger or len(content) > max_bytes:
        raise ValueError(f"it is larger than {max_bytes >> 20} MiB")
    return content


@contextmanager
def open_text(file: Path) -> Iterator[TextIO]:
    """Open a text file in UTF-8, such as a table, for reading line by line.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is a pipe or device.
    """
    with open_file(file) as stream, io.TextIOWrapper(stream, "utf-8", newline="") as text:
        yield text


def read_text(file: Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Read a text file in UTF-8; see :func:`read_bytes`.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not UTF-8, a pipe or device, or too large.
    """
    return read_bytes(file, max_bytes).decode("utf-8").replace("\r\n", "\n")


def decompress(content: bytes) -> bytes:
    """Decompress a gzip file.

    Raises:
        EOFError, BadGzipFile, zlib.error: If it is damaged.
        ValueError: If it unpacks to much more than its size.
    """
    max_bytes = max(MIN_UNPACKED_BYTES, MAX_GZIP_RATIO * len(content))
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        result = stream.read(max_bytes + 1)
    if len(result) > max_bytes:
        raise ValueError(
            f"{len(content):,} bytes unpack to more than {max_bytes:,}; unpack the file yourself, "
            "with gunzip, if it is right"
        )
    return result


# JSON ---------------------------------------------------------------------------------------------


def read_json(file: Path, max_bytes: int = MAX_TEXT_BYTES) -> Any:
    """Read a JSON file; see :func:`read_bytes`.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged, nested too deeply, a pipe or device, or too large.
    """
    return parse_json(read_bytes(file, max_bytes))


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Parse JSON.

    Args:
        text: JSON.
        options: Further arguments of ``json.loads``.

    Raises:
        ValueError: If it is damaged or nested too deeply, or if a number is too long.
    """
    try:
        if options or isinstance(text, bytes):
            content = json.loads(text, parse_int=_parse_integer, **options)
        else:
            content = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_NESTING} levels deep") from None
    if _count_brackets(text) > MAX_NESTING:
        _check_nesting(content)
    return content


def _parse_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"it contains a number of {len(digits):,} digits")
    return int(digits)


_DECODER = json.JSONDecoder(parse_int=_parse_integer)
"""Decoder of text without further options: ``json.loads`` would make one for each call."""


def _count_brackets(text: str | bytes) -> int:
    """Return the number of opening brackets; JSON cannot be nested more deeply."""
    if isinstance(text, str):
        return text.count("[") + text.count("{")
    return text.count(b"[") + text.count(b"{")


def _check_nesting(content: Any) -> None:
    level = [content]
    for _ in range(MAX_NESTING + 1):
        inner: list[Any] = []
        for value in level:
            values = value.values() if isinstance(value, dict) else value
            if isinstance(value, (dict, list)):
                inner.extend(one for one in values if isinstance(one, (dict, list)))
        if not inner:
            return
        level = inner
    raise ValueError(f"it is nested more than {MAX_NESTING} levels deep")


# YAML ---------------------------------------------------------------------------------------------


def parse_yaml(text: str) -> Any:
    """Parse YAML without objects, such as settings.

    Raises:
        YAMLError: If it is damaged or nested too deeply, if aliases make it too large, or if a
            number is too long.
    """
    import yaml

    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count_nodes(node, {})
        return loader.construct_document(node)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except ValueError as error:  # a date or number that is none
        raise yaml.YAMLError(str(error)) from None
    finally:
        loader.dispose()


def _count_nodes(node: "yaml.Node", counts: dict[int, int]) -> int:
    """Count the nodes below a node, those of an alias each time."""
    import yaml

    if isinstance(node, yaml.ScalarNode):
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
            raise yaml.YAMLError(f"it contains a number of {len(node.value):,} digits")
        return 1
    if id(node) not in counts:
        counts[id(node)] = 0  # while it is counted
        children = node.value
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        counts[id(node)] = 1 + sum(_count_nodes(child, counts) for child in children)
    elif counts[id(node)] == 0:
        raise yaml.YAMLError("it contains itself, by an alias (*NAME)")
    if counts[id(node)] > MAX_NODES:
        raise yaml.YAMLError(f"it has more than {MAX_NODES:,} settings, aliases included")
    return counts[id(node)]


# Arrays -------------------------------------------------------------------------------------------


DAMAGED_ARRAYS = (
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,  # of zipfile, about encryption and unknown methods
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors of reading arrays from a damaged archive, or from one of somebody else."""


@contextmanager
def open_arrays(file: Path) -> Iterator["NpzFile"]:
    """Open an archive of arrays (``.npz``), without pickles.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is a pipe or device, or unpacks to much more than its size.
        BadZipFile: If it is damaged.
    """
    import numpy as np

    with open_file(file) as stream:
        with zipfile.ZipFile(stream) as archive:
            max_bytes = max(MIN_UNPACKED_BYTES, MAX_ARRAY_RATIO * file.stat().st_size)
            check_archive(archive, max_bytes, max_ratio=max_bytes)
        stream.seek(0)
        try:
            with np.load(stream, allow_pickle=False) as arrays:
                yield arrays
        except MemoryError:
            raise ValueError("an array does not fit into memory") from None
