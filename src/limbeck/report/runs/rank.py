"""Runs of several data sets: the arms that all of them have, compared by their mean ranks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck._base.errors import ConfigError
from limbeck.evaluation.measure import measure_of
from limbeck.evaluation.ranks import RankTest, rank_test
from limbeck.report.runs.read import FinishedRun, read_runs

MIN_DATASETS = 3
MIN_ARMS = 2


@dataclass(frozen=True)
class RunsRanking:
    """Arms of runs of several data sets, ranked.

    Attributes:
        runs: One run of each data set.
        arms: Names of the arms that all runs have.
        values: Mean test result of each arm on each data set, ``[D, A]``.
        test: Test of the mean ranks.
    """

    runs: tuple[FinishedRun, ...]
    arms: tuple[str, ...]
    values: np.ndarray
    test: RankTest


def rank_runs(paths: Sequence[str | Path]) -> RunsRanking:
    """Rank the arms of runs of several data sets.

    The result of an arm on a data set is its mean over seeds. Arms are recognised by their names.

    Args:
        paths: One run folder for each data set.

    Raises:
        ConfigError: If a run is not finished, two runs have the same data, or there are too few
            data sets or common arms.
        UntrustedFileError: If a file of a run is damaged.
    """
    return rank(read_runs(paths))


def rank(runs: Sequence[FinishedRun]) -> RunsRanking:
    """Rank the arms of runs that have been read; see :func:`rank_runs`."""
    _check_datasets(runs)
    arms = _common_arms(runs)
    rows = []
    for run in runs:
        measure = measure_of(run.summary)
        row = [measure.value(run.summary.arm(name).mean) for name in arms]
        if None in row:
            raise ConfigError(
                f"The arm {arms[row.index(None)]!r} of {run.folder.path} has no "
                f"{measure.unit}, so it has no rank."
            )
        rows.append(row)
    values = np.array(rows, dtype=float)
    return RunsRanking(tuple(runs), arms, values, rank_test(values))


def has_one_dataset(runs: Sequence[FinishedRun]) -> bool:
    """Whether all runs have the same data, or too few other data sets to rank arms."""
    digests = {run.data_digest for run in runs}
    return len(digests) == 1 or len(runs) < MIN_DATASETS


def _check_datasets(runs: Sequence[FinishedRun]) -> None:
    by_data: dict[str, FinishedRun] = {}
    for run in runs:
        if run.data_digest is None:
            raise ConfigError(
                f"{run.folder.path} cannot be compared: its manifest.json has no digest of the "
                "data. Repeat the run."
            )
        other = by_data.setdefault(run.data_digest, run)
        if other is not run:
            raise ConfigError(
                f"{run.folder.path} and {other.folder.path} have the same data "
                f"({run.summary.data.name}), other runs have not. Name runs of one data set to "
                "compare them by pairs, or one run of each data set to rank their arms."
            )


def _common_arms(runs: Sequence[FinishedRun]) -> tuple[str, ...]:
    """The names of the arms that all runs have, in the order of the first."""
    names = [[arm.name for arm in run.summary.arms] for run in runs]
    common = [name for name in names[0] if all(name in others for others in names)]
    if len(common) < MIN_ARMS:
        lists = "; ".join(
            f"{run.name}: {', '.join(own) or 'none'}" for run, own in zip(runs, names, strict=True)
        )
        raise ConfigError(
            "The runs have different data, and to rank arms across data sets they need at least "
            f"{MIN_ARMS} arms of the same names ({lists})."
        )
    return tuple(dict.fromkeys(common))
