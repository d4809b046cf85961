"""Faults of the disk: one file operation of this process fails, or the process is killed there.

All file operations that change something below some folders are counted: opening for writing,
writing, syncing, renaming, creating folders, removing. Python's own functions are replaced while
the fault is armed, and so is the writer of safetensors, which opens files by itself.
"""

import builtins
import errno
import io
import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import safetensors.torch
from safetensors import SafetensorError

KILLS = ("kill before", "kill during", "kill after")
ERRORS = ("ENOSPC", "EIO", "EACCES")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_IO = __import__("_io")  # tempfile opens files with this module


class Killed(BaseException):
    """The process would have been killed here; nothing on the disk changes from now on."""


@dataclass(frozen=True)
class Operation:
    """A file operation.

    Attributes:
        kind: ``open``, ``write``, ``sync``, ``rename``, ``folder`` or ``remove``.
        path: Path of the file or folder.
    """

    kind: str
    path: str

    def takes(self, fault):
        """Whether a fault is possible at such an operation."""
        if fault == "kill during":
            return self.kind == "write"
        if fault == "EACCES":
            return self.kind in ("open", "rename", "folder")
        return fault in KILLS or self.kind != "remove"


class Disk:
    """A disk below some folders that counts operations and has one fault.

    A full disk stays full, and a file without permission stays so; an input/output error happens
    once.

    Args:
        folders: Folders whose files are watched.
        fault: One of ``ERRORS`` or ``KILLS``; None for no fault.
        at: Number of the operation with the fault, from 0.
        kill: Function that kills the process; by default, :class:`Killed` is raised, and later
            operations change nothing.
    """

    def __init__(self, *folders, fault=None, at=-1, kill=None):
        self.folders = tuple(f"{Path(folder).resolve()}{os.sep}" for folder in folders)
        self.fault, self.at, self.kill = fault, at, kill or self._stop
        self.operations = []
        self.is_dead = False
        self._patches = ExitStack()
        self._real = {}

    # Replaced functions ---------------------------------------------------------------------------

    def __enter__(self):
        replacements = {
            (os, "open"): self._os_open,
            (os, "write"): self._os_write,
            (safetensors.torch, "serialize_file"): self._serialize_file,
        }
        for module in (builtins, io, _IO):
            replacements[module, "open"] = self._open
        for name, kind in (("mkdir", "folder"), ("unlink", "remove"), ("rmdir", "remove")):
            replacements[os, name] = self._of_path(name, kind)
        replacements[os, "remove"] = replacements[os, "unlink"]
        replacements[os, "truncate"] = self._of_path("truncate", "write")
        for name in ("replace", "rename", "link"):
            replacements[os, name] = self._of_two_paths(name)
        for name, kind in (("fsync", "sync"), ("fdatasync", "sync"), ("ftruncate", "write")):
            replacements[os, name] = self._of_path(name, kind)
        for (module, name), function in replacements.items():
            self._real[module, name] = getattr(module, name)
            self._patches.enter_context(mock.patch.object(module, name, function))
        return self

    def __exit__(self, *error):
        self._patches.close()

    def _os_open(self, path, flags, mode=0o777, *, dir_fd=None):
        real = self._real[os, "open"]

        def perform():
            return real(path, flags, mode, dir_fd=dir_fd)

        file = self._path(path, dir_fd) if flags & WRITING else None
        return perform() if file is None else self._step("open", file, perform)

    def _os_write(self, handle, content):
        real = self._real[os, "write"]

        def perform(share=1):
            return real(handle, content[: len(content) // share])

        file = self._path(handle)
        return perform() if file is None else self._step("write", file, perform, perform)

    def _open(self, file, mode="r", buffering=-1, encoding=None, *texts, **options):
        path = self._path(file) if set(mode) & set("wax+") else None
        if path is None:
            real = self._real[io, "open"]
            return real(file, mode, buffering, encoding, *texts, **options)
        names = dict(zip(("errors", "newline", "closefd", "opener"), texts, strict=False))
        options = {**names, **options}
        raw_options = {
            "closefd": options.pop("closefd", True),
            "opener": options.pop("opener", None),
        }
        raw_mode = "".join(letter for letter in mode if letter not in "bt")

        def perform():
            return _RawFile(self, path, file, raw_mode, **raw_options)

        # a descriptor has been opened before
        raw = perform() if isinstance(file, int) else self._step("open", path, perform)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, **options)

    def _serialize_file(self, tensors, filename, metadata=None):
        real = self._real[safetensors.torch, "serialize_file"]

        def perform(share=1):
            real(tensors, filename, metadata)
            os.truncate(filename, os.stat(filename).st_size // share)

        path = self._path(filename)
        if path is None:
            return perform()
        try:
            self._step("open", path, lambda: None)
            with mock.patch.object(os, "truncate", self._real[os, "truncate"]):
                return self._step("write", path, perform, perform)
        except OSError as error:
            text = f"Error while serializing: I/O error: {error.strerror} (os error {error.errno})"
            raise SafetensorError(text) from None

    def _of_path(self, name, kind):
        def function(path, *arguments, dir_fd=None, **options):
            real = self._real[os, name]
            if dir_fd is not None:
                options["dir_fd"] = dir_fd
            file = self._path(path, dir_fd)
            if file is None:
                return real(path, *arguments, **options)
            return self._step(kind, file, lambda: real(path, *arguments, **options))

        return function

    def _of_two_paths(self, name):
        def function(source, target, **options):
            real = self._real[os, name]
            file = self._path(target, options.get("dst_dir_fd"))
            if file is None:
                return real(source, target, **options)
            return self._step("rename", file, lambda: real(source, target, **options))

        return function

    # The fault ------------------------------------------------------------------------------------

    def _path(self, file, folder=None):
        """The full path of a file; None outside the watched folders."""
        if isinstance(file, int):
            try:
                path = os.readlink(f"/proc/self/fd/{file}")
            except OSError:
                return None
        else:
            path = os.fsdecode(file)
            start = os.getcwd() if folder is None else os.readlink(f"/proc/self/fd/{folder}")
            path = os.path.normpath(os.path.join(start, path))
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        return real if f"{real}{os.sep}".startswith(self.folders) else None

    def _step(self, kind, path, perform, perform_half=None):
        """Perform an operation, unless the fault happens at it."""
        if self.is_dead:
            raise Killed
        number = len(self.operations)
        operation = Operation(kind, path)
        self.operations.append(operation)
        if not self._has_fault(number, operation):
            return perform()
        if self.fault not in KILLS:
            code = getattr(errno, self.fault)
            names = () if kind in ("write", "sync") else (path,)
            raise OSError(code, os.strerror(code), *names)
        if self.fault == "kill during" and perform_half is not None:
            perform_half(2)
        elif self.fault == "kill after":
            perform()
        self.kill()
        raise AssertionError("the process was not killed")

    def _has_fault(self, number, operation):
        if self.at < 0 or number < self.at:
            return False
        if self.fault == "ENOSPC" and operation.kind != "remove":
            return True
        if self.fault == "EACCES" and operation.takes("EACCES"):
            return operation.path == self.operations[self.at].path
        return number == self.at

    def _stop(self):
        self.is_dead = True
        raise Killed


class _RawFile(io.FileIO):
    """An unbuffered file whose writes are counted."""

    def __init__(self, disk, path, *arguments, **options):
        super().__init__(*arguments, **options)
        self._disk, self._path = disk, path

    def write(self, content):
        """Write some bytes, at most as many as the system takes."""
        if self._disk.is_dead:  # called when a buffer is collected
            return len(content)
        content = bytes(content)

        def perform(share=1):
            return io.FileIO.write(self, content[: len(content) // share])

        return self._disk._step("write", self._path, perform, perform)


assert tempfile  # imported before its functions are replaced
