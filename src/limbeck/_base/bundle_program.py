"""Run the model of this bundle with NumPy, Pillow and ONNX Runtime, without PyTorch.

This file is copied into every bundle as ``run.py``, and its modules as the folder ``runtime``::

    python BUNDLE/run.py verify
    python BUNDLE/run.py predict photo.png folder --top 3
    python BUNDLE/run.py predict --text "a lovely film"
    python BUNDLE/run.py predict rows.csv

Exit codes: 0 success, 2 wrong arguments, 3 some inputs cannot be read, 6 ONNX Runtime is missing,
or memory or disk is exhausted, 7 the bundle is damaged, 8 the model's outputs differ from the
exported ones.
"""

import os
import sys

FOLDER = os.path.dirname(os.path.realpath(__file__))

if __name__ == "__main__":  # a bundle is data: no other file in its folder is imported
    sys.path = [path for path in sys.path if os.path.realpath(path or ".") != FOLDER]

import hashlib
import importlib
from collections.abc import Mapping
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType
from typing import Any

PACKAGE = "bundle_runtime"
"""Name under which the folder ``runtime`` is imported."""


class DamageError(Exception):
    """A file of the runtime is missing or was changed."""


class ListedSource(SourceFileLoader):
    """Loader of a source file that ``SHA256SUMS`` lists; it reads and writes no compiled file.

    Args:
        module: Full name of the module.
        name: Name of the file in the bundle.
        digest: SHA-256 of the file; None if it is not listed.
    """

    def __init__(self, module: str, name: str, digest: str | None):
        super().__init__(module, os.path.join(FOLDER, name))
        self._name, self._digest = name, digest

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source, after a check of its content."""
        content = read(self._name)
        if hashlib.sha256(content).hexdigest() != self._digest:
            raise DamageError(f"{self._name} is damaged or was changed")
        code: CodeType = self.source_to_code(content, self.path)
        return code


class RuntimeFinder:
    """Finder of the modules of the runtime.

    Args:
        sums: Checksums by file.
    """

    def __init__(self, sums: Mapping[str, str]):
        self._sums = sums

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return how to load a module; None if it does not belong to the runtime."""
        package, _, module = fullname.partition(".")
        if package != PACKAGE:
            return None
        name = f"runtime/{module or '__init__'}.py"
        loader = ListedSource(fullname, name, self._sums.get(name))
        if module:
            return spec_from_file_location(fullname, loader=loader)
        return spec_from_file_location(fullname, loader=loader, submodule_search_locations=[])


def read(name: str) -> bytes:
    """Read a file of the bundle."""
    file = Path(FOLDER, name)
    if not file.is_file():
        raise DamageError(f"{name} is missing; the bundle is incomplete")
    return file.read_bytes()


def read_sums() -> dict[str, str]:
    """Return the checksums in ``SHA256SUMS`` by file."""
    lines = read("SHA256SUMS").decode(errors="replace").splitlines()
    entries = [line.partition("  ") for line in lines]
    return {name: digest for digest, _, name in entries}


def main() -> int:
    """Run the command line of the runtime, and return its exit code."""
    try:
        sys.meta_path.insert(0, RuntimeFinder(read_sums()))
        command_line = importlib.import_module(f"{PACKAGE}.command_line")
    except DamageError as error:
        print(f"error: {error}.", file=sys.stderr)
        return 7
    code: int = command_line.main(bundle=Path(FOLDER))
    return code


if __name__ == "__main__":
    sys.exit(main())
