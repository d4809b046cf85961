"""Put finished runs on record: python benchmarks/record.py RUN... writes docs/results/
(results.json, pages, figures).

results.json holds every number of the pages; goals.yaml beside this file holds the goals.
docs/results/text/NAME.md is
written by hand: a title, the answer in a sentence, a line of three dashes, what else to know.
Without RUN the pages are written anew, from results.json and the texts.
"""

import argparse
import json
import operator
import re
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pages import on_validation, write_pages

from limbeck._base.errors import LimbeckError
from limbeck.cli.config.compose import CONF, compose
from limbeck.report import adjusted
from limbeck.report.families import MANY, shown
from limbeck.report.figures.curves import training_curves
from limbeck.report.figures.students import results_by_arm
from limbeck.report.figures.sweeps import sweep_figures
from limbeck.report.judged_by import measure_of
from limbeck.report.wording import headlines
from limbeck.run.folder import RunFolder

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
"""Settings that name places on a machine, and what a reader should put there; None leaves them out.
"""
OF_COMPARISONS = (
    "delta_errors",
    "delta_bits_per_byte",
    "gap_closed",
    "verdict",
    "mcnemar_p",
    "p_value",
)
HOLDS = {"at_least": operator.ge, "at_most": operator.le, "equals": operator.eq}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="a finished run folder")
    parser.add_argument(
        "--name",
        help="of the entry, where a recipe has several; RECIPE or RECIPE-DATA if not given",
    )
    parser.add_argument("--commit", help="of the code that ran, where the run does not know it")
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="DIR",
        help="where results.json and pages are",
    )
    options = parser.parse_args()
    if options.name and len(options.runs) != 1:
        parser.error("--name goes with one run.")
    known = read_goals()
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / "results.json"
    record = (
        json.loads(file.read_text(encoding="utf-8"))
        if file.is_file()
        else {"schema": 1, "entries": []}
    )
    for number, path in enumerate(options.runs, 1):
        try:
            entry, figures = entry_of(path, name=options.name, commit=options.commit)
        except LimbeckError as error:
            parser.exit(error.exit_code, f"error: {error}\n")
        print(f"{number}/{len(options.runs)} {path}: {entry['name']}, {len(figures)} figures")
        for old in options.results.glob(f"{entry['name']}-figure-*.svg"):
            old.unlink()
        for name, svg in figures.items():
            (options.results / name).write_text(small(svg) + "\n", encoding="utf-8")
        record["entries"] = [
            other for other in record["entries"] if other["name"] != entry["name"]
        ] + [entry]
    for entry in record["entries"]:
        entry["goals"] = judge(known["goals"].get(entry["name"], []), entry)
    record["entries"].sort(key=lambda entry: entry["name"])
    file.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for page in write_pages(record, options.results, known["without"]):
        print(f"wrote {page}")


def read_goals() -> dict[str, Any]:
    """``goals`` by entry, and why recipes have no page: ``without``."""
    return yaml.safe_load((HERE / "goals.yaml").read_text(encoding="utf-8"))


# From a run to an entry ---------------------------------------------------------------------------


def entry_of(
    path: Path, *, name: str | None = None, commit: str | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """What results.json holds of a run, without its goals; and its figures by file name.

    Raises:
        LimbeckError: the run is not finished, or its files are damaged.
    """
    run = RunFolder(path)
    summary, manifest = run.read_summary(), run.read_json(run.manifest)
    if summary.get("quick"):
        raise LimbeckError(
            f"{path} is a quick run: its numbers mean nothing. Record one without quick=true."
        )
    settings = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    name = name or _name(summary)
    drawn = figures_of(run, summary)
    files = {f"{name}-figure-{number}.svg": figure for number, figure in enumerate(drawn, 1)}
    trainer = settings.get("trainer") or {}
    entry = {
        "name": name,
        "recipe": summary["recipe"],
        "data": summary["data"],
        "command": portable(manifest),
        "commit": commit or manifest.get("git_commit"),
        "date": manifest["finished"][:10],
        "versions": {key: manifest["versions"].get(key) for key in ("limbeck", "torch")},
        "hardware": manifest["hardware"],
        "precision": trainer.get("precision", "32-true"),
        "epochs": summary["epochs"],
        "batch_size": summary["batch_size"],
        "seeds": max((len(arm["seeds"]) for arm in summary["arms"]), default=0),
        "seconds": summary["seconds"],
        "teacher": summary["teacher"],
        "arms": [_arm(arm, summary) for arm in summary["arms"]],
        "comparisons": summary["comparisons"],
        "adjusted": _adjusted(summary),
        "headline": [sentence for _, sentence in headlines(summary)],
        "warnings": summary["warnings"],
        "figures": [
            {"file": file, "title": title, "caption": text}
            for file, (title, _, text) in files.items()
        ],
    }
    if measure_of(summary).key != "errors":
        entry["measure"] = measure_of(summary).key
    return entry, {file: svg for file, (_, svg, _) in files.items()}


def _name(summary: Mapping[str, Any]) -> str:
    """The recipe's name, with the data's behind it where that is not the recipe's own."""
    recipe, data = summary["recipe"], summary["data"]["name"]
    own = (
        compose([f"recipe={recipe}"]).data["_target_"]
        if (CONF / "recipe" / f"{recipe}.yaml").is_file()
        else ""
    )
    return recipe if own.rpartition(".")[2] in ("", data) else f"{recipe}-{data}"


def _arm(arm: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    kept = (
        "name",
        "student",
        "params",
        "control",
        "objective",
        "transfer",
        "views",
        "optimizer",
        "mean",
        "sd",
    )
    measure = measure_of(summary)
    found = {key: arm[key] for key in kept if key in arm}
    found |= {
        measure.key: measure.of_seeds(arm),
        f"validation_{measure.key}": measure.on_validation(arm),
    }
    found |= (
        {"epochs": arm["epochs"]}
        if arm.get("epochs", summary["epochs"]) != summary["epochs"]
        else {}
    )
    return found | ({"adjusted": arm["adjusted"]} if arm.get("adjusted") else {})


def _adjusted(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arms with constants added to their logits, as the report words them; their numbers are with
    the arms.
    """
    if not adjusted.title(summary):
        return None
    return {
        "title": adjusted.title(summary),
        "heading": adjusted.heading(summary),
        "rows": adjusted.rows(summary),
        "sentences": [sentence for _, sentence in adjusted.sentences(summary)],
        "note": adjusted.note(summary),
        "comparisons": summary.get("adjusted_comparisons", []),
    }


def portable(manifest: Mapping[str, Any]) -> str:
    """The command as anyone would type it: without the places of one machine."""
    words = []
    for override in manifest["overrides"]:
        key, _, value = override.partition("=")
        there = PRIVATE.get(key.lstrip("+"), value)
        words += [] if there is None else [f"{key}={there}" if there != value else override]
    words = [re.sub(r"(?<![\w/])/(?:[\w.-]+/)*[\w.-]+", "PATH", word) for word in words]
    own = ["--config-dir", "DIR"] if manifest.get("config_dir") else []
    return shlex.join(
        ["limbeck", manifest["verb"], *["-m"] * bool(manifest.get("multirun")), *own, *words]
    )


def figures_of(run: RunFolder, summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Title, SVG and caption of the figures worth a page: those of a sweep, or errors and curves."""
    drawn = [tuple(figure) for figure in sweep_figures(summary)]
    names, picked = [arm["name"] for arm in summary["arms"]], shown(summary)
    if names and len(names) <= MANY:
        text = "Dot: one seed. Diamond and bar: mean over seeds and its 95 % interval. Dashed: the teacher."
        drawn.insert(
            0,
            (
                f"{measure_of(summary).noun.capitalize()} by arm",
                results_by_arm(summary, picked),
                text,
            ),
        )
    if len(drawn) < 2 and run.metrics.is_file():
        curves = training_curves(run.read_scalars(), names, picked, measure=measure_of(summary))
        text = "Line: mean over seeds. Band: lowest to highest seed."
        drawn += [("Training curves", curves, text)] if curves else []
    return drawn  # type: ignore[return-value]


def small(svg: str) -> str:
    """The drawing with coordinates to a hundredth of a point."""
    return re.sub(
        r'(?<= d=")[^"]+',
        lambda path: re.sub(r"-?\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}", path[0]),
        svg,
    )


# Goals --------------------------------------------------------------------------------------------


def judge(goals: Sequence[Mapping[str, Any]], entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each goal with the value that the entry has and whether it is met; None where the run does
    not tell.
    """
    judged = []
    for goal in goals:
        value = _look_up(_subject(goal, entry), str(goal["value"]).split("."))
        limits = {key: goal[key] for key in ("at_least", "at_most", "equals") if key in goal}
        (kind, limit), *_ = limits.items()
        met = None if value is None else bool(HOLDS[kind](value, limit))
        kept = {key: goal.get(key) for key in ("goal", "public")}
        judged.append(
            {
                **kept,
                "kind": kind,
                "target": limit,
                "unit": goal["value"],
                "value": value,
                "met": met,
            }
        )
    return judged


def _subject(goal: Mapping[str, Any], entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The teacher, an arm, the arm that validation chose among those of one name, or the comparison
    of such an arm.
    """
    if goal.get("of") == "teacher":
        return entry["teacher"]
    if "chosen" in goal:
        among = [arm for arm in entry["arms"] if arm["name"].partition(",")[0] == goal["chosen"]]
        name = min(among, key=lambda arm: on_validation(arm, entry), default={"name": None})["name"]
    else:
        name = goal["arm"]
    if str(goal["value"]).partition(".")[0] in OF_COMPARISONS:
        return next((found for found in entry["comparisons"] if found["arm"] == name), None)
    arm = next((arm for arm in entry["arms"] if arm["name"] == name), None)
    if arm is None or "adjusted" not in goal:
        return arm
    return next(
        (found for found in arm.get("adjusted", []) if found["how"] == goal["adjusted"]), None
    )


def _look_up(found: Any, path: Sequence[str]) -> Any:
    """The value at a path; ``recall.3`` is the mean recall of class 3 over seeds."""
    if found is not None and path[0] == "recall":
        return statistics.fmean(seed["recall"][int(path[1])] for seed in found["seeds"])
    for key in path:
        found = None if found is None else found.get(key)
    return found


if __name__ == "__main__":
    main()
