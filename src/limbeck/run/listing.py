"""The runs below a folder, also those that are unfinished or damaged."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from limbeck._base.addresses import add_copy
from limbeck._base.errors import LimbeckError
from limbeck._base.storage import Storage
from limbeck.run.folder import RunFolder
from limbeck.run.lease import LEASE
from limbeck.run.lock import is_at_work
from limbeck.run.manifest import Manifest, read_manifest
from limbeck.run.remote import MANIFEST
from limbeck.run.summary import Summary, read_summary

MAX_DEPTH = 5
"""Number of folders between the folder that is searched and a run."""
UNKNOWN = "?"
NONE = "–"


@dataclass(frozen=True, kw_only=True)
class RunEntry:
    """A run in a list.

    Attributes:
        path: Run folder.
        recipe: Name of the study.
        data: Name of the dataset.
        verdict: Verdict of the headline.
        started: Start of the run in UTC, ISO 8601.
        state: State in the manifest; ``stopped`` if no process works on it, ``damaged`` if it
            cannot be read.
    """

    path: Path
    recipe: str = UNKNOWN
    data: str = UNKNOWN
    verdict: str = UNKNOWN
    started: str = ""
    state: str = "damaged"


def list_runs(folder: Path) -> list[RunEntry]:
    """Return the runs in a folder and its subfolders, the newest first. Links are not followed."""
    entries = [_entry(RunFolder(path)) for path in _run_folders(folder)]
    return sorted(entries, key=lambda entry: (entry.started, entry.path.as_posix()), reverse=True)


def list_runs_at(address: str, folder: Path) -> list[RunEntry]:
    """Return the runs at an address and below it, the newest first.

    Args:
        address: Address of a run, or of a folder with runs.
        folder: Empty folder for copies of their results.

    Raises:
        ResourceError: If the address cannot be reached.
    """
    storage = Storage(address)
    add_copy(folder, storage.address)
    files = storage.files()
    runs = {name.removesuffix(MANIFEST) for name in files if PurePath(name).name == MANIFEST}
    needed = [f"{run}{name}" for run in runs for name in (MANIFEST, "summary.json", "config.yaml")]
    storage.download([files[name] for name in needed if name in files], folder)
    entries = []
    for entry in list_runs(folder):
        name = (entry.path.relative_to(folder) / LEASE).as_posix()
        is_running = entry.state == "stopped" and name in files
        entries.append(replace(entry, state="running") if is_running else entry)
    return entries


def _run_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders with a manifest, without looking for further runs in them."""
    for name, subfolders, files in os.walk(folder):
        path = Path(name)
        depth = len(path.relative_to(folder).parts)
        is_run = "manifest.json" in files and _may_be_run(RunFolder(path))
        if is_run:
            yield path
        if is_run or depth == MAX_DEPTH:
            subfolders.clear()
        subfolders[:] = sorted(entry for entry in subfolders if not entry.startswith("."))


def _may_be_run(run: RunFolder) -> bool:
    """Whether a folder is a run, or looks like one that is damaged."""
    return run.is_run() or run.summary.exists() or run.config.exists()


def _entry(run: RunFolder) -> RunEntry:
    try:
        manifest = read_manifest(run)
        summary = read_summary(run) if run.summary.exists() else None
    except (LimbeckError, OSError, RecursionError):
        return RunEntry(path=run.path)
    return RunEntry(
        path=run.path,
        recipe=manifest.recipe or UNKNOWN,
        data=NONE if summary is None else summary.data.name,
        verdict=NONE if summary is None else _verdict(summary),
        started=manifest.started or "",
        state=_state(run, manifest, summary),
    )


def _verdict(summary: Summary) -> str:
    if summary.main_comparison is not None:
        return summary.main_comparison.verdict
    return "no comparison" if summary.arms else "teacher only"


def _state(run: RunFolder, manifest: Manifest, summary: Summary | None) -> str:
    if manifest.state == "running" and not is_at_work(run.path.absolute()):
        return "stopped"
    if manifest.state in ("finished", "incomplete") and summary is None:
        return "damaged"
    return manifest.state or UNKNOWN
