"""The figures of a page: one entry for each, in the order of the page."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from limbeck._base.printable import printable_record
from limbeck.evaluation.measure import measure_of
from limbeck.report.figures.by_size import by_size
from limbeck.report.figures.by_temperature import by_temperature
from limbeck.report.figures.by_two_settings import by_two_settings
from limbeck.report.figures.changes import changes
from limbeck.report.figures.cost import results_by_cost
from limbeck.report.figures.predictions import read_predictions
from limbeck.report.figures.recall import recall_by_class
from limbeck.report.figures.reliability import reliability
from limbeck.report.figures.results_by_arm import results_by_arm
from limbeck.report.figures.search import results_of_search
from limbeck.report.figures.svg import ReportFigure
from limbeck.report.figures.training_curves import read_scalars, training_curves
from limbeck.report.measure_wording import wording_of
from limbeck.run.cost import read_cost
from limbeck.run.folder import RunFolder
from limbeck.run.search import read_search
from limbeck.run.summary import Summary

Section: TypeAlias = Literal["search", "sweep", "results", "cost"]


@dataclass(frozen=True)
class Source:
    """A file of a run that figures need in addition to the summary.

    Attributes:
        file: Path of the file.
        read: Function that reads the file.
        gap: Sentence in place of the figures if the file is missing; empty for no sentence.
        needs_logits: Whether only studies of classifiers have the file.
    """

    file: Callable[[RunFolder], Path]
    read: Callable[[RunFolder], Any]
    gap: str = ""
    needs_logits: bool = False


@dataclass(frozen=True)
class Figure:
    """One figure of the page.

    Attributes:
        section: Section of the page.
        draw: Function from the summary, and the content of the source if there is one, to the
            figure; None if the run does not support it.
        source: File that the figure needs.
    """

    section: Section
    draw: Callable[..., ReportFigure | None]
    source: Source | None = None


@dataclass(frozen=True)
class Figures:
    """The figures of a run.

    Attributes:
        sweep: Figures of the swept settings.
        results: Figures of the results.
        cost: Figures of the cost.
        gaps: Sentences in place of figures whose file is missing.
        search: Figures of the search for a student.
    """

    sweep: list[ReportFigure]
    results: list[ReportFigure]
    cost: list[ReportFigure]
    gaps: list[str]
    search: list[ReportFigure] = field(default_factory=list)


METRICS = Source(
    file=lambda folder: folder.metrics,
    read=read_scalars,
    gap="The training curves are missing because the run has no metrics.csv.",
)
PREDICTIONS = Source(
    file=lambda folder: folder.predictions,
    read=lambda folder: read_predictions(folder.predictions),
    gap="Recall and reliability are missing because the run has no predictions.npz.",
    needs_logits=True,
)
COST = Source(file=lambda folder: folder.cost, read=read_cost)
SEARCH = Source(file=lambda folder: folder.search, read=read_search)

FIGURES = (
    Figure("search", results_of_search, SEARCH),
    Figure("sweep", by_temperature),
    Figure("sweep", by_two_settings),
    Figure("sweep", by_size),
    Figure("results", changes),
    Figure("results", results_by_arm),
    Figure("results", training_curves, METRICS),
    Figure("results", recall_by_class, PREDICTIONS),
    Figure("results", reliability, PREDICTIONS),
    Figure("cost", results_by_cost, COST),
)
"""Every figure. A new one needs a function that draws it, and an entry."""


def draw_figures(folder: RunFolder, summary: Summary) -> Figures:
    """Draw the figures that a run supports.

    Raises:
        UntrustedFileError: If a file is damaged.
    """
    summary = printable_record(summary)
    gaps: dict[Source, str] = {}
    contents: dict[Source, Any] = {}
    for source in dict.fromkeys(figure.source for figure in FIGURES):
        if source is None or (source.needs_logits and not wording_of(summary).has_logits):
            continue
        if source.file(folder).is_file():
            contents[source] = printable_record(source.read(folder))
        else:
            gaps[source] = source.gap
    figures: dict[Section, list[ReportFigure]] = {
        "search": [],
        "sweep": [],
        "results": [],
        "cost": [],
    }
    for figure in FIGURES:
        if figure.section == "sweep" and not _every_arm_has_a_result(summary):
            continue
        if figure.source is None:
            picture = figure.draw(summary)
        elif figure.source in contents:
            picture = figure.draw(summary, contents[figure.source])
        else:
            continue
        if picture is not None:
            figures[figure.section].append(picture)
    return Figures(**figures, gaps=[gap for gap in gaps.values() if gap])


def _every_arm_has_a_result(summary: Summary) -> bool:
    measure = measure_of(summary)
    return all(measure.value(arm.mean) is not None for arm in summary.arms)
