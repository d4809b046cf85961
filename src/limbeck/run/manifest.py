"""``manifest.json``: what ran, on what, from what, how long, and how it ended."""

import os
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from limbeck._base.files import write_json
from limbeck._base.version import __version__
from limbeck.run.folder import RunFolder

PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "numpy", "scipy", "safetensors")
STAGES = ("teacher", "store", "training", "evaluation")


class Manifest:
    """The manifest of a run, written at each change, so that a killed run still tells what it was.

    Args:
        run: its folder.
        facts: keys to keep from the start, such as the command and the seeds.
    """

    def __init__(self, run: RunFolder, facts: Mapping[str, Any]):
        self.file = run.manifest
        earlier = run.read_json(run.manifest) if run.manifest.is_file() else {}
        self.content: dict[str, Any] = {
            **earlier,
            **facts,
            "state": "running",
            "started": earlier.get("started", now()),
            "finished": None,
            "resumed": earlier.get("resumed", -1) + 1,
            "versions": installed_versions(),
            "hardware": hardware(),
            "git_commit": git_commit(Path.cwd()),
            "seconds": earlier.get("seconds", dict.fromkeys(STAGES, 0.0)),
            "cohort_seconds": earlier.get("cohort_seconds", {}),
            "digests": earlier.get("digests", {}),
            "failed": earlier.get("failed", {}),
        }
        self.content.pop("error", None)
        self.write()

    def write(self) -> None:
        """Write it as it is now."""
        write_json(self.file, self.content)

    def finish(self, state: str, error: str | None = None) -> None:
        """Note how the run ended: ``finished``, ``interrupted`` or ``failed``."""
        self.content |= {"state": state, "finished": now()}
        if error is not None:
            self.content["error"] = error
        self.write()

    @contextmanager
    def timed(self, stage: str, cohort: str | None = None) -> Iterator[None]:
        """Add the seconds of a block to a stage, also when it is interrupted."""
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            self.content["seconds"][stage] += seconds
            if cohort is not None:
                earlier = self.content["cohort_seconds"].get(cohort, 0.0)
                self.content["cohort_seconds"][cohort] = earlier + seconds
            self.write()

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each stage and in all."""
        stages = {stage: round(self.content["seconds"][stage], 3) for stage in STAGES}
        return {**stages, "total": round(sum(stages.values()), 3)}


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter to the numbers."""
    found = {"python": platform.python_version(), "limbeck": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores that may be used, memory in GiB and accelerators."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cpu": _processor(),
        "cores": cores,
        "memory_gib": _memory(),
        "devices": devices,
        "system": platform.system(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def git_commit(folder: Path) -> str | None:
    """The commit checked out in a folder, ``+`` behind it if files differ; None outside a
    repository.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + (
            "+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
