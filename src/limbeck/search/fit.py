"""Search for the best student of a device, in Python."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.data import Dataset
from limbeck.deploy.export import ExportOptions
from limbeck.run.search import Search, read_search
from limbeck.run.summary import Summary
from limbeck.search.budget import Budget
from limbeck.search.bundle import export_choice
from limbeck.search.settings import SearchSettings
from limbeck.search.space import SearchSpace
from limbeck.search.study import SearchStudy
from limbeck.study.arms import Teacher
from limbeck.study.options import RunOptions
from limbeck.teacher.adapt import TeacherModels
from limbeck.teacher.answer_files.read import Answers


@dataclass(frozen=True)
class FitResult:
    """Result of :func:`fit`.

    Attributes:
        summary: Results of the final study on the test split, with its verdict.
        search: Students of the search with their results on the validation split. These are the
            best of many, so they promise too much.
        bundle: Folder of the exported student.
        warnings: Sentences about a model of the bundle that is missing, or larger than the budget;
            empty without such a model.
    """

    summary: Summary
    search: Search
    bundle: Path
    warnings: list[str]


def fit(
    data: Dataset,
    teacher: Teacher | TeacherModels | Answers,
    budget: Budget | Mapping[str, Any],
    *,
    trials: int | None = None,
    hours: float | None = None,
    wider_controls: Sequence[float] = (),
    search: SearchSpace | Mapping[str, Any] | None = None,
    out: str | Path = "runs/fit",
    **study: Any,
) -> FitResult:
    """Search for the best student within a budget, then run its study and export it.

    The search trains students in rounds and scores them on the validation split. The best one is
    trained anew with the seeds of the study, with the teacher and without it, and only these models
    are scored on the test split.

    Args:
        data: Dataset with training, validation and test splits.
        teacher: Teacher to train or load, as for :class:`limbeck.Study`.
        budget: Limits of the student, such as ``{"size": "100kB", "latency": "1ms"}``.
        trials: Number of students to train in the search. None for 64, or for as many as ``hours``
            allow.
        hours: Duration of the search in hours; the final study comes on top.
        wider_controls: Widths of further controls in the final study, in widths of the chosen
            student. They show at which size a student without the teacher makes as few errors.
        search: Search space, such as ``{"students": ["mlp"]}``.
        out: Folder of the run.
        study: Further arguments of :class:`limbeck.Study`: ``objective``, ``seeds``, ``schedule``,
            ``views``, ``transfer`` and ``options``.

    Raises:
        ConfigError: If a setting does not fit, or no student is within the budget.
        TeacherError: If the teacher is missing or does not fit the dataset.
        DivergedError: If the training of all students failed.
        ExportError: If the outputs of the exported student differ.
        ResourceError: If a library is missing or memory ran out.

    Example:
        >>> result = limbeck.fit(data, teacher, {"size": "20kB"}, trials=32)  # doctest: +SKIP
        >>> result.summary.main_comparison.verdict  # doctest: +SKIP
        'helps'
    """
    settings = SearchSettings(
        budget=Budget.of(budget),
        space=SearchSpace.of(search),
        trials=trials,
        hours=hours,
        wider_controls=wider_controls,
    )
    search_study = SearchStudy(data, settings, teacher=teacher, out=out, **study)
    summary = search_study.run()
    folder = search_study.run_folder  # of an address, its copy
    record = read_search(folder)
    assert record is not None
    options: RunOptions = study.get("options") or RunOptions()
    # of a search that goes on after its bundle was written
    export_options = ExportOptions(overwrite=True)
    result = export_choice(folder.path, data, export_options, progress=options.progress)
    return FitResult(summary, record, result.export.folder, result.warnings)
