"""``report.html``: a finished run on one page, verdict first, that needs neither network nor script."""

import csv
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from limbeck.errors import UntrustedFileError
from limbeck.report import adjusted, wording
from limbeck.report import cost as costs
from limbeck.report.drawing import TEACHER, arm_styles
from limbeck.report.examples import read_examples
from limbeck.report.families import MANY, shown
from limbeck.report.figures import errors_by_arm, recall_heat_map, reliability, training_curves
from limbeck.report.measures import Answers, Predictions, mean_recall, pooled_bins, read_predictions
from limbeck.report.sweep_figures import sweep_figures
from limbeck.run_folder import RunFolder, write_text

STAGES = (
    ("teacher", "Teacher"),
    ("store", "Soft targets"),
    ("training", "Training the arms"),
    ("evaluation", "Evaluation"),
    ("total", "In all"),
)


def write_report(run: str | Path) -> Path:
    """Write ``report.html`` of a finished run.

    Args:
        run: the run folder.

    Returns:
        The path of the page.

    Raises:
        ConfigError: the run is not finished.
        UntrustedFileError: one of its files is damaged.
    """
    folder = RunFolder(run)
    summary = folder.read_summary()
    manifest = folder.read_json(folder.manifest) if folder.manifest.is_file() else {}
    figures, gaps = _figures(folder, summary)
    page = _environment().from_string(_asset("report.html"))
    html = page.render(
        style=Markup(_asset("report.css")),
        summary=summary,
        verdicts=wording.headlines(summary),
        choice=wording.choice(summary),
        failed=wording.failures(summary),
        warnings=[str(warning) for warning in summary.get("warnings") or []],
        columns=wording.columns(summary),
        rows=_rows(summary),
        comparisons=_comparisons(summary),
        seeds=_seeds(summary),
        adjusted=_adjusted(summary),
        examples=_examples(folder, summary),
        figures=figures,
        sweep=[_figure(*drawn) for drawn in sweep_figures(summary)],
        many=len(summary["arms"]) > MANY,
        gaps=gaps,
        models=_models(summary),
        cost=_cost(folder, summary),
        stages=[(title, wording.seconds(summary["seconds"][key])) for key, title in STAGES if summary["seconds"][key]],
        objectives=[_objective(arm) for arm in summary["arms"]],
        optimizers_differ=len({str(arm.get("optimizer")) for arm in summary["arms"]}) > 1,
        settings=_settings(summary),
        machine=_machine(manifest),
    )
    write_text(folder.report, html)
    return folder.report


def _asset(name: str) -> str:
    return files("limbeck.report").joinpath(name).read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["together"] = _together
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(name: str) -> Markup:
    """Let a line end behind the commas of an arm's name."""
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=,)", str(name)))


def _together(sentence: str) -> str:
    """Keep ``95 %`` and ``p = 0.03`` on one line."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\bp) (?=[=<])|(?<=\bp [=<]) (?=\d)", "\u00a0", sentence)


def _rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """The results with the colour that the figures give each row, and what the row is."""
    rows = wording.result_rows(summary)
    styles = arm_styles([arm["name"] for arm in summary["arms"]], shown(summary))
    teachers = [] if summary["teacher"] is None else [{"colour": TEACHER, "note": summary["teacher"]["name"]}]
    arms = [{"colour": styles[arm["name"]].colour, "note": _note(arm)} for arm in summary["arms"]]
    return [{**row, **extra} for row, extra in zip(rows, teachers + arms, strict=True)]


def _note(arm: Mapping[str, Any]) -> str:
    return "control: labels only" if arm.get("control") else str(arm["transfer"])


def _comparisons(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    def row(comparison: Mapping[str, Any]) -> dict[str, str]:
        gap = comparison["gap_closed"]
        return {
            "arm": comparison["arm"],
            "control": comparison["control"],
            "change": wording.change(comparison),
            "interval": wording.interval(comparison["delta_errors"]["ci95"]),
            "p": wording.p_value(comparison["mcnemar_p"]).removeprefix("p ").removeprefix("= "),
            "gap_errors": wording.percent(gap["errors"], 0),
            "gap_nll": wording.percent(gap["nll"], 0),
            "verdict": comparison["verdict"],
        }

    return [row(comparison) for comparison in summary["comparisons"]]


def _adjusted(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The table of students with constants added to their logits; its title is empty where there are none."""
    parts = (adjusted.title, adjusted.heading, adjusted.rows, adjusted.sentences, adjusted.note)
    return {part.__name__: part(summary) for part in parts}


def _seeds(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Test errors seed by seed: the seeds, a row of numbers per arm, and a row of changes per comparison."""
    numbers = sorted({seed["seed"] for arm in summary["arms"] for seed in arm["seeds"]})
    rows = []
    for arm in summary["arms"]:
        errors = {seed["seed"]: seed["test"]["errors"] for seed in arm["seeds"]}
        rows.append((arm["name"], [wording.count(errors.get(number)) for number in numbers]))
    for comparison in summary["comparisons"]:
        changes = comparison["delta_errors"].get("per_seed") or []
        if len(changes) == len(numbers):
            name = f"{comparison['arm']} against {comparison['control']}"
            rows.append((name, [wording.count(value, signed=True) for value in changes]))
    return {"numbers": numbers, "rows": rows}


def _models(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Name, architecture, parameters and time of the teacher and every arm."""
    teacher, models = summary["teacher"], []
    if teacher is not None:
        spent = wording.seconds(summary["seconds"]["teacher"] or None)
        models.append({"name": "teacher", "kind": teacher["name"], "params": f"{teacher['params']:,}", "size": "100 %",
                       "time": spent})  # fmt: skip
    for arm in summary["arms"]:
        size = wording.percent(arm["params"] / teacher["params"], 1) if teacher and teacher["params"] else "–"
        models.append({"name": arm["name"], "kind": arm["student"], "params": f"{arm['params']:,}", "size": size,
                       "time": wording.seconds(arm.get("seconds"))})  # fmt: skip
    return models


def _examples(folder: RunFolder, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Images on which arm and control differ, in the colours that the figures give these."""
    found = read_examples(folder)
    if not found:
        return {}
    styles = arm_styles([arm["name"] for arm in summary["arms"]], shown(summary))
    colours = {role: styles[found[role]].colour for role in ("control", "arm") if found[role] in styles}
    return {**found, "colours": {"control": TEACHER, "arm": TEACHER, **colours, "teacher": TEACHER}}


def _cost(folder: RunFolder, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the models cost to run, if that was measured."""
    found = costs.read_cost(folder)
    if found is None:
        return {}
    drawn = costs.figure(found, summary)
    figures = [] if drawn is None else [_figure(*drawn)]
    return {"heading": costs.heading(found), "rows": costs.rows(found), "note": costs.note(found), "figures": figures}


def _objective(arm: Mapping[str, Any]) -> dict[str, str]:
    return {
        "name": arm["name"],
        "objective": wording.objective(arm["objective"]),
        "transfer": arm["transfer"],
        "views": str(arm.get("views") or wording.MISSING),
        "optimizer": wording.optimizer(arm.get("optimizer") or {}),
    }


def _settings(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    data = summary["data"]
    seeds = sorted({seed["seed"] for arm in summary["arms"] for seed in arm["seeds"]})
    pairs = [
        ("Recipe", summary["recipe"]),
        ("Data", f"{data['name']}, {data['classes']:,} classes"),
        ("Samples", f"{data['train']:,} to train, {data['val']:,} to validate, {data['test']:,} to test"),
        ("Seeds", ", ".join(map(str, seeds))),
        ("Epochs", summary.get("epochs")),
        ("Batch size", summary.get("batch_size")),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "")]


def _machine(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the manifest says of program, machine and command, as far as it says it."""
    hardware = manifest.get("hardware")
    hardware = hardware if isinstance(hardware, dict) else {}
    versions = manifest.get("versions")
    devices = hardware.get("devices")
    pairs = [
        ("Command", manifest.get("command")),
        ("Versions", _listed(versions)),
        ("Processor", hardware.get("cpu")),
        ("Cores", hardware.get("cores")),
        ("Memory", f"{hardware['memory_gib']} GiB" if hardware.get("memory_gib") else None),
        ("Devices", ", ".join(map(str, devices)) if isinstance(devices, list) else devices),
        ("Git commit", manifest.get("git_commit")),
        ("Started", manifest.get("started")),
        ("Finished", manifest.get("finished")),
        ("State", manifest.get("state")),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "")]


def _listed(versions: Any) -> str | None:
    if not isinstance(versions, dict):
        return None
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _figures(folder: RunFolder, summary: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """The figures with their captions, and a sentence for each file whose absence leaves one out."""
    names = [arm["name"] for arm in summary["arms"]]
    figures, gaps = [], []
    repeated = any(len(arm["seeds"]) > 1 for arm in summary["arms"])
    dashed = " Dashed: the teacher." if summary["teacher"] else ""
    picked = shown(summary)
    grey = (
        ""
        if picked is None
        else " In colour: the headline, its control, and the arms with the fewest validation errors."
    )
    if names:
        dot = "Stroke" if len(names) > MANY else "Dot"
        caption = (
            f"{dot}: one seed. Diamond and bar: mean over seeds and its 95 % interval." if repeated else "One seed."
        )
        figures.append(_figure("Errors by arm", errors_by_arm(summary, picked), caption + dashed + grey))
    if folder.metrics.is_file():
        curves = training_curves(_read_scalars(folder), names, picked)
        caption = (
            f"{'Line: mean over seeds. Band: lowest to highest seed.' if repeated else 'One seed.'}{dashed} "
            f"Training losses of different objectives are not comparable; validation errors are.{grey}"
        )
        if curves:
            figures.append(_figure("Training curves", curves, caption))
    else:
        gaps.append("metrics.csv is missing from this run, so the training curves are left out.")
    if folder.predictions.is_file():
        figures += _prediction_figures(read_predictions(folder.predictions), summary)
    else:
        gaps.append("predictions.npz is missing from this run, so recall and reliability are left out.")
    return figures, gaps


def _figure(title: str, svg: str, caption: str) -> dict[str, Any]:
    return {"title": title, "svg": Markup(svg), "caption": caption}


def _read_scalars(folder: RunFolder) -> list[dict[str, Any]]:
    try:
        rows = folder.read_scalars()
        if any(row.get(key) is None for row in rows for key in ("stage", "arm", "metric")):
            raise ValueError("a column is missing")
        if any(row["epoch"] < 0 for row in rows):
            raise ValueError("an epoch is below 0")
    except (KeyError, TypeError, ValueError, csv.Error, OSError) as error:
        reason = f"column {error} is missing" if isinstance(error, KeyError) else error
        raise UntrustedFileError(f"{folder.metrics} is damaged: {reason}.") from None
    return rows


def _prediction_figures(predictions: Predictions, summary: dict[str, Any]) -> list[dict[str, Any]]:
    picked = shown(summary)
    styles = arm_styles([arm["name"] for arm in summary["arms"]], picked)
    models: list[tuple[str, list[Answers], str, float | None]] = []
    if predictions.teacher:
        ece = summary["teacher"]["test"]["ece"] if summary["teacher"] else None
        models.append(("teacher", [predictions.teacher], TEACHER, ece))
    for arm in summary["arms"]:
        if picked is not None and arm["name"] not in picked:
            continue
        answered = list(predictions.arms.get(arm["name"], {}).values())
        if answered:
            models.append((arm["name"], answered, styles[arm["name"]].colour, arm["mean"]["ece"]))
    if not models:
        return []
    names = [str(name) for name in summary.get("classes") or []]
    if len(names) != predictions.classes:
        names = [str(i) for i in range(predictions.classes)]
    recalls = [(name, mean_recall(predictions, answered)) for name, answered, _, _ in models]
    heat_map = recall_heat_map(recalls, names)
    caption = (
        "Share of each class's test samples that got this class, in %, mean over seeds. Darker: more is missed, "
        f"from 100 % (lightest) to {heat_map.darkest:.1f} % (darkest)."
    )
    if heat_map.shown < len(names):
        caption += f" Shown: the {heat_map.shown} of {len(names)} classes with the lowest recall."
    left_out = "" if picked is None else f" Shown: {len(picked)} of {len(summary['arms'])} arms, as in colour above."
    bins = [(name, pooled_bins(predictions.labels, answered), colour, ece) for name, answered, colour, ece in models]
    read = (
        "Dots: answers of like confidence, all seeds together; a larger dot holds more of them. Below the diagonal "
        "a model is too sure of itself, above it too modest. ECE: mean over seeds, as in the table."
    )
    return [
        _figure("Recall by class", heat_map.svg, caption + left_out),
        _figure("Reliability", reliability(bins), read + left_out),
    ]
