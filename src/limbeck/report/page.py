"""``report.html``: a finished run on one page, without scripts or network access."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from limbeck._base.files import write_text
from limbeck._base.printable import printable_record
from limbeck.report import page_tables, settings, wording
from limbeck.report.abstention import abstention_lead
from limbeck.report.adjusted_table import adjusted_table
from limbeck.report.arm_styles import TEACHER, styles_of
from limbeck.report.cost import note
from limbeck.report.examples import Examples, read_examples
from limbeck.report.families import MAX_COLOURED
from limbeck.report.figures.catalogue import draw_figures
from limbeck.report.margin_wording import margin_text
from limbeck.report.measure_wording import wording_of
from limbeck.report.next_steps import next_steps
from limbeck.report.overview import overview
from limbeck.report.search import search_sentences
from limbeck.report.template import asset, style, template
from limbeck.run.cost import Cost, read_cost
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import Manifest, read_manifest
from limbeck.run.saved_files import check_results
from limbeck.run.search import Search, read_search
from limbeck.run.summary import Summary, read_summary


def write_report(run: str | Path, manifest: Manifest | None = None) -> Path:
    """Write ``report.html`` of a finished run.

    Args:
        run: Folder of the run.
        manifest: Manifest of the run; None to read it from the folder.

    Returns:
        The path of the page.

    Raises:
        ConfigError: If the run is not finished.
        UntrustedFileError: If one of its files is damaged.
    """
    folder = RunFolder(run)
    check_results(
        folder,
        folder.summary,
        folder.metrics,
        folder.predictions,
        folder.examples,
        folder.search,
    )
    summary = read_summary(folder)
    if manifest is None:
        manifest = read_manifest(folder) if folder.manifest.is_file() else Manifest()
    html = render(folder, summary, manifest)
    write_text(folder.report, html)
    return folder.report


def render(folder: RunFolder, summary: Summary, manifest: Manifest) -> str:
    """Render the page of a run as HTML."""
    summary, manifest = printable_record(summary), printable_record(manifest)
    words = wording_of(summary)
    reading = f"reading_{words.measure.key}.html"
    examples = printable_record(read_examples(folder))
    cost = printable_record(read_cost(folder))
    return template("report.html").render(
        style=style(),
        summary=summary,
        words=words,
        verdicts=wording.headlines(summary),
        overview=overview(summary, cost),
        steps=next_steps(folder, summary, manifest),
        choice=wording.choice(summary),
        failures=wording.failures(summary),
        search=_search(printable_record(read_search(folder)), summary),
        results=page_tables.results(summary),
        comparisons=page_tables.comparisons(summary),
        margin="" if summary.margin is None else margin_text(summary),
        replacements=page_tables.replacements(summary),
        abstention_lead=abstention_lead(summary, cost),
        abstention=page_tables.abstention(summary, cost),
        adjusted=_adjusted(summary),
        seeds=page_tables.seeds(summary),
        examples=examples,
        example_colours=_example_colours(summary, examples),
        figures=draw_figures(folder, summary),
        is_large=len(summary.arms) > MAX_COLOURED,
        models=page_tables.models(summary),
        stages=page_tables.stages(summary),
        cost=_cost(cost),
        reading=Markup(asset(reading).rstrip()),
        arms=page_tables.arms(summary),
        settings=settings.common_settings(summary, manifest),
        machine=settings.machine(manifest),
    )


def _example_colours(summary: Summary, examples: Examples | None) -> dict[str, str]:
    """The colours of the bars below the examples, the same as in the figures."""
    if examples is None:
        return {}
    styles = styles_of(summary)
    colours = {"teacher": TEACHER}
    for model, name in (("control", examples.control), ("arm", examples.arm)):
        colours[model] = styles[name].colour if name in styles else TEACHER
    return colours


def _adjusted(summary: Summary) -> dict[str, Any] | None:
    """The results with constants added to the logits; None if the study has none."""
    adjusted = adjusted_table(summary)
    if adjusted is None:
        return None
    return {"content": adjusted, "table": page_tables.adjusted(adjusted)}


def _search(search: Search | None, summary: Summary) -> dict[str, Any] | None:
    """The sentences and the Pareto front of the search; None for a run without one."""
    if search is None or search.winner is None:
        return None
    sentences = search_sentences(search, summary)
    return {"sentences": sentences, "table": page_tables.search_front(search)}


def _cost(cost: Cost | None) -> dict[str, Any] | None:
    """The table of the cost and how it was measured; None if it was not measured."""
    if cost is None:
        return None
    return {"table": page_tables.cost(cost), "note": note(cost)}
