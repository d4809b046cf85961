"""Runs of one data set, compared with each other over the same test samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limbeck._base.errors import ConfigError
from limbeck.evaluation.multiple_tests import correct_comparisons
from limbeck.evaluation.pairing import ArmScores, compare_scores
from limbeck.report.families import control_of, is_control, settings
from limbeck.report.formats import plural
from limbeck.report.runs.read import FinishedRun, read_runs
from limbeck.report.runs.scores import read_scores
from limbeck.run.comparison import Comparison
from limbeck.run.summary import ArmResult, Seconds, Summary, TeacherResult

DIGITS = 12
"""Number of digits of a digest in a message."""
NO_SECONDS = Seconds(teacher=0.0, store=0.0, training=0.0, evaluation=0.0, total=0.0)


@dataclass(frozen=True)
class ComparedRun:
    """A run and the students that stand for it.

    Attributes:
        run: Finished run.
        arm: Arm that is compared.
        scores: Test results of the arm, under its name in the comparison.
        control: Control of the arm; None without one.
        control_scores: Test results of the control.
    """

    run: FinishedRun
    arm: ArmResult
    scores: ArmScores
    control: ArmResult | None = None
    control_scores: ArmScores | None = None


@dataclass(frozen=True)
class RunsComparison:
    """Runs of one data set, compared by pairs.

    Attributes:
        runs: Runs in the order of the command.
        summary: Results in the form of those of a study: an arm for each run, then one for each
            control, and the comparisons of all pairs of runs.
        controls: Comparisons of controls that have the same settings.
        arm: Name of the arm that the user chose; None for the arms of the headlines.
    """

    runs: tuple[ComparedRun, ...]
    summary: Summary
    controls: tuple[Comparison, ...]
    arm: str | None = None


def compare_runs(paths: Sequence[str | Path], arm: str | None = None) -> RunsComparison:
    """Compare runs of one data set by their students' results on the same test samples.

    Every run is compared with every other run. Students are paired by seed, see
    :func:`~limbeck.evaluation.pairing.pair_seeds`, and the p-values are corrected for the number
    of comparisons.

    Args:
        paths: Run folders.
        arm: Name of the arm to compare; None for the arm in the headline of each run, which is
            chosen on its validation split.

    Raises:
        ConfigError: If a run is not finished, or the runs cannot be compared.
        UntrustedFileError: If a file of a run is damaged.
    """
    return compare(read_runs(paths), arm)


def compare(runs: Sequence[FinishedRun], arm: str | None = None) -> RunsComparison:
    """Compare runs that have been read; see :func:`compare_runs`."""
    check_comparable(runs)
    compared = _read_students(runs, arm)
    measure = runs[0].summary.measure
    pairs = [
        compare_scores(second.scores, first.scores, measure)
        for first, second in combinations(compared, 2)
    ]
    rows = [replace(entry.arm, name=entry.scores.name) for entry in compared]
    summary = Summary(
        recipe="comparison",
        data=runs[0].summary.data,
        measure=measure,
        classes=runs[0].summary.classes,
        teacher=_common_teacher(runs),
        arms=(*rows, *_control_rows(compared)),
        comparisons=tuple(correct_comparisons(pairs)),
        seconds=NO_SECONDS,
    )
    return RunsComparison(tuple(compared), summary, tuple(_compare_controls(compared)), arm)


# Checks -------------------------------------------------------------------------------------------


def check_comparable(runs: Sequence[FinishedRun]) -> None:
    """Check that all runs have the same data and are judged by the same measure.

    Raises:
        ConfigError: If not. The message says what differs.
    """
    first = runs[0]
    for run in runs[1:]:
        differences = _differences(first, run)
        if differences:
            raise ConfigError(
                f"{run.folder.path} and {first.folder.path} cannot be compared: they differ in "
                f"{'; '.join(differences)}. Runs of one data set are compared by pairs. Across "
                "data sets, name at least 3 runs, each on data of its own, with the same arms."
            )
    for run in runs:
        if run.data_digest is None:
            raise ConfigError(
                f"{run.folder.path} cannot be compared: its manifest.json has no digest of the "
                "data, so it may have other test samples. Repeat the run."
            )


def _differences(first: FinishedRun, other: FinishedRun) -> list[str]:
    """What keeps two runs from being compared, in words."""
    ours, theirs = other.summary, first.summary
    facts = [
        ("the task", _task(ours), _task(theirs)),
        ("the measure", ours.measure, theirs.measure),
        ("the data", ours.data.name, theirs.data.name),
        ("the tokenizer", _tokenizer(ours), _tokenizer(theirs)),
        ("the test samples", f"{ours.data.test:,}", f"{theirs.data.test:,}"),
        ("the digest of the data", _short(other.data_digest), _short(first.data_digest)),
    ]
    return [
        f"{name} ({value} and {expected})" for name, value, expected in facts if value != expected
    ]


def _task(summary: Summary) -> str:
    data = summary.data
    if data.task == "regression":
        return f"regression, {plural(data.classes, 'target')}"
    if data.task == "multi_label":
        return f"several labels, {data.classes:,} of them"
    kind = "text" if data.tokenizer is not None else "classification"
    return f"{kind}, {data.classes:,} {'tokens' if kind == 'text' else 'classes'}"


def _tokenizer(summary: Summary) -> str:
    return summary.data.tokenizer or summary.data.texts_tokenizer or "none"


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:DIGITS]


# Students -----------------------------------------------------------------------------------------


def _read_students(runs: Sequence[FinishedRun], arm: str | None) -> list[ComparedRun]:
    compared = []
    labels: list[NDArray | None] = []
    for run in runs:
        own = run.arm(arm)
        control = None if is_control(own) else control_of(own, run.summary)
        arms = [own] if control is None else [own, control]
        scores, own_labels = read_scores(run, arms)
        labels.append(own_labels)
        unique = [replace(entry, name=f"{run.name}/{entry.name}") for entry in scores]
        compared.append(ComparedRun(run, own, unique[0], control, *unique[1:]))
    for run, own_labels in zip(runs, labels, strict=True):
        samples = {len(values) for entry in compared for values in entry.scores.values.values()}
        if len(samples) > 1 or not _are_equal_labels(own_labels, labels[0]):
            raise ConfigError(
                f"{run.folder.path} and {runs[0].folder.path} cannot be compared: the digests of "
                "their data agree, but the labels in predictions.npz do not."
            )
    return compared


def _are_equal_labels(first: NDArray | None, second: NDArray | None) -> bool:
    if first is None or second is None:  # text
        return first is second
    return np.array_equal(first, second)


def _common_teacher(runs: Sequence[FinishedRun]) -> TeacherResult | None:
    """The teacher, if it is the same in all runs."""
    first = runs[0]
    return first.summary.teacher if all(same_teacher(run, first) for run in runs) else None


def same_teacher(first: FinishedRun, second: FinishedRun) -> bool:
    """Whether two runs have the same teacher, or none; without digests, as far as results tell."""
    if first.summary.splits != second.summary.splits:
        return False  # the digest is that of the first split's teacher
    if first.teacher_digest is None and second.teacher_digest is None:
        return first.summary.teacher == second.summary.teacher
    return first.teacher_digest == second.teacher_digest


# Controls -----------------------------------------------------------------------------------------


def _control_rows(runs: Sequence[ComparedRun]) -> list[ArmResult]:
    """The controls, those that are the same students only once."""
    rows: dict[str, tuple[ComparedRun, list[str]]] = {}
    for entry in runs:
        if entry.control is None:
            continue
        for other, names in rows.values():
            if same_setting(entry, other) and are_equal(entry, other):
                names.append(entry.run.name)
                break
        else:
            rows[entry.run.name] = (entry, [entry.run.name])
    return [
        replace(entry.control, name=", ".join(f"{name}/{entry.control.name}" for name in names))
        for entry, names in rows.values()
        if entry.control is not None
    ]


def _compare_controls(runs: Sequence[ComparedRun]) -> list[Comparison]:
    """Compare the controls of each run with those of the first run with the same settings."""
    comparisons = []
    for number, entry in enumerate(runs):
        for other in runs[:number]:
            if same_setting(entry, other):
                assert entry.control_scores is not None
                assert other.control_scores is not None
                measure = entry.run.summary.measure
                comparisons.append(
                    compare_scores(entry.control_scores, other.control_scores, measure)
                )
                break
    return comparisons


def same_setting(first: ComparedRun, second: ComparedRun) -> bool:
    """Whether the controls of two runs were trained with the same settings."""
    if first.control is None or second.control is None:
        return False
    same_batches = first.run.summary.batch_size == second.run.summary.batch_size
    return same_batches and settings(first.control) == settings(second.control)


def are_equal(first: ComparedRun, second: ComparedRun) -> bool:
    """Whether the controls of two runs are the same students, as far as their results tell."""
    assert first.control_scores is not None
    assert second.control_scores is not None
    ours, theirs = first.control_scores.values, second.control_scores.values
    if ours.keys() != theirs.keys():
        return False
    return all(np.array_equal(values, theirs[seed]) for seed, values in ours.items())
