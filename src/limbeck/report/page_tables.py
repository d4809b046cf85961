"""The tables of the page: comparisons, seeds, models and stages."""

from dataclasses import dataclass

from limbeck.report.families import highlighted_arms
from limbeck.report.figures.style import TEACHER, arm_styles
from limbeck.report.formats import MISSING, bare_p_value, percent, seconds
from limbeck.report.measure_wording import wording_of
from limbeck.report.results_table import results_table
from limbeck.run.summary import GapClosed, Summary

_STAGES = (
    ("teacher", "Teacher"),
    ("store", "Teacher's answers"),
    ("training", "Students"),
    ("evaluation", "Evaluation"),
    ("total", "Total"),
)


@dataclass(frozen=True)
class ResultRow:
    """A row of the results table.

    Attributes:
        name: Name of the arm, or "teacher".
        note: Small print below the name.
        colour: Colour of the arm in the figures.
        cells: Text of each column.
    """

    name: str
    note: str
    colour: str
    cells: list[str]


@dataclass(frozen=True)
class ComparisonRow:
    """A row of the comparisons.

    Attributes:
        arm: Name of the arm.
        control: Name of its control.
        change: Mean change.
        interval: 95 % interval of the change.
        p: Formatted p-value.
        gaps: Each share of the gap that is closed, with its 95 % interval (empty if unknown).
        verdict: Verdict of the comparison.
    """

    arm: str
    control: str
    change: str
    interval: str
    p: str
    gaps: list[tuple[str, str]]
    verdict: str


@dataclass(frozen=True)
class SeedTable:
    """The results seed by seed.

    Attributes:
        seeds: Seeds of the study.
        rows: Name and cells of each arm, then of each comparison.
    """

    seeds: list[int]
    rows: list[tuple[str, list[str]]]


@dataclass(frozen=True)
class ModelRow:
    """A row of the table of models.

    Attributes:
        name: Name of the arm, or "teacher".
        architecture: Architecture of the model.
        params: Number of parameters.
        share: Parameters in % of the teacher's.
        time: Training time.
    """

    name: str
    architecture: str
    params: str
    share: str
    time: str


def result_rows(summary: Summary) -> list[ResultRow]:
    """The results, with the colour that the figures give each arm."""
    table = results_table(summary)
    styles = arm_styles([arm.name for arm in summary.arms], highlighted_arms(summary))
    notes = []
    colours = []
    if summary.teacher is not None:
        notes.append(summary.teacher.name)
        colours.append(TEACHER)
    for arm in summary.arms:
        notes.append("control: labels only" if arm.control else arm.transfer)
        colours.append(styles[arm.name].colour)
    rows = []
    for row, note, colour in zip(table.rows, notes, colours, strict=True):
        cells = [row[column.key] for column in table.columns]
        rows.append(ResultRow(row["name"], note, colour, cells))
    return rows


def comparison_rows(summary: Summary) -> list[ComparisonRow]:
    """The comparisons of a study."""
    words = wording_of(summary)
    return [
        ComparisonRow(
            arm=comparison.arm,
            control=comparison.control,
            change=words.change(comparison),
            interval=words.interval(comparison),
            p=bare_p_value(words.measure.p_value(comparison)),
            gaps=[_gap(comparison.gap_closed, key) for key, _ in words.gaps],
            verdict=comparison.verdict,
        )
        for comparison in summary.comparisons
    ]


def _gap(closed: GapClosed, key: str) -> tuple[str, str]:
    interval = getattr(closed, f"{key}_ci95", None)
    bounds = " to ".join(percent(bound, 0) for bound in interval or ())
    return percent(getattr(closed, key), 0), bounds


def seed_table(summary: Summary) -> SeedTable:
    """The results of each arm and the changes of each comparison, seed by seed."""
    words = wording_of(summary)
    seeds = sorted({seed.seed for arm in summary.arms for seed in arm.seeds})
    rows = []
    for arm in summary.arms:
        values = {seed.seed: words.measure.of(seed.test) for seed in arm.seeds}
        rows.append((arm.name, [words.of_one_seed(values.get(seed)) for seed in seeds]))
    for comparison in summary.comparisons:
        changes = words.measure.delta(comparison).per_seed
        if len(changes) == len(seeds):
            name = f"{comparison.arm} − {comparison.control}"
            rows.append((name, [words.of_one_seed(change, signed=True) for change in changes]))
    return SeedTable(seeds, rows)


def model_rows(summary: Summary) -> list[ModelRow]:
    """Architecture, size and training time of the teacher and every arm."""
    rows = []
    teacher = summary.teacher
    if teacher is not None:
        time = seconds(summary.seconds.teacher or None)
        rows.append(ModelRow("teacher", teacher.name, f"{teacher.params:,}", "100 %", time))
    for arm in summary.arms:
        share = MISSING
        if teacher is not None and teacher.params:
            share = percent(arm.params / teacher.params, 1)
        time = seconds(arm.seconds)
        rows.append(ModelRow(arm.name, arm.student, f"{arm.params:,}", share, time))
    return rows


def stage_rows(summary: Summary) -> list[tuple[str, str]]:
    """Name and duration of each stage that took time."""
    rows = []
    for key, name in _STAGES:
        duration = getattr(summary.seconds, key)
        if duration:
            rows.append((name, seconds(duration)))
    return rows
