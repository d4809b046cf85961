"""Tables of the pages of docs/results/, from entries of results.json."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from limbeck.report import formats
from limbeck.report.formats import MISSING, fixed, p_value, percent, plural
from limbeck.report.measure_wording import WORDINGS
from limbeck.report.objectives import objective
from limbeck.report.wording_base import Column, MeasureWording
from limbeck.run.comparison import Comparison, Interval
from limbeck.run.records import from_json

Entry: TypeAlias = Mapping[str, Any]
"""Entry of results.json."""
NO_BREAK = "\N{NO-BREAK SPACE}"
MAX_ROWS = 24
SHARES = ("accuracy", "recall", "agreement")
OUTCOMES = {True: "met", False: "**missed**", None: "not measured"}
KINDS = {"at_least": "at least", "at_most": "at most", "equals": ""}
CLASS_METRICS = [
    Column("accuracy", "accuracy", "", "percent"),
    Column("nll", "NLL", "", "nats"),
    Column("agreement", "agreement", "", "percent"),
]
"""Metrics of classes and tokens."""
METRICS = {
    "squared_error": ("r_squared", "mae", "rmse", "distance_to_teacher"),
    "label_errors": ("label_accuracy", "mean_average_precision", "f1_micro", "f1_macro"),
    "missed_neighbours": ("rank_correlation", "cosine_to_teacher", "probe_accuracy"),
}
"""Metrics of studies that are judged by another measure."""
TO_TEACHER = ("agreement", "distance_to_teacher")
"""Metrics that compare a student with its teacher."""


def wording_of(entry: Entry) -> MeasureWording:
    """Return the wording of the measure by which an entry is judged."""
    return WORDINGS[entry.get("measure", "errors")]


def on_validation(arm: Mapping[str, Any], entry: Entry) -> float:
    """Return the result on the validation split, by which arms are chosen."""
    return arm[f"validation_{wording_of(entry).measure.key}"]


def arms_to_list(entry: Entry) -> list[str]:
    """Return the names of the arms in the tables: all controls, and the best on validation."""
    controls = [arm for arm in entry["arms"] if arm["control"]]
    others = [arm for arm in entry["arms"] if not arm["control"]]
    others.sort(key=lambda arm: on_validation(arm, entry))
    listed_arms = (controls + others)[: max(MAX_ROWS, len(controls))]
    names = {arm["name"] for arm in listed_arms}
    return [arm["name"] for arm in entry["arms"] if arm["name"] in names]


def results_table(entry: Entry, names: Sequence[str]) -> str:
    words = wording_of(entry)
    unit = words.unit
    on_test, on_val = unit, f"{unit} on validation"
    if words.measure.key == "errors":
        on_test = f"errors out of {entry['data']['test']:,}"
        on_val = f"validation errors out of {entry['data']['val']:,}"
    titles = [column.title for column in _metrics(words)]
    heading = ["arm", "parameters", "objective", "data", on_test, *titles, on_val]
    rows = [_arm_row(arm, entry) for arm in entry["arms"] if arm["name"] in names]
    if entry["teacher"]:
        rows.insert(0, _teacher_row(entry["teacher"], words))
    return markdown_table(heading, rows)


def _metrics(words: MeasureWording) -> list[Column]:
    """Return the metrics next to the one by which a study is judged."""
    keys = METRICS.get(words.measure.key)
    if keys is None:
        return CLASS_METRICS
    return [column for column in words.columns if column.key in keys]


def _metric_cells(values: Mapping[str, Any], words: MeasureWording) -> list[str]:
    return [
        ""
        if values.get(column.key) is None and column.key in TO_TEACHER
        else formats.FORMATS[column.kind](values.get(column.key))
        for column in _metrics(words)
    ]


def _teacher_row(teacher: Mapping[str, Any], words: MeasureWording) -> list[str]:
    key, test = words.measure.key, teacher["test"]
    own = {name: value for name, value in test.items() if name not in TO_TEACHER}
    return [
        f"teacher: {teacher['name']}",
        f"{teacher['params']:,}",
        "",
        "",
        words.number(test.get(key)),
        *_metric_cells(own, words),
        words.number(teacher["val"].get(key)),
    ]


def _arm_row(arm: Mapping[str, Any], entry: Entry) -> list[str]:
    words, mean = wording_of(entry), arm["mean"]
    training = objective(arm["objective"])
    if "epochs" in arm:
        training += f", {plural(arm['epochs'], 'epoch')}"
    data = arm["transfer"]
    if arm["views"] != "none":
        data += f", {arm['views']}"
    return [
        arm["name"],
        f"{arm['params']:,}",
        training,
        data,
        mean_and_sd(arm, words),
        *_metric_cells(mean, words),
        words.mean(on_validation(arm, entry)),
    ]


def mean_and_sd(arm: Mapping[str, Any], words: MeasureWording) -> str:
    key = words.measure.key
    text = words.mean_and_sd(arm["mean"].get(key), arm["sd"].get(key))
    return text.replace(" ± ", f"{NO_BREAK}±{NO_BREAK}")


def adjusted_table(table: Mapping[str, Any]) -> str:
    """Return the results with constants added to the logits."""
    parts = [
        f"{table['title']}:",
        markdown_table(table["heading"], table["rows"]),
        table["note"],
        *table["sentences"],
    ]
    return "\n\n".join(part.replace("*", "\\*") for part in parts if part)


def comparisons_table(entry: Entry, names: Sequence[str]) -> str:
    words = wording_of(entry)
    beyond = "text" if words.measure.key == "bits_per_byte" else "samples"
    heading = ["comparison", words.unit, "95 % over seeds", f"95 % over seeds and {beyond}"]
    heading += ["p", "gap closed", "verdict"]
    has_choice = len(entry["comparisons"]) > 1
    rows = []
    for content in entry["comparisons"]:
        comparison = from_json(Comparison, content, where="results.json")
        if comparison.arm in names:
            rows.append(_comparison_row(comparison, words, has_choice=has_choice))
    return markdown_table(heading, rows)


def _comparison_row(
    comparison: Comparison, words: MeasureWording, *, has_choice: bool
) -> list[str]:
    name = f"{comparison.arm} − {comparison.control}"
    if comparison.main and has_choice:
        name += " (chosen on validation)"
    p = p_value(words.measure.p_value(comparison))
    gap_key = words.gaps[0][0]
    gap = getattr(comparison.gap_closed, gap_key)
    return [
        name,
        words.change(comparison),
        words.interval(comparison, over_seeds=True),
        words.interval(comparison),
        p.removeprefix("p = ").removeprefix("p "),
        _share_with_interval(gap, getattr(comparison.gap_closed, f"{gap_key}_ci95", None)),
        comparison.verdict,
    ]


def _share_with_interval(share: float | None, interval: Interval | None) -> str:
    text = percent(share, 0)
    if share is None or interval is None:
        return text
    low, high = (percent(bound, 0) for bound in interval)
    return f"{text} ({low} to {high})"


def goals_table(goals: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for goal in goals:
        target = _goal_number(goal["target"], goal["unit"])
        value = _goal_number(goal["value"], goal["unit"])
        bound = f"{KINDS[goal['kind']]} {target}".strip()
        public = str(goal["public"] or "")
        rows.append([goal["goal"], public, bound, value, OUTCOMES[goal["met"]]])
    heading = ["goal", "best public result", "target", "our result", ""]
    return "Goals:\n\n" + markdown_table(heading, rows)


def _goal_number(value: Any, unit: str) -> str:
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    if any(part in SHARES for part in unit.split(".")):
        return percent(value)
    if unit == "mcnemar_p":
        return p_value(value).removeprefix("p = ")
    return fixed(value, 1)


def markdown_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )
