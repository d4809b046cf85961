"""``manifest.json``: what ran, on which machine, for how long, and how it ended."""

import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

from limbeck._base.digests import file_digest
from limbeck._base.errors import UntrustedFileError, is_out_of_memory
from limbeck._base.files import write_json
from limbeck._base.runtime.machine import count_cores, processor_name
from limbeck._base.version import __version__
from limbeck.run.folder import RunFolder
from limbeck.run.git import git_commit
from limbeck.run.records import extra_keys, from_json, optional, to_json
from limbeck.run.summary import Seconds

PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "numpy", "scipy", "safetensors")
State = Literal["running", "finished", "incomplete", "interrupted", "failed"]
UNFINISHED = ("running", "interrupted", "failed")
"""States of a run that has not written all its results."""
STAGES = ("teacher", "store", "training", "evaluation")


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The machine of a run.

    Attributes:
        cpu: Name of the processor.
        cores: Number of cores that the process may use.
        memory_gib: Memory in GiB.
        devices: Names of the accelerators.
        system: Name of the operating system.
    """

    cpu: str | None = None
    cores: int | None = None
    memory_gib: float | None = None
    devices: tuple[str, ...] = ()
    system: str | None = None


@dataclass(frozen=True, kw_only=True)
class StoreUse:
    """A store of the teacher's answers that a run has read.

    Attributes:
        rows: Number of inputs.
        views: Description of the views.
        dtype: Number format of the answers.
        kind: ``dense``, ``topk`` or ``sampled``.
        k: Number of classes stored per answer; 0 for all.
        positions: Number of answers for one input.
        classes: Number of classes.
        record_bytes: Bytes of one answer.
    """

    rows: int | None = None
    views: str | None = None
    dtype: str | None = None
    kind: str | None = None
    k: int | None = None
    positions: int | None = None
    classes: int | None = None
    record_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of ``manifest.json``.

    Attributes:
        recipe: Name of the study.
        seeds: Seeds of the study.
        facts: Additional keys; the command line adds ``command``, ``verb``, ``multirun``,
            ``overrides``, ``config_dir``, ``folder`` and ``quick``.
        state: ``running``, ``finished``, ``incomplete``, ``interrupted`` or ``failed``.
        started: Start of the run in UTC, ISO 8601.
        finished: End of the run in UTC, ISO 8601; None while it runs.
        resumed: Number of times that the run was resumed.
        versions: Versions of Python and of the packages that affect the numbers.
        hardware: Machine of the run.
        git_commit: Commit of the working directory, see :func:`~limbeck.run.git.git_commit`; None
            outside a repository.
        seconds: Duration of each stage.
        cohort_seconds: Training time of each cohort.
        digests: SHA-256 of the data and of the teacher's weights.
        files: SHA-256 of each saved file of a model and of each result, by its path in the run
            folder; None for runs of earlier versions.
        failed: Reason of each failure, by the student's name ``<arm>/seed<N>``.
        stores: Stores that the run has read, by key.
        error: Type and message of the error that ended the run.
    """

    recipe: str | None = None
    seeds: tuple[int, ...] = ()
    facts: Mapping[str, Any] = extra_keys()
    state: State | None = None
    started: str | None = None
    finished: str | None = None
    resumed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: Hardware | None = None
    git_commit: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    cohort_seconds: Mapping[str, float] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] | None = optional()
    stores: Mapping[str, StoreUse] | None = optional()
    error: str | None = optional()

    @property
    def overrides(self) -> list[str] | None:
        """Settings in the command of the run; None if they are unknown."""
        words = self.facts.get("overrides")
        return list(map(str, words)) if isinstance(words, list | tuple) else None

    @property
    def final_state(self) -> State:
        """``incomplete`` if students ran out of memory, which a resumed run trains again."""
        is_incomplete = any(map(is_out_of_memory, self.failed.values()))
        return "incomplete" if is_incomplete else "finished"


def read_manifest(run: RunFolder) -> Manifest:
    """Read ``manifest.json`` of a run.

    Raises:
        ConfigError: If it is missing.
        UntrustedFileError: If it is damaged.
    """
    content = run.read_json(run.manifest)
    manifest = from_json(Manifest, content, where=str(run.manifest))
    for name in manifest.files or {}:
        if not _is_inside(name):
            raise UntrustedFileError(
                f"{run.manifest} is damaged: files names {name!r}, expected paths inside the run "
                "folder."
            )
    return manifest


def _is_inside(name: str) -> bool:
    """Whether a path stays below the folder to which it refers, on any system."""
    path = PureWindowsPath(name)  # it knows the separators of all systems
    return bool(path.parts) and not path.anchor and ".." not in path.parts and "\0" not in name


def write_manifest(run: RunFolder, manifest: Manifest) -> None:
    """Write ``manifest.json`` of a run."""
    write_json(run.manifest, to_json(manifest))


class ManifestWriter:
    """The manifest of a run in progress, written at each change so that it survives a kill.

    Args:
        run: Folder of the run, with the earlier manifest if the run is resumed.
        recipe: Name of the study.
        seeds: Seeds of the study.
        facts: Additional keys of the manifest, such as the command.

    Attributes:
        content: Current manifest.
    """

    def __init__(
        self, run: RunFolder, *, recipe: str, seeds: Sequence[int], facts: Mapping[str, Any]
    ):
        self._run = run
        resumed = run.manifest.is_file()
        previous = read_manifest(run) if resumed else Manifest()
        self.content = replace(
            previous,
            recipe=recipe,
            seeds=tuple(seeds),
            facts={**previous.facts, **facts},
            state="running",
            started=previous.started or now(),
            finished=None,
            resumed=previous.resumed + 1 if resumed else 0,
            versions=installed_versions(),
            hardware=hardware(),
            git_commit=git_commit(Path.cwd()),
            files=previous.files if resumed else {},
            seconds={**dict.fromkeys(STAGES, 0.0), **previous.seconds},
            error=None,
        )
        self._write()

    @property
    def failed(self) -> Mapping[str, str]:
        """Reasons of the failures by the names of the students."""
        return self.content.failed

    @property
    def seconds(self) -> Seconds:
        """Duration of each stage, rounded to milliseconds."""
        stages = {stage: round(self.content.seconds[stage], 3) for stage in STAGES}
        return Seconds(**stages, total=round(sum(stages.values()), 3))

    def finish(self, state: State, error: str | None = None) -> None:
        """Record how the run ended: ``interrupted`` or ``failed``."""
        self._update(state=state, finished=now(), error=error)

    def final(self) -> Manifest:
        """Return the manifest with which the run will be closed, for its report."""
        return replace(self.content, state=self.content.final_state, finished=now(), error=None)

    def close(self, final: Manifest) -> None:
        """Write the last manifest of a run whose results are all written."""
        self.content = final
        self._write()

    def add_digest(self, name: str, digest: str) -> str:
        """Record a digest unless there is one of that name, and return the recorded one."""
        recorded = self.content.digests.get(name, digest)
        self._update(digests={**self.content.digests, name: recorded})
        return recorded

    def add_files(self, files: Iterable[Path]) -> None:
        """Record the digests of saved files; those that do not exist are no longer listed."""
        digests = dict(self.content.files or {})
        for file in files:
            name = file.relative_to(self._run.path).as_posix()
            digests.pop(name, None)
            if file.is_file():
                digests[name] = file_digest(file)
        self._update(files=digests)

    def add_failures(self, reasons: Mapping[str, str]) -> None:
        """Record the reasons of failures by the names of the students."""
        self._update(failed={**self.failed, **reasons})

    def remove_failures(self, names: Sequence[str]) -> None:
        """Remove the failures of students that will be trained again."""
        failed = {name: reason for name, reason in self.failed.items() if name not in names}
        self._update(failed=failed)

    def add_stores(self, stores: Mapping[str, StoreUse]) -> None:
        """Record the stores that the run reads, by key."""
        self._update(stores={**(self.content.stores or {}), **stores})

    @contextmanager
    def time_stage(self, stage: str) -> Iterator[None]:
        """Add the duration of a block to a stage, even if the block raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._add_seconds(stage, time.perf_counter() - start)

    def add_training(self, stage: str, seconds: float, waited: float) -> None:
        """Add the duration of the training of a cohort.

        Args:
            stage: Name of the cohort's logs and checkpoints.
            seconds: Duration of the training.
            waited: Part of it during which no other training was counted.
        """
        cohorts = dict(self.content.cohort_seconds)
        cohorts[stage] = cohorts.get(stage, 0.0) + seconds
        self._add_seconds("training", waited, cohort_seconds=cohorts)

    def _add_seconds(self, stage: str, seconds: float, **changes: Any) -> None:
        stages = dict(self.content.seconds)
        stages[stage] += seconds
        self._update(seconds=stages, **changes)

    def _update(self, **changes: Any) -> None:
        self.content = replace(self.content, **changes)
        self._write()

    def _write(self) -> None:
        write_manifest(self._run, self.content)


def now() -> str:
    """Return the current time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect the numbers."""
    versions = {"python": platform.python_version(), "limbeck": __version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def hardware() -> Hardware:
    """Describe the machine that this process runs on."""
    import torch

    return Hardware(
        cpu=processor_name(),
        cores=count_cores(),
        memory_gib=_memory(),
        devices=tuple(map(torch.cuda.get_device_name, range(torch.cuda.device_count()))),
        system=platform.system(),
    )


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None
