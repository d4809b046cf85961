"""``report.html``: a finished run on one page, verdict first, that needs neither network nor
script.
"""

import csv
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from limbeck._base.errors import UntrustedFileError
from limbeck._base.files import write_text
from limbeck.report import adjusted, details, formats, wording
from limbeck.report import cost as costs
from limbeck.report.examples import read_examples
from limbeck.report.families import MANY, shown
from limbeck.report.figures.curves import PANELS, training_curves
from limbeck.report.figures.drawing import TEACHER, arm_styles
from limbeck.report.figures.statistics import (
    Answers,
    Predictions,
    mean_recall,
    pooled_bins,
    read_predictions,
)
from limbeck.report.figures.students import recall_heat_map, reliability, results_by_arm
from limbeck.report.figures.sweeps import sweep_figures
from limbeck.report.judged_by import measure_of
from limbeck.run.folder import RunFolder

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
    measure = measure_of(summary)
    figures, gaps = _figures(folder, summary)
    page = _environment().from_string(_asset("report.html"))
    html = page.render(
        style=Markup(_asset("report.css")),
        summary=summary,
        measure=measure,
        tested=measure.tested(summary["data"]),
        reading=Markup(_asset(f"reading_{measure.key}.html").rstrip()),
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
        stages=[
            (title, formats.seconds(summary["seconds"][key]))
            for key, title in STAGES
            if summary["seconds"][key]
        ],
        objectives=[details.objective(arm, summary) for arm in summary["arms"]],
        optimizers_differ=len({str(arm.get("optimizer")) for arm in summary["arms"]}) > 1,
        epochs_differ=details.epochs_differ(summary),
        settings=details.settings(summary, manifest),
        machine=details.machine(manifest),
    )
    write_text(folder.report, html)
    return folder.report


def _asset(name: str) -> str:
    return files("limbeck.report").joinpath(name).read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
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
    teachers = (
        []
        if summary["teacher"] is None
        else [{"colour": TEACHER, "note": summary["teacher"]["name"]}]
    )
    arms = [{"colour": styles[arm["name"]].colour, "note": _note(arm)} for arm in summary["arms"]]
    return [{**row, **extra} for row, extra in zip(rows, teachers + arms, strict=True)]


def _note(arm: Mapping[str, Any]) -> str:
    return "control: labels only" if arm.get("control") else str(arm["transfer"])


def _comparisons(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    measure = measure_of(summary)

    def row(comparison: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "arm": comparison["arm"],
            "control": comparison["control"],
            "change": measure.change(comparison),
            "interval": measure.interval(comparison),
            "p": formats.p_value(comparison.get(measure.p[0]))
            .removeprefix("p ")
            .removeprefix("= "),
            "gaps": [_gap(comparison["gap_closed"], key) for key, _ in measure.gaps],
            "verdict": comparison["verdict"],
        }

    return [row(comparison) for comparison in summary["comparisons"]]


def _gap(closed: Mapping[str, Any], key: str) -> tuple[str, str]:
    """The share of the gap to the teacher that is closed, and its 95 % interval where the summary
    has one.
    """
    bounds = closed.get(f"{key}_ci95")
    shares = [formats.percent(bound, 0) for bound in bounds or ()]
    return formats.percent(closed[key], 0), " to ".join(shares)


def _adjusted(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The table of students with constants added to their logits; its title is empty where there
    are none.
    """
    parts = (adjusted.title, adjusted.heading, adjusted.rows, adjusted.sentences, adjusted.note)
    return {part.__name__: part(summary) for part in parts}


def _seeds(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Results seed by seed: the seeds, a row of numbers per arm, and a row of changes per
    comparison.
    """
    numbers = sorted({seed["seed"] for arm in summary["arms"] for seed in arm["seeds"]})
    rows, measure = [], measure_of(summary)
    for arm in summary["arms"]:
        values = {seed["seed"]: measure.of(seed["test"]) for seed in arm["seeds"]}
        rows.append((arm["name"], [measure.of_one_seed(values.get(number)) for number in numbers]))
    for comparison in summary["comparisons"]:
        changes = comparison[measure.delta].get("per_seed") or []
        if len(changes) == len(numbers):
            name = f"{comparison['arm']} against {comparison['control']}"
            rows.append((name, [measure.of_one_seed(value, signed=True) for value in changes]))
    return {"numbers": numbers, "rows": rows}


def _models(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Name, architecture, parameters and time of the teacher and every arm."""
    teacher, models = summary["teacher"], []
    if teacher is not None:
        spent = formats.seconds(summary["seconds"]["teacher"] or None)
        models.append(
            {
                "name": "teacher",
                "kind": teacher["name"],
                "params": f"{teacher['params']:,}",
                "size": "100 %",
                "time": spent,
            }
        )
    for arm in summary["arms"]:
        size = (
            formats.percent(arm["params"] / teacher["params"], 1)
            if teacher and teacher["params"]
            else "–"
        )
        models.append(
            {
                "name": arm["name"],
                "kind": arm["student"],
                "params": f"{arm['params']:,}",
                "size": size,
                "time": formats.seconds(arm.get("seconds")),
            }
        )
    return models


def _examples(folder: RunFolder, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Images on which arm and control differ, in the colours that the figures give these."""
    found = read_examples(folder)
    if not found:
        return {}
    styles = arm_styles([arm["name"] for arm in summary["arms"]], shown(summary))
    colours = {
        role: styles[found[role]].colour for role in ("control", "arm") if found[role] in styles
    }
    return {**found, "colours": {"control": TEACHER, "arm": TEACHER, **colours, "teacher": TEACHER}}


def _cost(folder: RunFolder, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the models cost to run, if that was measured."""
    found = costs.read_cost(folder)
    if found is None:
        return {}
    drawn = costs.figure(found, summary)
    figures = [] if drawn is None else [_figure(*drawn)]
    return {
        "heading": costs.heading(found),
        "rows": costs.rows(found),
        "note": costs.note(found),
        "figures": figures,
    }


def _figures(folder: RunFolder, summary: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """The figures with their captions, and a sentence for each file whose absence leaves one out."""
    names, measure = [arm["name"] for arm in summary["arms"]], measure_of(summary)
    figures, gaps = [], []
    repeated = any(len(arm["seeds"]) > 1 for arm in summary["arms"])
    dashed = " Dashed: the teacher." if summary["teacher"] else ""
    picked = shown(summary)
    grey = f" In colour: the headline, its control, and the arms with the fewest validation {measure.noun}."
    grey = "" if picked is None else grey
    if names:
        dot = "Stroke" if len(names) > MANY else "Dot"
        caption = (
            f"{dot}: one seed. Diamond and bar: mean over seeds and its 95 % interval."
            if repeated
            else "One seed."
        )
        title = f"{measure.noun.capitalize()} by arm"
        figures.append(_figure(title, results_by_arm(summary, picked), caption + dashed + grey))
    if folder.metrics.is_file():
        curves = training_curves(_read_scalars(folder), names, picked, measure=measure)
        caption = (
            f"{'Line: mean over seeds. Band: lowest to highest seed.' if repeated else 'One seed.'}{dashed} "
            "Training losses of different objectives are not comparable; "
            f"{PANELS[measure.curve].plural} are.{grey}"
        )
        if curves:
            figures.append(_figure("Training curves", curves, caption))
    else:
        gaps.append("metrics.csv is missing from this run, so the training curves are left out.")
    if not measure.keeps_logits:
        return figures, gaps
    if folder.predictions.is_file():
        figures += _prediction_figures(read_predictions(folder.predictions), summary)
    else:
        gaps.append(
            "predictions.npz is missing from this run, so recall and reliability are left out."
        )
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
        "Share of each class's test samples that got this class, in %, mean over seeds. Darker: "
        "more is missed, "
        f"from 100 % (lightest) to {heat_map.darkest:.1f} % (darkest)."
    )
    if heat_map.shown < len(names):
        caption += f" Shown: the {heat_map.shown} of {len(names)} classes with the lowest recall."
    left_out = (
        ""
        if picked is None
        else f" Shown: {len(picked)} of {len(summary['arms'])} arms, as in colour above."
    )
    bins = [
        (name, pooled_bins(predictions.labels, answered), colour, ece)
        for name, answered, colour, ece in models
    ]
    read = (
        "Dots: answers of like confidence, all seeds together; a larger dot holds more of them. "
        "Below the diagonal "
        "a model is too sure of itself, above it too modest. ECE: mean over seeds, as in the table."
    )
    return [
        _figure("Recall by class", heat_map.svg, caption + left_out),
        _figure("Reliability", reliability(bins), read + left_out),
    ]
