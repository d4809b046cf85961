"""The page of a comparison of runs, without scripts or network access."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from limbeck._base.errors import ConfigError
from limbeck._base.files import write_text
from limbeck._base.printable import printable, printable_record
from limbeck._base.reading import read_bytes
from limbeck.report.figures.critical_difference import critical_difference_figure
from limbeck.report.figures.results_by_arm import results_by_arm
from limbeck.report.figures.svg import ReportFigure
from limbeck.report.formats import plural
from limbeck.report.measure_wording import wording_of
from limbeck.report.page_tables import Table
from limbeck.report.runs import sentences, tables
from limbeck.report.runs.compare import RunsComparison
from limbeck.report.runs.rank import RunsRanking
from limbeck.report.runs.read import FinishedRun
from limbeck.report.template import style, template
from limbeck.report.wording import Sentence

MARK = b'<meta name="generator" content="limbeck compare">'
"""Line of a page by which it is recognised, and may be replaced."""


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        title: Heading.
        lead: Sentences below the heading.
        tables: Tables of the section.
        figures: Figures of the section.
    """

    title: str
    lead: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[ReportFigure] = field(default=())


def check_page(path: Path) -> None:
    """Check that a page may be written to a path, before any work is done.

    Raises:
        ConfigError: If it is not the name of a page, or of a file that is no comparison.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"to={path} should be a file whose name ends in .html.")
    if path.is_dir():
        raise ConfigError(f"to={path} is a folder. Choose a file, such as {path / 'runs.html'}.")
    if not path.exists():
        return
    try:
        is_ours = MARK in read_bytes(path)
    except ValueError:  # a pipe, or too large
        is_ours = False
    if not is_ours:
        raise ConfigError(
            f"to={path} exists and is not a page of 'limbeck compare', so it is not replaced. "
            "Choose another name."
        )


def write_page(result: RunsComparison | RunsRanking, path: Path) -> None:
    """Write the page of a comparison.

    Args:
        result: Comparison of runs.
        path: File to write; an earlier page is replaced.

    Raises:
        ConfigError: If :func:`check_page` refuses the path.
    """
    check_page(path)
    write_text(path, render(result))


def render(result: RunsComparison | RunsRanking) -> str:
    """Render the page of a comparison as HTML."""
    result = printable_record(result)
    if isinstance(result, RunsComparison):
        verdicts, sections = sentences.headlines(result), _sections(result)
        remarks, runs = sentences.remarks(result), [entry.run for entry in result.runs]
        title = f"{plural(len(runs), 'run')} of {runs[0].summary.data.name}"
    else:
        verdicts, sections = [sentences.ranking_headline(result)], _ranking_sections(result)
        remarks, runs = sentences.ranking_remarks(result), list(result.runs)
        title = f"{plural(len(result.arms), 'arm')} on {len(runs)} data sets"
    return _render(title, verdicts, sections, remarks, runs)


def _render(
    title: str,
    verdicts: Sequence[Sentence],
    sections: Sequence[Section],
    remarks: Sequence[str],
    runs: Sequence[FinishedRun],
) -> str:
    html: str = template("compare.html").render(
        style=style(),
        title=title,
        verdicts=verdicts,
        sections=sections,
        remarks=remarks,
        runs=[(run.name, printable(run.folder.path)) for run in runs],
    )
    return html


def _sections(comparison: RunsComparison) -> list[Section]:
    summary = comparison.summary
    words = wording_of(summary)
    figure = results_by_arm(summary)
    differences = tables.differences(comparison)
    return [
        Section(
            "Results",
            f"Measured on {words.test_split(summary.data)} of {summary.data.name}. {words.title}: "
            "mean ± standard deviation over seeds. All other columns: mean over seeds.",
            [tables.results(comparison)],
            [] if figure is None else [figure],
        ),
        Section(
            "Comparisons",
            f"Change and interval are in {words.title_in_sentence}. A negative change means that "
            f"the first student {words.verb} {words.less} {words.unit} than the second.",
            [tables.comparisons(comparison)],
        ),
        Section(
            "What differs",
            "Settings of the arms that are compared, and facts about their runs.",
            [differences],
        ),
    ]


def _ranking_sections(ranking: RunsRanking) -> list[Section]:
    return [
        Section(
            "Ranks",
            tables=[tables.ranks(ranking)],
            figures=[critical_difference_figure(ranking.arms, ranking.test)],
        )
    ]
