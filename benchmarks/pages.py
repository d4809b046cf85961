"""Pages of docs/results/: tables and goals from results.json, text written by hand."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from limbeck.cli.config.groups import CONF
from limbeck.report import formats
from limbeck.report.formats import MISSING, fixed, p_value, percent, plural, seconds
from limbeck.report.measure_wording import WORDINGS
from limbeck.report.objectives import objective
from limbeck.report.wording_base import Column, MeasureWording
from limbeck.run.comparison import Comparison, Interval
from limbeck.run.records import from_json

MAX_ROWS = 24
NO_BREAK = "\N{NO-BREAK SPACE}"
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
Entry: TypeAlias = Mapping[str, Any]
INDEX = """\
There is one page per recipe, with the command, commit, machine, time, results of every arm, and
whether the goals were met. The table shows test errors (for text, bits per byte; for regression,
the squared error), mean ± standard deviation over seeds, of the arm that is best on the validation
split and of its control.
[results.json](results.json) contains the same numbers for programs. See also [Speed](speed.md) and
[Exported students](export.md)."""


def write_pages(
    record: Mapping[str, Any], folder: Path, without: Mapping[str, str]
) -> Iterator[Path]:
    """Write a page for each recipe and the list of all results; yield their paths.

    Args:
        record: Content of results.json.
        folder: Folder of the pages; the file ``introductions/index.md`` opens the list.
        without: Reason for each recipe that has no page.
    """
    for recipe in dict.fromkeys(entry["recipe"] for entry in record["entries"]):
        page = folder / f"{recipe}.md"
        text = _introduction(folder, recipe)
        page.write_text(page_of(recipe, record, text), encoding="utf-8")
        yield page
    index = folder / "index.md"
    text = _introduction(folder, "index")
    index.write_text(index_of(record, without, text), encoding="utf-8")
    yield index


def _introduction(folder: Path, name: str) -> str:
    """Return the text of a page that is written by hand, which may be empty."""
    file = folder / "introductions" / f"{name}.md"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def page_of(recipe: str, record: Mapping[str, Any], text: str) -> str:
    """Return the page of a recipe.

    Args:
        recipe: Name of the recipe.
        record: Content of results.json.
        text: Text written by hand: a title and the answer, a line of three dashes, and remarks. It
            may be empty.
    """
    entries = [entry for entry in record["entries"] if entry["recipe"] == recipe]
    opening, _, ending = text.strip().partition("\n---\n")
    if not opening.strip():
        opening = "\n\n".join([f"# {recipe}: {about(recipe)}", *entries[0]["headline"]])
    parts = [opening.strip()]
    for entry in entries:
        if len(entries) > 1:
            parts.append(f"## {entry['name']}")
        parts += _sections(entry)
    if ending.strip():
        parts.append(ending.strip())
    return "\n\n".join(parts) + "\n"


def about(recipe: str) -> str:
    """Return the first comment of a recipe."""
    file = CONF / "recipe" / f"{recipe}.yaml"
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and "@package" not in line:
            return line.lstrip("# ")
    return ""


def wording_of(entry: Entry) -> MeasureWording:
    """Return the wording of the measure by which an entry is judged."""
    return WORDINGS[entry.get("measure", "errors")]


def on_validation(arm: Mapping[str, Any], entry: Entry) -> float:
    """Return the result on the validation split, by which arms are chosen."""
    return arm[f"validation_{wording_of(entry).measure.key}"]


def _sections(entry: Entry) -> Iterator[str]:
    """Yield the parts of a page that belong to one entry."""
    yield f"    {entry['command']}"
    yield _facts(entry)
    names = _arms_to_list(entry)
    yield _results(entry, names)
    hidden = len(entry["arms"]) - len(names)
    if hidden:
        yield f"{plural(hidden, 'more arm')} in [results.json](results.json)."
    if entry["comparisons"]:
        yield _comparisons(entry, names)
    if entry.get("adjusted"):
        yield _adjusted(entry["adjusted"])
    for figure in entry["figures"]:
        yield f"![{figure['title']}]({figure['file']})\n\n*{figure['title']}.* {figure['caption']}"
    if entry["warnings"]:
        warnings = "\n".join(f"* {warning}" for warning in entry["warnings"])
        yield f"Warnings of the run:\n\n{warnings}"
    if entry["goals"]:
        yield _goals(entry["goals"])


def _facts(entry: Entry) -> str:
    """Return commit, machine, time and sizes in a paragraph."""
    durations = entry["seconds"]
    stages = ", ".join(
        f"{name} {seconds(duration)}"
        for name, duration in durations.items()
        if name != "total" and duration
    )
    return (
        f"limbeck {entry['versions']['limbeck']} at {_commit(entry['commit'])}, "
        f"torch {entry['versions']['torch']}, {_machine(entry['hardware'])}, "
        f"{entry['precision']}, {entry['date']}. Wall time {seconds(durations['total'])} "
        f"({stages}). {_sizes(entry['data'])}; the study used the test split once, at the end. "
        f"Students: {plural(entry['epochs'], 'epoch')}, batches of {entry['batch_size']:,}, "
        f"{formats.seeds_and_splits(entry['seeds'], entry.get('splits'))}. Mean ± standard "
        "deviation over seeds."
    )


def _commit(commit: str | None) -> str:
    if not commit:
        return "an unknown commit"
    changes = " with changes" if commit.endswith("+") else ""
    return f"commit `{commit[:7]}`{changes}"


def _machine(hardware: Mapping[str, Any]) -> str:
    parts = [f"{plural(hardware['cores'], 'core')} of {hardware['cpu']}"]
    return ", ".join([*parts, *(hardware.get("devices") or [])])


def _sizes(data: Mapping[str, Any]) -> str:
    if "tokens" not in data:
        return (
            f"{data['train']:,} training samples, {data['val']:,} validation samples, "
            f"{data['test']:,} test samples"
        )
    tokens = data["tokens"]
    return (
        f"{tokens['train']:,} training tokens ({data['tokenizer']}, blocks of {data['block']}), "
        f"{tokens['val']:,} validation tokens, {tokens['test']:,} test tokens "
        f"({data['bytes']['test']:,} bytes)"
    )


# Tables -------------------------------------------------------------------------------------------


def _arms_to_list(entry: Entry) -> list[str]:
    """Return the names of the arms in the tables: all controls, and the best on validation."""
    controls = [arm for arm in entry["arms"] if arm["control"]]
    others = [arm for arm in entry["arms"] if not arm["control"]]
    others.sort(key=lambda arm: on_validation(arm, entry))
    listed_arms = (controls + others)[: max(MAX_ROWS, len(controls))]
    names = {arm["name"] for arm in listed_arms}
    return [arm["name"] for arm in entry["arms"] if arm["name"] in names]


def _results(entry: Entry, names: Sequence[str]) -> str:
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
    return _table(heading, rows)


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
        _mean_and_sd(arm, words),
        *_metric_cells(mean, words),
        words.mean(on_validation(arm, entry)),
    ]


def _mean_and_sd(arm: Mapping[str, Any], words: MeasureWording) -> str:
    key = words.measure.key
    text = words.mean_and_sd(arm["mean"].get(key), arm["sd"].get(key))
    return text.replace(" ± ", f"{NO_BREAK}±{NO_BREAK}")


def _adjusted(table: Mapping[str, Any]) -> str:
    """Return the results with constants added to the logits."""
    parts = [
        f"{table['title']}:",
        _table(table["heading"], table["rows"]),
        table["note"],
        *table["sentences"],
    ]
    return "\n\n".join(part.replace("*", "\\*") for part in parts if part)


def _comparisons(entry: Entry, names: Sequence[str]) -> str:
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
    return _table(heading, rows)


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


def _goals(goals: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for goal in goals:
        target = _goal_number(goal["target"], goal["unit"])
        value = _goal_number(goal["value"], goal["unit"])
        bound = f"{KINDS[goal['kind']]} {target}".strip()
        public = str(goal["public"] or "")
        rows.append([goal["goal"], public, bound, value, OUTCOMES[goal["met"]]])
    heading = ["goal", "best public result", "target", "our result", ""]
    return "Goals:\n\n" + _table(heading, rows)


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


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


# The list of results ------------------------------------------------------------------------------


def index_of(record: Mapping[str, Any], without: Mapping[str, str], text: str) -> str:
    """Return the list of all results: a text written by hand, and a row for each entry."""
    recorded = sorted({entry["recipe"] for entry in record["entries"]})
    heading = ["recipe", "data, test", "seeds", "control", "distilled", "teacher", "verdict"]
    heading += ["goals met", "time"]
    parts = [
        "# Results",
        *filter(None, [text]),
        "## All studies",
        INDEX,
        _table(heading, [_index_row(entry) for entry in record["entries"]]),
    ]
    missing = [
        f"* `{name}`: {reason}" for name, reason in sorted(without.items()) if name not in recorded
    ]
    if missing:
        parts.append("These recipes have no page yet:\n\n" + "\n".join(missing))
    pages = "\n".join([*recorded, "export", "speed"])
    parts.append(f"```{{toctree}}\n:hidden:\n\n{pages}\n```")
    return "\n\n".join(parts) + "\n"


def _index_row(entry: Entry) -> list[str]:
    words = wording_of(entry)
    control = distilled = verdict = teacher = goals = MISSING
    arms = {arm["name"]: arm for arm in entry["arms"]}
    for content in entry["comparisons"]:
        if content.get("main"):
            main = from_json(Comparison, content, where="results.json")
            control = _mean_and_sd(arms[main.control], words)
            distilled = _mean_and_sd(arms[main.arm], words)
            verdict = f"{main.verdict}: {words.change(main)}"
    if entry["teacher"]:
        teacher = words.number(entry["teacher"]["test"].get(words.measure.key))
    if entry["goals"]:
        met = sum(goal["met"] is True for goal in entry["goals"])
        goals = f"{met} of {len(entry['goals'])}"
    size = entry["data"].get("tokens", entry["data"])["test"]
    return [
        f"[{entry['name']}]({entry['recipe']}.md)",
        f"{entry['data']['name']}, {size:,}",
        str(entry["seeds"]),
        control,
        distilled,
        teacher,
        verdict,
        goals,
        seconds(entry["seconds"]["total"]),
    ]
