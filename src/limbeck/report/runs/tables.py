"""The tables of a comparison of runs, shared by the page and the terminal."""

from collections.abc import Sequence

from limbeck.report.arm_styles import TEACHER, arm_styles
from limbeck.report.families import settings
from limbeck.report.formats import bare_p_value
from limbeck.report.measure_wording import wording_of
from limbeck.report.page_tables import Table
from limbeck.report.results_table import results_table
from limbeck.report.runs.compare import ComparedRun, RunsComparison
from limbeck.report.runs.rank import RunsRanking
from limbeck.report.runs.read import FinishedRun
from limbeck.report.runs.sentences import WORDS

VERSIONS = ("limbeck", "torch")
ABSENT = "–"
UNRELATED = ("seconds",)
"""Columns of the report that differ for reasons other than the students."""
OPTIONAL = ("ece", "agreement", "kl_to_teacher", "perplexity")
"""Columns that a terminal has no room for, next to long names."""


def results(comparison: RunsComparison, without: Sequence[str] = ()) -> Table:
    """The results of the students that are compared, and of their controls.

    Args:
        comparison: Comparison of runs.
        without: Keys of columns to leave out.
    """
    summary = comparison.summary
    table = results_table(summary)
    columns = [column for column in table.columns if column.key not in (*UNRELATED, *without)]
    styles = arm_styles([arm.name for arm in summary.arms])
    colours = [styles[arm.name].colour for arm in summary.arms]
    if summary.teacher is not None:
        colours.insert(0, TEACHER)
    rows = [[row["name"], *(row[column.key] for column in columns)] for row in table.rows]
    heading = ["Student", *(column.title for column in columns)]
    return Table(
        "results", heading, rows, range(1, len(heading)), colours, "Results of the students"
    )


def comparisons(comparison: RunsComparison) -> Table:
    """All pairs of runs; the verdict on the first column is the last."""
    summary = comparison.summary
    words = wording_of(summary)
    is_corrected = len(summary.comparisons) > 1
    heading = ["Student", "Compared with", "Change", "95 % interval", "p"]
    heading += ["p, Holm"] if is_corrected else []
    rows = []
    for entry in summary.comparisons:
        cells = [entry.arm, entry.control, words.change(entry), words.interval(entry)]
        cells.append(bare_p_value(entry.p_value))
        cells += [bare_p_value(entry.p_holm)] if is_corrected else []
        rows.append([*cells, WORDS[entry.verdict]])
    return Table(
        "comparisons",
        [*heading, "Verdict"],
        rows,
        range(2, len(heading)),
        caption="Each run compared with each other run",
    )


def differences(comparison: RunsComparison) -> Table:
    """The settings and facts in which the runs differ."""
    facts = [_facts(entry) for entry in comparison.runs]
    names = dict.fromkeys(name for entry in facts for name in entry)
    rows = []
    for name in names:
        values = [entry.get(name, ABSENT) for entry in facts]
        if len(set(values)) > 1:
            rows.append([name, *values])
    heading = ["", *(entry.run.name for entry in comparison.runs)]
    return Table("differences", heading, rows, caption="Settings that differ")


def _facts(entry: ComparedRun) -> dict[str, str]:
    run, summary, manifest = entry.run, entry.run.summary, entry.run.manifest
    facts = {"recipe": summary.recipe, "arm": entry.arm.name}
    facts |= {
        name: _plain(value) for name, value in settings(entry.arm).items() if value is not None
    }
    if entry.arm.epochs is None:
        facts["epochs"] = _plain(summary.epochs)
    facts["batch_size"] = _plain(summary.batch_size)
    facts["seeds"] = ", ".join(map(str, sorted(entry.scores.values)))
    facts["teacher"] = _teacher(run)
    for name in VERSIONS:
        facts[name] = manifest.versions.get(name, ABSENT)
    if manifest.hardware is not None:
        facts["processor"] = manifest.hardware.cpu or ABSENT
    facts["started"] = (manifest.started or ABSENT)[:16].replace("T", " ")
    return facts


def _teacher(run: FinishedRun) -> str:
    teacher = run.summary.teacher
    if teacher is None:
        return "none"
    words = wording_of(run.summary)
    value = words.number(words.measure.value(teacher.test))
    digest = run.teacher_digest
    weights = "" if digest is None else f", {digest[:8]}"
    return f"{teacher.name}: {value} {words.unit}{weights}"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def ranks(ranking: RunsRanking) -> Table:
    """Result and rank of each arm on each data set, and the mean ranks."""
    rows = []
    for run, values, own in zip(ranking.runs, ranking.values, ranking.test.ranks, strict=True):
        words = wording_of(run.summary)
        cells = [f"{words.mean(value)}\n#{rank:g}" for value, rank in zip(values, own, strict=True)]
        rows.append([f"{run.name}\n{run.summary.data.name}, {words.unit}", *cells])
    rows.append(["mean rank", *(f"{rank:.2f}" for rank in ranking.test.mean_ranks)])
    heading = ["Run", *ranking.arms]
    return Table("ranks", heading, rows, range(1, len(heading)), caption="Ranks of the arms")
