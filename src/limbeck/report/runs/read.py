"""Reading of finished runs, to compare them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from limbeck._base.addresses import with_addresses
from limbeck._base.errors import ConfigError
from limbeck.evaluation.measure import measure_of
from limbeck.report.families import is_control
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import UNFINISHED, Manifest, read_manifest
from limbeck.run.remote import fetch_run, results
from limbeck.run.saved_files import check_results
from limbeck.run.summary import ArmResult, Summary, read_summary

MAX_RUNS = 30


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        name: Short name, unique among the runs.
        folder: Run folder.
        summary: Results.
        manifest: Record of what ran, with the digest of the data.
    """

    name: str
    folder: RunFolder
    summary: Summary
    manifest: Manifest

    @property
    def data_digest(self) -> str | None:
        """SHA-256 of the dataset; None for runs that have not recorded it."""
        return self.manifest.digests.get("data")

    @property
    def teacher_digest(self) -> str | None:
        """SHA-256 of the teacher's weights; None without a teacher."""
        return self.manifest.digests.get("teacher")

    def arm(self, name: str | None = None) -> ArmResult:
        """Return an arm by its name, or the one that stands for the run.

        It is the arm of the headline: the distilled arm that does best on the validation split.

        Raises:
            ConfigError: If there is no such arm.
        """
        arms = {arm.name: arm for arm in self.summary.arms}
        if not arms:
            raise ConfigError(
                f"{self.folder.path} has no students to compare, only a teacher. Name runs of "
                "'limbeck run' or 'limbeck distill'."
            )
        if name is not None:
            if name not in arms:
                raise ConfigError(
                    f"{self.folder.path} has no arm {name!r}. Its arms are {', '.join(arms)}."
                )
            return arms[name]
        return self._headline_arm(arms)

    def _headline_arm(self, arms: Mapping[str, ArmResult]) -> ArmResult:
        main = self.summary.main_comparison
        if main is not None and main.arm in arms:
            return arms[main.arm]
        candidates = [arm for arm in arms.values() if not is_control(arm) and not arm.is_shuffled]
        return min(candidates or arms.values(), key=measure_of(self.summary).validation_mean)


def read_runs(paths: Sequence[str | Path]) -> list[FinishedRun]:
    """Read the results of finished runs.

    Args:
        paths: Run folders, or addresses of runs.

    Raises:
        ConfigError: If there are fewer than two, one is named twice, or one is not finished.
        UntrustedFileError: If a file of a run is damaged.
    """
    folders = [RunFolder(fetch_run(path, results)) for path in paths]
    _check_number(folders)
    names = short_names([Path(with_addresses(str(folder.path))) for folder in folders])
    return [_read(folder, name) for folder, name in zip(folders, names, strict=True)]


def _check_number(folders: Sequence[RunFolder]) -> None:
    if len(folders) < 2:
        have = "one run" if folders else "no run"
        raise ConfigError(
            f"'limbeck compare' needs two or more runs, but the command names {have}: limbeck "
            "compare RUN RUN."
        )
    if len(folders) > MAX_RUNS:
        raise ConfigError(f"{len(folders)} runs are too many to compare; name at most {MAX_RUNS}.")
    by_place: dict[str, Path] = {}
    for folder in folders:
        place = _real_path(folder.path)
        if place in by_place:
            other = by_place[place]
            also = "" if other == folder.path else f", also as {other}"
            raise ConfigError(f"{folder.path} is named twice{also}. Name each run once.")
        by_place[place] = folder.path


def _real_path(path: Path) -> str:
    """Path without links; of a name that no folder can have, the absolute path."""
    try:
        return os.path.realpath(path)
    except ValueError:  # NUL
        return os.path.abspath(path)


def _read(folder: RunFolder, name: str) -> FinishedRun:
    if not folder.path.is_dir():
        raise ConfigError(f"{folder.path} is not a run: there is no such folder. Check the path.")
    if not folder.manifest.is_file():
        raise ConfigError(
            f"{folder.path} is not a run: manifest.json is missing. Name folders such as "
            "runs/digits/2026-01-01_12-00-00; 'limbeck runs' lists them."
        )
    with folder.keep_unchanged():
        manifest = read_manifest(folder)
        if manifest.state in UNFINISHED or not folder.summary.is_file():
            raise ConfigError(
                f"{folder.path} is not finished (its state is {manifest.state}). Finish it with "
                f"'limbeck resume {folder.path}'."
            )
        check_results(folder, folder.summary)
        return FinishedRun(name, folder, read_summary(folder), manifest)


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return the paths without the folders that they have in common, at the start and the end."""
    whole = [Path(os.path.abspath(path)) for path in paths]
    common = os.path.commonpath([path.parent for path in whole])
    parts = [
        path.relative_to(common).parts or path.parts for path in whole
    ]  # "/" is its own parent
    while len({names[-1] for names in parts}) == 1 and all(len(names) > 1 for names in parts):
        parts = [names[:-1] for names in parts]
    return ["/".join(names) for names in parts]
