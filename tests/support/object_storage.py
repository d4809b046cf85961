"""A local S3 server, and a store in memory, for runs and data at addresses."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

BUCKET = "limbeck"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing-key",
    "AWS_SECRET_ACCESS_KEY": "testing-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def s3_server() -> Iterator[str]:
    """Run an S3 server with an empty bucket; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address)
        request = urllib.request.Request(f"{address}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request).close()
        yield address
    finally:
        server.kill()
        server.wait()


def machine(server: str, cache: Path) -> dict[str, str]:
    """Environment variables of a machine: an S3 server, and caches of its own."""
    return {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": server,
        "AWS_EC2_METADATA_DISABLED": "true",
        "LIMBECK_CACHE": str(cache / "cache"),
        "LIMBECK_STORE": str(cache / "store"),
    }


def _wait_for(address: str) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{address}/moto-api/").close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


class FaultyStorage(MemoryFileSystem):
    """A store in memory, ``faulty://``, whose calls fail as often as a test says."""

    protocol = "faulty"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    faults: ClassVar[list[Exception]] = []
    """Errors of the next calls."""
    calls: ClassVar[list[str]] = []
    """Names of the methods that were called, and the file of each."""

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("faulty://", "memory://"))

    def _fail(self, name, path):
        self.calls.append(f"{name} {path.rpartition('/')[2]}")
        if self.faults:
            raise self.faults.pop(0)

    def find(self, path, *arguments, **options):
        self._fail("find", path)
        return super().find(path, *arguments, **options)

    def cat_file(self, path, *arguments, **options):
        self._fail("read", path)
        return super().cat_file(path, *arguments, **options)

    def pipe_file(self, path, value, *arguments, **options):
        self._fail("write", path)
        return super().pipe_file(path, value, *arguments, **options)

    def get_file(self, rpath, *arguments, **options):
        self._fail("download", rpath)
        return super().get_file(rpath, *arguments, **options)

    def put_file(self, lpath, rpath, *arguments, **options):
        self._fail("upload", rpath)
        return super().put_file(lpath, rpath, *arguments, **options)

    def rm_file(self, path):
        self._fail("remove", path)
        super().rm_file(path)


def faulty_storage() -> Iterator[type[FaultyStorage]]:
    """Register an empty store with faults, whose failing calls are repeated at once."""
    fsspec.register_implementation("faulty", FaultyStorage, clobber=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck._base.storage.WAITS", (0.0, 0.0, 0.0))
        yield FaultyStorage
    for content in (FaultyStorage.store, FaultyStorage.faults, FaultyStorage.calls):
        content.clear()
    FaultyStorage.pseudo_dirs[:] = [""]
