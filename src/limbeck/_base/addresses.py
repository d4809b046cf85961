"""Addresses of files and folders elsewhere, as opposed to paths.

What is at an address has a copy on this machine while it is used. Messages name the address instead
of the copy.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+::)*[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_copies: dict[str, str] = {}
"""Addresses by the paths of their copies."""


def is_address(source: str) -> bool:
    """Whether a text is an address for fsspec, such as ``s3://bucket/answers.parquet``."""
    return _ADDRESS.match(source) is not None


def path_of(source: str | Path) -> Path | None:
    """Return the path of a place on this machine, also of ``file://``; None for one elsewhere."""
    text = str(source)
    if not is_address(text):
        return Path(source)
    if text.startswith("file://") and "::" not in text:
        return Path(url2pathname(urlsplit(text).path))
    return None


def add_copy(path: Path, address: str) -> None:
    """Let messages name an address in place of the path of its copy on this machine."""
    _copies[str(path)] = address


def with_addresses(text: str) -> str:
    """Return a text in which addresses stand in place of the paths of their copies."""
    for path in sorted(_copies, key=len, reverse=True):
        text = text.replace(path, _copies[path])
    return text
