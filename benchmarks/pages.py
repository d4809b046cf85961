"""The pages of docs/results/: tables and goals from results.json, sentences from the texts written
by hand.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.cli.config.compose import CONF
from limbeck.report.formats import MISSING, nats, p_value, percent, plural, seconds, tenths
from limbeck.report.judged_by import Measure, measure_of
from limbeck.report.wording import objective

MOST_ROWS = 24
SHARES = ("accuracy", "recall", "agreement")
NOTES = {True: "met", False: "**missed**", None: "not measured"}
KINDS = {"at_least": "at least", "at_most": "at most", "equals": ""}
Entry = Mapping[str, Any]


def write_pages(
    record: Mapping[str, Any], folder: Path, without: Mapping[str, str]
) -> Iterator[Path]:
    """Write a page for each recipe, and the list of all; give their paths."""
    for recipe in dict.fromkeys(entry["recipe"] for entry in record["entries"]):
        text = folder / "text" / f"{recipe}.md"
        page = folder / f"{recipe}.md"
        found = text.read_text(encoding="utf-8") if text.is_file() else ""
        page.write_text(page_of(recipe, record, found), encoding="utf-8")
        yield page
    index = folder / "index.md"
    index.write_text(index_of(record, without), encoding="utf-8")
    yield index


def page_of(recipe: str, record: Mapping[str, Any], text: str) -> str:
    """The page of a recipe.

    Args:
        recipe: its name.
        record: the content of results.json.
        text: written by hand: a title, the answer, a line of three dashes, what else to know; may
            be empty.
    """
    entries = [entry for entry in record["entries"] if entry["recipe"] == recipe]
    opening, _, ending = text.strip().partition("\n---\n")
    if not opening.strip():
        opening = "\n\n".join([f"# {recipe}: {about(recipe)}", *entries[0]["headline"]])
    parts = [opening.strip()]
    for entry in entries:
        parts += [f"## {entry['name']}"] * (len(entries) > 1) + list(_sections(entry))
    return "\n\n".join([*parts, *[ending.strip()] * bool(ending.strip())]) + "\n"


def on_validation(arm: Mapping[str, Any], entry: Entry) -> float:
    """What validation chooses by, the less the better."""
    return arm[f"validation_{measure_of(entry).key}"]


def about(recipe: str) -> str:
    """The first comment of a recipe."""
    lines = (CONF / "recipe" / f"{recipe}.yaml").read_text(encoding="utf-8").splitlines()
    return next(
        (line.lstrip("# ") for line in lines if line.startswith("# ") and "@package" not in line),
        "",
    )


def _sections(entry: Entry) -> Iterator[str]:
    yield f"    {entry['command']}"
    yield _facts(entry)
    kept, left = _rows_shown(entry)
    yield _results(entry, kept)
    if left:
        yield f"{plural(left, 'more arm')} in [results.json](results.json)."
    if entry["comparisons"]:
        yield _comparisons(entry, kept)
    if entry.get("adjusted"):
        yield _adjusted(entry["adjusted"])
    for figure in entry["figures"]:
        yield f"![{figure['title']}]({figure['file']})\n\n*{figure['title']}.* {figure['caption']}"
    if entry["warnings"]:
        yield "What the run itself warns of:\n\n" + "\n".join(
            f"* {warning}" for warning in entry["warnings"]
        )
    if entry["goals"]:
        yield _goals(entry["goals"])


def _facts(entry: Entry) -> str:
    """Commit, machine, time and sizes in a paragraph."""
    machine, spent, data = entry["hardware"], entry["seconds"], entry["data"]
    devices = ", ".join(machine.get("devices") or [])
    where = f"{plural(machine['cores'], 'core')} of {machine['cpu']}" + (
        f", {devices}" if devices else ""
    )
    changed = " with changes" if (entry["commit"] or "").endswith("+") else ""
    commit = (
        f"commit `{entry['commit'][:7]}`{changed}" if entry["commit"] else "a commit not recorded"
    )
    stages = ", ".join(
        f"{name} {seconds(spent[name])}" for name in spent if name != "total" and spent[name]
    )
    return (
        f"limbeck {entry['versions']['limbeck']} at {commit}, torch {entry['versions']['torch']}, "
        f"{where}, "
        f"{entry['precision']}, {entry['date']}. Wall time {seconds(spent['total'])} ({stages}). "
        f"{_sizes(data)}; the test split was opened once, at the end. Students: "
        f"{plural(entry['epochs'], 'epoch')}, "
        f"batches of {entry['batch_size']:,}, {plural(entry['seeds'], 'seed')}. Mean ± standard "
        "deviation over seeds."
    )


def _sizes(data: Mapping[str, Any]) -> str:
    if "tokens" not in data:
        return f"{data['train']:,} samples to train, {data['val']:,} to validate, {data['test']:,} to test"
    tokens = data["tokens"]
    return (
        f"{tokens['train']:,} tokens to train ({data['tokenizer']}, blocks of {data['block']}), "
        f"{tokens['val']:,} to "
        f"validate, {tokens['test']:,} to test ({data['bytes']['test']:,} bytes)"
    )


def _rows_shown(entry: Entry) -> tuple[list[str], int]:
    """Names of the arms in the tables, and how many are left out: those with the most validation
    errors, no control.
    """
    arms = entry["arms"]
    controls = [arm for arm in arms if arm["control"]]
    ranked = controls + sorted(
        (arm for arm in arms if not arm["control"]), key=lambda arm: on_validation(arm, entry)
    )
    picked = {arm["name"] for arm in ranked[: max(MOST_ROWS, len(controls))]}
    return [arm["name"] for arm in arms if arm["name"] in picked], len(arms) - len(picked)


def _results(entry: Entry, kept: Sequence[str]) -> str:
    measure, rows, teacher = measure_of(entry), [], entry["teacher"]
    if teacher:
        test = teacher["test"]
        facts = [
            f"teacher: {teacher['name']}",
            f"{teacher['params']:,}",
            "",
            "",
            measure.number(measure.of(test)),
        ]
        facts += [percent(test["accuracy"]), nats(test["nll"]), ""]
        rows.append([*facts, measure.number(measure.of(teacher["val"]))])
    for arm in entry["arms"]:
        if arm["name"] in kept:
            mean, sd = arm["mean"], arm["sd"]
            learns = objective(arm["objective"], control=False)
            learns += f", {plural(arm['epochs'], 'epoch')}" if "epochs" in arm else ""
            facts = [arm["name"], f"{arm['params']:,}", learns, _sees(arm)]
            facts += [measure.mean_and_sd(measure.of(mean), measure.of(sd))]
            facts += [percent(mean["accuracy"]), nats(mean["nll"])]
            agreement = percent(mean["agreement"]) if mean.get("agreement") is not None else ""
            rows.append([*facts, agreement, measure.mean(on_validation(arm, entry))])
    of_test, of_val = _counted(entry)
    heading = ["arm", "parameters", "learns from", "sees", of_test, "accuracy", "NLL"]
    return _table([*heading, "agreement", of_val], rows)


def _counted(entry: Entry) -> tuple[str, str]:
    """Headings of what is measured on the test and on the validation split."""
    data, noun = entry["data"], measure_of(entry).noun
    if noun != "errors":
        return noun, f"{noun} on validation"
    return f"errors of {data['test']:,}", f"errors of {data['val']:,} on validation"


def _sees(arm: Mapping[str, Any]) -> str:
    """Its transfer set and views."""
    return arm["transfer"] if arm["views"] == "none" else f"{arm['transfer']}, {arm['views']}"


def _adjusted(found: Mapping[str, Any]) -> str:
    """Results with constants added per class after training."""
    parts = [
        f"{found['title']}:",
        _table(found["heading"], found["rows"]),
        found["note"],
        *found["sentences"],
    ]
    return "\n\n".join(filter(None, (part.replace("*", "\\*") for part in parts)))


def _comparisons(entry: Entry, kept: Sequence[str]) -> str:
    measure, rows = measure_of(entry), []
    gap_key = measure.gaps[0][0]
    for found in entry["comparisons"]:
        if found["arm"] in kept:
            gap, total = found["gap_closed"][gap_key], {**found[measure.delta]}
            total["ci95"] = total.get("ci95_total")
            star = (
                " (chosen on validation)"
                if found.get("main") and len(entry["comparisons"]) > 1
                else ""
            )
            rows.append(
                [
                    f"{found['arm']} − {found['control']}{star}",
                    measure.change(found),
                    measure.interval(found),
                    measure.interval({measure.delta: total}),
                    p_value(found[measure.p[0]]).removeprefix("p = ").removeprefix("p "),
                    MISSING
                    if gap is None
                    else _with_interval(gap, found["gap_closed"].get(f"{gap_key}_ci95")),
                    found["verdict"],
                ]
            )
    beyond = "samples" if measure.noun == "errors" else "text"
    heading = [
        "comparison",
        measure.noun,
        "95 % over seeds",
        f"95 % over seeds and {beyond}",
        measure.p[1],
    ]
    return _table([*heading, "gap closed", "verdict"], rows)


def _with_interval(gap: float, bounds: Sequence[float] | None) -> str:
    return percent(gap, 0) + (
        f" ({percent(bounds[0], 0)} to {percent(bounds[1], 0)})" if bounds else ""
    )


def _goals(goals: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for goal in goals:
        target = (
            goal["target"]
            if isinstance(goal["target"], str)
            else _shown(goal["target"], goal["unit"])
        )
        found = MISSING if goal["value"] is None else _shown(goal["value"], goal["unit"])
        wanted = f"{KINDS[goal['kind']]} {target}".strip()
        rows.append([goal["goal"], str(goal["public"] or ""), wanted, found, NOTES[goal["met"]]])
    return "Against the numbers to beat:\n\n" + _table(["", "public", "goal", "here", ""], rows)


def _shown(value: Any, unit: str) -> str:
    if isinstance(value, str):
        return value
    if any(part in SHARES for part in unit.split(".")):
        return percent(value)
    return p_value(value).removeprefix("p = ") if unit == "mcnemar_p" else tenths(value)


def index_of(record: Mapping[str, Any], without: Mapping[str, str]) -> str:
    """The list of all results: a row for each entry."""
    rows = []
    for entry in record["entries"]:
        main = next((found for found in entry["comparisons"] if found.get("main")), None)
        arms = {arm["name"]: arm for arm in entry["arms"]}
        measure = measure_of(entry)
        pair = (
            [_of(measure, arms[main[end]]) for end in ("control", "arm")] if main else [MISSING] * 2
        )
        teacher = (
            measure.number(measure.of(entry["teacher"]["test"])) if entry["teacher"] else MISSING
        )
        met = sum(goal["met"] is True for goal in entry["goals"])
        goals = f"{met} of {len(entry['goals'])}" if entry["goals"] else MISSING
        where = f"[{entry['name']}]({entry['recipe']}.md)"
        verdict = f"{main['verdict']}: {measure.change(main)}" if main else MISSING
        size = entry["data"].get("tokens", entry["data"])["test"]
        rows.append(
            [
                where,
                f"{entry['data']['name']}, {size:,}",
                str(entry["seeds"]),
                *pair,
                teacher,
                verdict,
                goals,
                seconds(entry["seconds"]["total"]),
            ]
        )
    recorded = {entry["recipe"] for entry in record["entries"]}
    left = [f"* `{name}`: {why}" for name, why in sorted(without.items()) if name not in recorded]
    pages = "\n".join([*sorted(recorded), "export", "speed"])
    parts = [
        "# Results",
        "A page for each recipe: command, commit, machine, time, every arm over its seeds, and the "
        "goal beside what\n"
        "was found, met or missed. Errors of the test split, mean ± standard deviation over seeds, "
        "of the arm that\n"
        "validation chose and of its control. The same numbers for machines: "
        "[results.json](results.json). How fast\n"
        "all this is: "
        "[Speed](speed.md). What students weigh once they leave: [Exported students](export.md).",
        _table(
            [
                "recipe",
                "data, test",
                "seeds",
                "control",
                "distilled",
                "teacher",
                "verdict",
                "goals met",
                "time",
            ],
            rows,
        ),
    ]
    parts += ["Recipes without a page yet:\n\n" + "\n".join(left)] * bool(left)
    return "\n\n".join([*parts, f"```{{toctree}}\n:hidden:\n\n{pages}\n```"]) + "\n"


def _of(measure: Measure, arm: Mapping[str, Any]) -> str:
    return measure.mean_and_sd(measure.of(arm["mean"]), measure.of(arm["sd"]))


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(
        "| " + " | ".join(re.sub(r"\|", r"\\|", cell) for cell in line) + " |" for line in lines
    )
