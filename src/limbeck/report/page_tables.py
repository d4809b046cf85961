"""The tables of the page; ``results_table.py`` holds the columns of the first."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from limbeck.report import cost as cost_table
from limbeck.report import objectives
from limbeck.report.abstention import abstention_heading, abstention_rows
from limbeck.report.adjusted_table import AdjustedTable
from limbeck.report.arm_styles import TEACHER, styles_of
from limbeck.report.formats import MISSING, bare_p_value, percent, seconds, share
from limbeck.report.margin_wording import replacement_rows
from limbeck.report.measure_wording import wording_of
from limbeck.report.results_table import results_table
from limbeck.report.search import front_heading, front_rows
from limbeck.report.settings import epochs_of
from limbeck.run.comparison import GapClosed
from limbeck.run.cost import Cost
from limbeck.run.search import Search
from limbeck.run.summary import Summary

_STAGES = {
    "teacher": "Teacher",
    "store": "Teacher's answers",
    "training": "Students",
    "evaluation": "Evaluation",
    "total": "Total",
}


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        id: HTML id of the table.
        heading: Headings of the columns.
        rows: Cells of each row; the second line of a cell is set in small type.
        numeric: Indices of the right-aligned columns.
        colours: Colour of each row, as in the figures.
        caption: Title for screen readers.
    """

    id: str
    heading: list[str]
    rows: list[list[str]]
    numeric: Sequence[int] = ()
    colours: list[str] = field(default_factory=list)
    caption: str = ""


def results(summary: Summary) -> Table:
    """The results of the teacher and every arm."""
    table = results_table(summary)
    styles = styles_of(summary)
    notes = ["control: labels only" if arm.control else arm.transfer for arm in summary.arms]
    colours = [styles[arm.name].colour for arm in summary.arms]
    if summary.teacher is not None:
        notes.insert(0, summary.teacher.name)
        colours.insert(0, TEACHER)
    rows = []
    for row, note in zip(table.rows, notes, strict=True):
        rows.append([f"{row['name']}\n{note}", *(row[column.key] for column in table.columns)])
    heading = ["Arm", *(column.title for column in table.columns)]
    return Table(
        "results",
        heading,
        rows,
        range(1, len(heading)),
        colours,
        caption="Results of the teacher and every arm",
    )


def comparisons(summary: Summary) -> Table:
    """Each arm and its control; the verdict is the last column."""
    words = wording_of(summary)
    is_corrected = any(comparison.p_holm is not None for comparison in summary.comparisons)
    heading = ["Arm", "Control", "Change", "95 % interval", "p"]
    heading += ["p, Holm", "p, BH"] if is_corrected else []
    heading += [title for _, title in words.gaps]
    rows = []
    for comparison in summary.comparisons:
        cells = [
            comparison.arm,
            comparison.control,
            words.change(comparison),
            words.interval(comparison),
            bare_p_value(words.measure.p_value(comparison)),
        ]
        if is_corrected:
            cells += [bare_p_value(comparison.p_holm), bare_p_value(comparison.p_bh)]
        cells += [_gap(comparison.gap_closed, key) for key, _ in words.gaps]
        rows.append([*cells, comparison.verdict])
    return Table(
        "comparisons",
        [*heading, "Verdict"],
        rows,
        range(2, len(heading)),
        caption="Each arm compared with its control",
    )


def replacements(summary: Summary) -> Table:
    """Each student and the larger model that it could replace; the verdict is the last column."""
    unit = wording_of(summary).title
    heading = ["Student", "Instead of", "Parameters", f"{unit}, difference", "95 % interval"]
    return Table(
        "replacements",
        [*heading, "Verdict"],
        replacement_rows(summary),
        range(2, len(heading)),
        caption="Students compared with a larger model, within the margin",
    )


def abstention(summary: Summary, cost: Cost | None) -> Table:
    """What the best student answers if it may abstain."""
    caption = "Answers of the student that may abstain, by the error rate they may have"
    heading = abstention_heading(summary, cost)
    rows = abstention_rows(summary, cost)
    return Table("abstention", heading, rows, range(1, len(heading)), caption=caption)


def _gap(closed: GapClosed, key: str) -> str:
    """The share of the gap that is closed, and its 95 % interval if it is known."""
    closed_share = percent(getattr(closed, key), 0)
    interval = getattr(closed, f"{key}_ci95", None)
    if interval is None:
        return closed_share
    low, high = (percent(bound, 0) for bound in interval)
    return f"{closed_share}\n{low} to {high}"


def seeds(summary: Summary) -> Table:
    """The results of each arm and the changes of each comparison, seed by seed."""
    words = wording_of(summary)
    numbers = sorted({seed.seed for arm in summary.arms for seed in arm.seeds})
    rows = []
    for arm in summary.arms:
        values = {seed.seed: words.measure.value(seed.test) for seed in arm.seeds}
        rows.append([arm.name, *(words.seed_value(values.get(number)) for number in numbers)])
    for comparison in summary.comparisons:
        changes = words.measure.delta(comparison).per_seed
        if len(changes) == len(numbers):
            name = f"{comparison.arm} − {comparison.control}"
            rows.append([name, *(words.seed_value(change, signed=True) for change in changes)])
    heading = ["Arm", *(f"seed {number}" for number in numbers)]
    return Table("seeds", heading, rows, range(1, len(heading)), caption="Results seed by seed")


def models(summary: Summary) -> Table:
    """Architecture, size and training time of the teacher and every arm."""
    teacher = summary.teacher
    heading = ["Model", "Architecture", "Parameters", "Training time"]
    if teacher is None:
        rows = [
            [arm.name, arm.student, f"{arm.params:,}", seconds(arm.seconds)] for arm in summary.arms
        ]
        return Table(
            "models", heading, rows, (2, 3), caption="Size and training time of the models"
        )
    heading.insert(3, "Relative size")
    time = seconds(summary.seconds.teacher or None)
    size = [f"{teacher.params:,}", "100 %"] if teacher.params else [MISSING, MISSING]
    rows = [["teacher", teacher.name, *size, time]]
    for arm in summary.arms:
        relative = share(arm.params / teacher.params) if teacher.params else MISSING
        rows.append([arm.name, arm.student, f"{arm.params:,}", relative, seconds(arm.seconds)])
    return Table("models", heading, rows, (2, 3, 4), caption="Size and training time of the models")


def stages(summary: Summary) -> Table:
    """The duration of each stage, without stages that took no time."""
    durations = [(name, getattr(summary.seconds, key)) for key, name in _STAGES.items()]
    rows = [[name, seconds(duration)] for name, duration in durations if duration]
    return Table("stages", ["Stage", "Time"], rows, (1,), caption="Duration of each stage")


def cost(content: Cost) -> Table:
    """The cost of running the models."""
    heading = cost_table.heading(content)
    return Table(
        "cost",
        heading,
        cost_table.rows(content),
        range(2, len(heading)),
        caption="Size, memory and speed of the models",
    )


def search_front(search: Search) -> Table:
    """The Pareto front of the search for a student."""
    heading = front_heading(search)
    return Table(
        "front",
        heading,
        front_rows(search),
        range(2, len(heading)),
        caption="Pareto front of the search, cheapest student first",
    )


def adjusted(table: AdjustedTable) -> Table:
    """The results with constants added to the logits."""
    heading = [column.capitalize() for column in table.heading]
    return Table(
        "adjusted",
        heading,
        table.rows,
        range(2, len(heading)),
        caption="Results with constants added to the logits",
    )


def arms(summary: Summary) -> Table:
    """The objective and the data of each arm; epochs and optimizer only if they differ."""
    columns = {
        "Arm": [arm.name for arm in summary.arms],
        "Objective": [objectives.objective(arm.objective) for arm in summary.arms],
        "Transfer set": [arm.transfer for arm in summary.arms],
        "Views": [arm.views or MISSING for arm in summary.arms],
    }
    epochs = [str(epochs_of(arm, summary) or MISSING) for arm in summary.arms]
    if len(set(epochs)) > 1:
        columns["Epochs"] = epochs
    if len({str(arm.optimizer) for arm in summary.arms}) > 1:
        columns["Optimizer"] = [objectives.optimizer(arm.optimizer) for arm in summary.arms]
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    numeric = (4,) if "Epochs" in columns else ()
    return Table("objectives", list(columns), rows, numeric, caption="Settings of each arm")
