"""Record the results of finished runs: python benchmarks/record.py RUN... writes docs/results/.

results.json contains every number of the pages; goals.yaml contains the goals.
docs/results/introductions/NAME.md is written by hand: a title and the answer in a sentence, a
line of three dashes, and remarks. Without RUN, the pages are written again from results.json and
the introductions.
"""

import argparse
import json
import operator
import re
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from page_tables import on_validation
from pages import write_pages

from limbeck._base.errors import LimbeckError
from limbeck.cli.config.compose import compose
from limbeck.cli.config.groups import CONF
from limbeck.evaluation.measure import measure_of
from limbeck.report.adjusted_table import adjusted_table
from limbeck.report.families import MAX_COLOURED
from limbeck.report.figures.catalogue import draw_figures
from limbeck.report.figures.results_by_arm import results_by_arm
from limbeck.report.figures.svg import ReportFigure
from limbeck.report.figures.training_curves import training_curves
from limbeck.report.search import front_heading, front_rows, search_sentences
from limbeck.report.wording import headlines
from limbeck.run.folder import RunFolder
from limbeck.run.records import to_json
from limbeck.run.search import read_search
from limbeck.run.summary import ArmResult, Summary, parse_summary

HERE = Path(__file__).parent
RESULTS = HERE.parent / "docs" / "results"
PRIVATE = {
    "out": None,
    "overwrite": None,
    "store.folder": None,
    "data.root": "DIR",
    "data.path": "FILE",
    "data.cache": None,
    "teacher.from": "RUN",
}
"""Settings that are paths on a machine, and their replacements; None leaves a setting out."""
COMPARISON_KEYS = (
    "delta_errors",
    "delta_bits_per_byte",
    "gap_closed",
    "verdict",
    "mcnemar_by_seed",
    "mcnemar_p",
    "p_value",
    "p_holm",
    "p_bh",
    "needed",
)
MAX_COLUMNS = 100
"""Length of a line of results.json that holds a whole list or object."""
LIMITS = {"at_least": operator.ge, "at_most": operator.le, "equals": operator.eq}


def main() -> None:
    options = _parse_options()
    goals = read_goals()
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / "results.json"
    record: dict[str, Any] = {"schema": 1, "entries": []}
    if file.is_file():
        record = json.loads(file.read_text(encoding="utf-8"))
    for number, path in enumerate(options.runs, 1):
        entry, figures = entry_of(path, name=options.name, commit=options.commit)
        print(f"{number}/{len(options.runs)} {path}: {entry['name']}, {len(figures)} figures")
        write_figures(options.results, entry["name"], figures)
        others = [other for other in record["entries"] if other["name"] != entry["name"]]
        record["entries"] = [*others, entry]
    for entry in record["entries"]:
        entry["goals"] = judge(goals["goals"].get(entry["name"], []), entry)
    record["entries"].sort(key=lambda entry: entry["name"])
    file.write_text(compact_json(record) + "\n", encoding="utf-8")
    for page in write_pages(record, options.results, goals["without"]):
        print(f"wrote {page}")


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="a finished run folder")
    parser.add_argument(
        "--name",
        help="name of the entry, if a recipe has several; by default RECIPE or RECIPE-DATA",
    )
    parser.add_argument("--commit", help="commit of the code, if it is not in the run folder")
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="DIR",
        help="folder of results.json and the pages",
    )
    options = parser.parse_args()
    if options.name and len(options.runs) != 1:
        parser.error("--name needs exactly one RUN.")
    return options


def write_figures(folder: Path, name: str, figures: Mapping[str, str]) -> None:
    """Replace the figures of an entry."""
    for earlier in folder.glob(f"{name}-figure-*.svg"):
        earlier.unlink()
    for file, svg in figures.items():
        (folder / file).write_text(round_coordinates(svg) + "\n", encoding="utf-8")


def compact_json(value: Any, indent: str = "") -> str:
    """Return JSON in few lines: one for what fits into it, and for a list or object of numbers.

    Args:
        value: Content.
        indent: Spaces before its first line, which are not returned.
    """
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (list, dict)) or len(indent) + len(line) <= MAX_COLUMNS:
        return line
    is_list = isinstance(value, list)
    items = value if is_list else value.values()
    if all(item is None or isinstance(item, (int, float)) for item in items):
        return line
    inner = indent + " "
    if is_list:
        parts = [compact_json(item, inner) for item in value]
    else:
        parts = [
            f"{json.dumps(key, ensure_ascii=False)}: {compact_json(item, inner)}"
            for key, item in value.items()
        ]
    body = f",\n{inner}".join(parts)
    start, end = "[]" if is_list else "{}"
    return f"{start}\n{inner}{body}\n{indent}{end}"


def read_goals() -> dict[str, Any]:
    """Return the goals by entry (``goals``), and reasons for missing pages (``without``)."""
    return yaml.safe_load((HERE / "goals.yaml").read_text(encoding="utf-8"))


# From a run to an entry ---------------------------------------------------------------------------


def entry_of(
    path: Path, *, name: str | None = None, commit: str | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the entry of a run in results.json, without its goals, and its figures by file name.

    Args:
        path: Run folder.
        name: Name of the entry.
        commit: Commit of the code, if it is not in the run folder.

    Raises:
        LimbeckError: If the run is not finished or its files are damaged.
    """
    run = RunFolder(path)
    content, manifest = run.read_json(run.summary), run.read_json(run.manifest)
    summary = parse_summary(content, where=str(run.summary))
    if summary.quick:
        raise LimbeckError(
            f"{path} is a smoke test (quick=true), so its numbers are not results. "
            "Record a run without quick=true."
        )
    settings = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    name = name or _name(summary)
    figures = {
        f"{name}-figure-{number}.svg": figure
        for number, figure in enumerate(figures_of(run, summary), 1)
    }
    entry = {
        "name": name,
        "recipe": summary.recipe,
        "data": content["data"],
        "command": portable(manifest),
        "commit": commit or manifest.get("git_commit"),
        "date": manifest["finished"][:10],
        "versions": {key: manifest["versions"].get(key) for key in ("limbeck", "torch")},
        "hardware": manifest["hardware"],
        "precision": (settings.get("trainer") or {}).get("precision", "32-true"),
        "epochs": summary.epochs,
        "batch_size": summary.batch_size,
        "seeds": max((len(arm.seeds) for arm in summary.arms), default=0),
        "seconds": content["seconds"],
        "teacher": content["teacher"],
        "arms": [_arm(arm, summary) for arm in summary.arms],
        "comparisons": content["comparisons"],
        "adjusted": _adjusted(summary),
        "headline": [sentence.text for sentence in headlines(summary)],
        "warnings": content["warnings"],
        "figures": [
            {"file": file, "title": figure.title, "caption": figure.caption}
            for file, figure in figures.items()
        ],
    }
    if (search := read_search(run)) is not None:
        entry["page"] = "fit"
        entry["search"] = {
            "sentences": search_sentences(search, summary),
            "heading": front_heading(search),
            "rows": front_rows(search),
        }
    if summary.splits is not None:
        entry["splits"] = summary.splits
    if summary.measure != "errors":
        entry["measure"] = summary.measure
    return entry, {file: figure.svg for file, figure in figures.items()}


def _name(summary: Summary) -> str:
    """Return the name of the recipe, and append that of the data if it is not the recipe's."""
    recipe, data = summary.recipe, summary.data.name
    target = ""
    if (CONF / "recipe" / f"{recipe}.yaml").is_file():
        target = compose([f"recipe={recipe}"]).data["_target_"]
    own_data = target.rpartition(".")[2]
    return recipe if own_data in ("", data) else f"{recipe}-{data}"


def _arm(arm: ArmResult, summary: Summary) -> dict[str, Any]:
    """Return the results of an arm; of those of single seeds only the measure."""
    measure = measure_of(summary)
    content = to_json(arm)
    keys = ["name", "student", "params", "control", "objective", "transfer", "views", "optimizer"]
    entry = {key: content[key] for key in (*keys, "mean", "sd")}
    entry[measure.key] = measure.seed_values(arm)
    entry[f"validation_{measure.key}"] = measure.validation_mean(arm)
    if arm.epochs is not None and arm.epochs != summary.epochs:
        entry["epochs"] = arm.epochs
    if arm.candidates is not None:
        entry["candidates"] = arm.candidates
    if arm.adjusted:
        entry["adjusted"] = content["adjusted"]
    return entry


def _adjusted(summary: Summary) -> dict[str, Any] | None:
    """Return the results with constants added to the logits, as worded in the report."""
    table = adjusted_table(summary)
    if table is None:
        return None
    return {
        "title": table.title,
        "heading": table.heading,
        "rows": table.rows,
        "sentences": [sentence.text for sentence in table.sentences],
        "note": table.note,
        "comparisons": to_json(summary.adjusted_comparisons or ()),
    }


def portable(manifest: Mapping[str, Any]) -> str:
    """Return the command of a run without the paths of its machine."""
    words = ["limbeck", manifest["verb"]]
    if manifest.get("multirun"):
        words.append("-m")
    if manifest.get("config_dir"):
        words += ["--config-dir", "DIR"]
    for override in manifest["overrides"]:
        key, _, value = override.partition("=")
        replacement = PRIVATE.get(key.lstrip("+"), value)
        if replacement is None:
            continue
        if replacement != value:
            override = f"{key}={replacement}"
        words.append(re.sub(r"(?<![\w/])/(?:[\w.-]+/)*[\w.-]+", "PATH", override))
    return shlex.join(words)


def figures_of(run: RunFolder, summary: Summary) -> list[ReportFigure]:
    """Return the figures for a page: results by arm, those of a sweep, or the training curves."""
    figures: list[ReportFigure | None] = list(draw_figures(run, summary).sweep)
    if len(summary.arms) <= MAX_COLOURED:
        figures.insert(0, results_by_arm(summary))
    if len(figures) < 2 and run.metrics.is_file():
        figures.append(training_curves(summary, run.read_scalars()))
    return [figure for figure in figures if figure is not None]


def round_coordinates(svg: str) -> str:
    """Round the coordinates of all paths to a hundredth of a point."""
    return re.sub(
        r'(?<= d=")[^"]+',
        lambda path: re.sub(r"-?\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}", path[0]),
        svg,
    )


# Goals --------------------------------------------------------------------------------------------


def judge(goals: Sequence[Mapping[str, Any]], entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each goal with its value and whether it is met (None if there is no value)."""
    judged_goals = []
    for goal in goals:
        value = _value_at(_subject(goal, entry), str(goal["value"]).split("."))
        kind = next(key for key in LIMITS if key in goal)
        met = None
        if value is not None:
            met = bool(LIMITS[kind](value, goal[kind]))
        judged_goals.append(
            {
                "goal": goal.get("goal"),
                "public": goal.get("public"),
                "kind": kind,
                "target": goal[kind],
                "unit": goal["value"],
                "value": value,
                "met": met,
            }
        )
    return judged_goals


def _subject(goal: Mapping[str, Any], entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the subject of a goal: the teacher, an arm, or a comparison.

    ``chosen`` is the name of an arm; of the swept arms with this name, the one that is best on the
    validation split is taken.
    """
    if goal.get("of") == "teacher":
        return entry["teacher"]
    name = _name_after_choice(goal.get("arm"), entry)
    if "chosen" in goal:
        candidates = [
            arm for arm in entry["arms"] if arm["name"].partition(",")[0] == goal["chosen"]
        ]
        best = min(candidates, key=lambda arm: on_validation(arm, entry), default={})
        name = best.get("name")
    if str(goal["value"]).partition(".")[0] in COMPARISON_KEYS:
        return _first(entry["comparisons"], "arm", name)
    arm = _first(entry["arms"], "name", name)
    if arm is None or "adjusted" not in goal:
        return arm
    return _first(arm.get("adjusted", []), "how", goal["adjusted"])


def _name_after_choice(name: str | None, entry: Mapping[str, Any]) -> str | None:
    """Return the name of an arm with the swept values that validation chose in the run."""
    for arm in entry["arms"]:
        if arm.get("candidates") and arm["name"].partition(",")[0] == name:
            return arm["name"]
    return name


def _first(entries: Sequence[Mapping[str, Any]], key: str, value: Any) -> Mapping[str, Any] | None:
    return next((entry for entry in entries if entry[key] == value), None)


def _value_at(subject: Any, path: Sequence[str]) -> Any:
    """Return the value at a path; ``recall.3`` is the recall of class 3, averaged over seeds."""
    if subject is not None and path[0] == "recall":
        return statistics.fmean(seed["recall"][int(path[1])] for seed in subject["seeds"])
    for key in path:
        if subject is not None:
            subject = subject.get(key)
    return subject


if __name__ == "__main__":
    try:
        main()
    except LimbeckError as error:
        sys.exit(f"error: {error}")
