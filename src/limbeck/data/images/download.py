"""Downloads of public datasets: by one process at a time, compared with their published MD5."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.request import urlopen

from limbeck._base import cache
from limbeck._base.errors import ResourceError, UntrustedFileError
from limbeck._base.files import remove_new_folder_on_failure
from limbeck._base.open_folder import OpenFolder
from limbeck._base.progress import StageProgress

MAX_FILE_BYTES = 1 << 30
"""Largest size of a file; the archives of CIFAR have 162 million bytes."""
TIMEOUT = 30.0
"""Timeout of a download without an answer, in seconds."""


def download(urls: Sequence[str], file: Path, md5: str, *, dataset: str) -> None:
    """Download a file, unless another process is already doing so.

    Args:
        urls: Addresses of the file, tried one after the other.
        file: Path to save it to. A link in its place is replaced, not followed.
        md5: MD5 of the file, as its authors publish it.
        dataset: Name of the dataset, for messages.

    Raises:
        ResourceError: If the file could not be downloaded.
        UntrustedFileError: If its MD5 differs.
    """
    errors: list[Exception] = []

    def on_wait() -> None:
        StageProgress().say(f"waiting for another process that downloads {file.name}")

    for url in urls:
        try:
            with remove_new_folder_on_failure(file.parent):
                file.parent.mkdir(parents=True, exist_ok=True)
                with (
                    OpenFolder.open(file.parent) as folder,
                    cache.hold_lock(folder, f".{file.name}", on_wait),
                ):
                    _download_once(folder, file.name, url, md5)
        except (OSError, HTTPException, ValueError) as error:  # the server may not speak HTTP
            errors.append(error)
        else:
            return
    reason = " ".join(str(errors[0]).split()) or type(errors[0]).__name__
    raise ResourceError(
        f"{dataset} could not be downloaded from {urls[0]} to {file.parent} ({reason}). Check the "
        f"network and the disk, or copy {file.name} there by hand."
    )


def _download_once(folder: OpenFolder, name: str, url: str, md5: str) -> None:
    """Download a file while the lock is held, unless it is there by now."""
    with suppress(FileNotFoundError, OSError), folder.read(name):
        return

    def write(file: BinaryIO) -> None:
        with urlopen(url, timeout=TIMEOUT) as response:
            size = int(response.headers.get("Content-Length") or 0)
            digest = _copy(response, file, f"download of {name}", size)
        if digest != md5:
            raise UntrustedFileError(
                f"The download of {url} is not the published file: its MD5 is {digest}, "
                f"expected {md5}. Try again later."
            )

    folder.remove_temporary_files(name)
    folder.replace(name, write, sync=True)


def _copy(source: BinaryIO, target: BinaryIO, label: str, size: int) -> str:
    """Copy with a progress bar and return the MD5 of the content."""
    digest = hashlib.md5(usedforsecurity=False)
    done = 0
    with StageProgress().stage(label, size or MAX_FILE_BYTES) as advance:
        while chunk := source.read(1 << 20):
            done += len(chunk)
            if done > MAX_FILE_BYTES:
                raise ValueError(f"it has more than {MAX_FILE_BYTES:,} bytes")
            target.write(chunk)
            digest.update(chunk)
            advance(done, f"{done / 1e6:.0f} MB")
    return digest.hexdigest()
