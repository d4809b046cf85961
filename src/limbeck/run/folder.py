"""The folder of a run: paths of its files, and access to its JSON and CSV files.

All files are written atomically: a file that exists is complete.
"""

import csv
import math
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from limbeck._base import ownership
from limbeck._base.errors import ConfigError, LimbeckError, UntrustedFileError
from limbeck._base.files import (
    remove_leftovers,
    remove_leftovers_of_ended,
    write_atomically,
)
from limbeck._base.printable import printable
from limbeck._base.reading import open_text, parse_json, read_text
from limbeck.run.lock import hold_lock
from limbeck.run.remote import hold_address

WRITTEN_BY_READERS = ("cost.json", "report.html")
"""Files that commands write which otherwise only read the run, several of them at once."""
SCALAR_COLUMNS = ("stage", "arm", "seed", "epoch", "metric", "value")
_LEFTOVER = re.compile(r"\.lock(\.[0-9a-f]{8})?|\.(manifest\.json|config\.yaml)\..*")
"""Names of the files of a process that is killed before its manifest or settings are complete."""
_NO_NAME = re.compile(r"[/\\\0]|^\.*$")


def members_in(folder: Path) -> list[Path]:
    """Return the folders of the members of an ensemble in a teacher's folder, in their order."""
    return sorted(folder.glob("member*"), key=lambda path: (len(path.name), path.name))


def students_in(folder: Path) -> list[Path]:
    """Return the folders of the students in the folder of an arm, in the order of their seeds."""
    return sorted(folder.glob("seed*"), key=lambda path: (len(path.name), path.name))


class RunFolder:
    """The paths of a run and atomic access to its files.

    Args:
        path: Path of the folder. It may be a link to the folder.
        follow_links: Whether links in the folder may lead out of it when it is resumed.
    """

    def __init__(self, path: str | Path, *, follow_links: bool = False):
        self.path = Path(path)
        self.follow_links = follow_links
        self.config = self.path / "config.yaml"
        self.manifest = self.path / "manifest.json"
        self.summary = self.path / "summary.json"
        self.report = self.path / "report.html"
        self.metrics = self.path / "metrics.csv"
        self.predictions = self.path / "predictions.npz"
        self.cost = self.path / "cost.json"
        self.examples = self.path / "examples.npz"
        self.search = self.path / "search.json"
        self.search_journal = self.path / "search.log"
        self.teacher = self.path / "teacher"
        self.checkpoints = self.path / "checkpoints"
        self.logs = self.path / "logs"

    def student(self, arm: str, seed: int) -> Path:
        """Return the folder of one trained student.

        Raises:
            UntrustedFileError: If the name of the arm, which may come from a file of somebody else,
                is not that of a folder.
        """
        if _NO_NAME.search(arm):
            raise UntrustedFileError(
                f"{printable(self.path)} has an arm of the name {arm!r}, which is not the name of "
                "a folder."
            )
        return self.path / "students" / arm / f"seed{seed}"

    def teacher_of(self, split: int = 0) -> Path:
        """Return the folder of the teacher of a training and validation split."""
        return self.teacher / f"split{split}" if split else self.teacher

    def teachers(self, split: int = 0) -> list[Path]:
        """Return the folders of the teacher of a split, one per member."""
        return members_in(self.teacher_of(split)) or [self.teacher_of(split)]

    @contextmanager
    def claim(self, *, resume: bool = False, overwrite: bool = False) -> Iterator[None]:
        """Create the folder and hold its lock, so that only one process at a time works in it.

        Args:
            resume: Whether to continue the run in the folder.
            overwrite: Whether to delete the run in the folder.

        Raises:
            ConfigError: If another process works in the folder, or as for :meth:`check`.
            UntrustedFileError: If a link in the folder leads out of it.
        """
        self.check(resume=resume, overwrite=overwrite)
        try:
            self.path.resolve().mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:  # a parent, such as /proc, does not accept new folders
            raise ConfigError(
                f"out={self.path} cannot be created. Choose another folder."
            ) from None
        with (
            hold_lock(self.path.resolve()),
            hold_address(self.path, resume=resume, overwrite=overwrite),
        ):
            # Another process may have used the folder since the first check.
            self.check(resume=resume, overwrite=overwrite)
            if not resume:
                self._clear()  # empty, unless it may be overwritten or was never used
            self._check_links()
            remove_leftovers(self.path, subfolders=True)
            yield

    @contextmanager
    def keep_unchanged(self) -> Iterator[None]:
        """Keep other processes from running, resuming or replacing the run during a block.

        Several processes may do so at the same time.

        Raises:
            ConfigError: If another process works in the folder.
        """
        if not any(file.exists() for file in (self.manifest, self.summary, self.config)):
            yield  # no run, so there is no lock to leave; the block reports what is missing
            return
        with hold_lock(self.path.resolve(), shared=True):
            for name in WRITTEN_BY_READERS:
                remove_leftovers_of_ended(self.path / name)
            yield

    def _clear(self) -> None:
        """Delete the content of the folder, but not the folder: it may be the working directory.

        The manifest is deleted last: without it, a run whose deletion is interrupted could be
        neither resumed nor overwritten.
        """
        for path in sorted(self._entries(), key=lambda path: path == self.manifest):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def links_outside(self) -> Iterator[Path]:
        """Yield the links in the folder that lead out of it, and so to files of others.

        Loggers make links within their folder.
        """
        for folder, subfolders, files in os.walk(self.path):
            for name in sorted([*subfolders, *files]):
                path = Path(folder, name)
                if path.is_symlink() and not self.holds(path):
                    yield path

    def holds(self, path: Path) -> bool:
        """Whether a path leads to a file or folder inside the run folder."""
        real = Path(os.path.realpath(path))  # unlike resolve, it accepts links to themselves
        return real.is_relative_to(os.path.realpath(self.path))

    def _check_links(self) -> None:
        """Check that links do not lead out of the folder, before anything is written.

        The run may come from someone else.
        """
        if self.follow_links:
            return
        for path in self.links_outside():
            raise UntrustedFileError(
                f"{printable(path)} is a link out of the run folder, so files would be written or "
                "read elsewhere. Replace it by what it links to, or remove it. If you trust the "
                "run: --trust on the command line, RunOptions(follow_links=True) in Python."
            )

    def _content(self) -> list[Path]:
        """The files and folders of the run; empty if there is no folder.

        What a process leaves that is killed before it writes the settings does not count: nothing
        has been trained, and without settings the run could not be resumed.
        """
        entries = self._entries()
        if entries == [self.manifest] and self._has_no_files():
            return []
        return entries

    def _entries(self) -> list[Path]:
        """All files and folders except locks and temporary files."""
        if not self.path.is_dir():
            return []
        return sorted(p for p in self.path.iterdir() if not _LEFTOVER.fullmatch(p.name))

    def _has_no_files(self) -> bool:
        """Whether the manifest is that of a run that has written nothing else."""
        if not self.is_run():
            return False
        manifest = self.read_json(self.manifest)
        return manifest["state"] == "running" and not manifest.get("files")

    def check(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Check that the folder may be written to, without changing anything.

        Args:
            resume: Whether to continue the run in the folder.
            overwrite: Whether to replace the run in the folder.

        Raises:
            ConfigError: If the folder is not empty and is neither resumed nor overwritten, or if it
                is not a run folder.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"out={self.path} is a file. Choose a folder.")
        if resume:
            content = self._content()
            if not content or self.manifest not in content:
                missing = "config.yaml" if self.manifest.is_file() else "manifest.json"
                advice = "Check the path."
                if self.path.is_dir() and not content:
                    advice = "If it was stopped before it wrote anything, start it again."
                raise ConfigError(
                    f"{self.path} contains no run to resume: {missing} is missing. {advice}"
                )
            self.check_writable("The run", "be continued")
            return
        self._check_place()
        content = self._content()
        if not content:
            return
        if not overwrite:
            names = ", ".join(path.name for path in content[:4])
            raise ConfigError(
                f"out={self.path} is not empty (it contains {names}). Choose another folder, "
                f"continue that run with 'limbeck resume {self.path}', or replace it with "
                "overwrite=true."
            )
        if not self.is_run():
            raise ConfigError(
                f"out={self.path} is not a run folder (it has no manifest.json of limbeck), so "
                "overwrite=true does not delete it. Choose another folder."
            )

    def existing_folder(self) -> Path:
        """Return the folder if it exists, otherwise its closest existing parent."""
        folder = self.path.absolute()
        while not folder.exists():
            folder = folder.parent
        return folder

    def _check_place(self) -> None:
        """Check that files can be created in the folder, or in its closest existing parent."""
        folder = self.existing_folder()
        reason = ownership.reason_not_writable(folder) if folder.is_dir() else None
        if reason is not None:
            raise ConfigError(
                f"{folder} is not writable ({reason}). Choose another folder with out=."
            )

    def check_writable(self, name: str, action: str = "be written") -> None:
        """Check that files can be created in the folder of a run, before any work is done.

        Args:
            name: Name of what is written, for the message.
            action: Verb in the passive voice that says what is to be done with it.

        Raises:
            ConfigError: If not.
            OSError: If the disk is full or faulty.
        """
        reason = ownership.reason_not_writable(self.path)
        if reason is not None:
            raise ConfigError(
                f"{name} cannot {action}: {self.path} is not writable ({reason}). Make it "
                "writable, or use a copy of the folder."
            )

    def is_run(self) -> bool:
        """Whether limbeck wrote the manifest; other programs write a ``manifest.json`` too."""
        try:
            return {"recipe", "seeds", "state"} <= self.read_json(self.manifest).keys()
        except (OSError, LimbeckError):
            return False

    def read_json(self, file: Path) -> dict[str, Any]:
        """Read one of the run's JSON files.

        Raises:
            ConfigError: If the file is missing.
            UntrustedFileError: If it is not JSON, or not an object.
        """
        try:
            content = parse_json(read_text(file), parse_constant=_finite, parse_float=_finite)
        except (FileNotFoundError, NotADirectoryError):
            if not self.path.is_dir():
                raise ConfigError(
                    f"{self.path} is not a folder. Name a run folder, e.g. "
                    "runs/digits/2026-01-01_12-00-00."
                ) from None
            raise ConfigError(
                f"{file} is missing: {self.path} is not a finished run. Finish it with "
                f"'limbeck resume {self.path}'."
            ) from None
        except ValueError as error:
            raise UntrustedFileError(f"{file} is damaged: {error}.") from None
        if not isinstance(content, dict):
            kind = type(content).__name__
            raise UntrustedFileError(f"{file} is damaged: expected an object, found {kind}.")
        return content

    def read_scalars(self) -> list[dict[str, Any]]:
        """Read ``metrics.csv``: stage, arm, seed (int), epoch (int), metric, value (float)."""
        with open_text(self.metrics) as file:
            return [
                {
                    **row,
                    "seed": int(row["seed"]),
                    "epoch": int(row["epoch"]),
                    "value": float(row["value"]),
                }
                for row in csv.DictReader(file)
            ]

    def write_scalars(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write ``metrics.csv`` with one scalar per row."""

        def write(path: Path) -> None:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, SCALAR_COLUMNS)
                writer.writeheader()
                writer.writerows(rows)

        write_atomically(self.metrics, write)


def _finite(text: str) -> float:
    """Read a number of a JSON file, none of which limbeck writes as infinite or NaN."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]} is not finite")
    return number


def default_folder(recipe: str) -> Path:
    """Return the folder of a run without ``out``, named after the recipe and the time."""
    return Path("runs") / recipe / time.strftime("%Y-%m-%d_%H-%M-%S")


@contextmanager
def reserve_folder(path: Path) -> Iterator[Path]:
    """Create a folder that no other process uses; remove it again if it is still empty at the end.

    Args:
        path: Path of the folder. If it exists, a number is appended to its name.

    Yields:
        The path of the new folder.
    """
    parents = [parent for parent in path.parents if not parent.exists()]
    folder = path
    for number in count(2):
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            if not folder.exists():  # a parent folder is a broken link
                raise
            folder = path.with_name(f"{path.name}-{number}")
    try:
        yield folder
    finally:
        with suppress(OSError):  # it is not empty
            for empty in (folder, *parents):
                empty.rmdir()
