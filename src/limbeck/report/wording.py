"""Sentences and tables, worded once, so that the page and the terminal say the same."""

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.losses.soft import SOFT_LOSSES
from limbeck.report.formats import MISSING, cell, known, percent, plural
from limbeck.report.formats import mean_and_sd as mean_and_sd
from limbeck.report.judged_by import Column, Measure, measure_of

MOST_HEADLINES = 4
_OPENINGS_OF_LABELS = {"helps": "It helps", "hurts": "It hurts", "not shown": "No difference shown"}
_OPENINGS = {
    "helps": "Distilling helps",
    "hurts": "Distilling hurts",
    "not shown": "No difference shown",
}


def columns(summary: Mapping[str, Any]) -> list[Column]:
    """The columns of the results table that hold a number in some row."""
    rows = [values for _, values, _ in _results(summary)]
    return [
        c
        for c in measure_of(summary).columns
        if c.always or any(known(values.get(c.key)) for values in rows)
    ]


def result_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """The results as text: one row for the teacher, if any, and one per arm, keyed by ``name`` and
    column.
    """
    shown, measure, rows = columns(summary), measure_of(summary), []
    for name, values, sd in _results(summary):
        row = {"name": name} | {c.key: cell(c.kind, values.get(c.key)) for c in shown}
        row[measure.key] = measure.mean_and_sd(values.get(measure.key), sd)
        rows.append(row)
    return rows


def _results(summary: Mapping[str, Any]) -> list[tuple[str, dict[str, Any], Any]]:
    rows: list[tuple[str, dict[str, Any], Any]] = []
    teacher, key = summary["teacher"], measure_of(summary).key
    if teacher is not None:
        taken = {
            "agreement": None,
            "kl_to_teacher": None,
            "seconds": summary["seconds"]["teacher"] or None,
        }
        rows.append(("teacher", {**teacher["test"], **taken}, None))
    for arm in summary["arms"]:
        rows.append(
            (arm["name"], {**arm["mean"], "seconds": arm.get("seconds")}, arm["sd"].get(key))
        )
    return rows


def headline(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """The verdict on one comparison in a sentence."""
    measure, seeds = measure_of(summary), _number_of_seeds(comparison, summary)
    if comparison[measure.delta]["ci95"]:
        evidence = f"95 % interval {measure.interval(comparison)} over {plural(seeds, 'seed')}"
    else:
        evidence = "one seed, so no interval" if seeds == 1 else "no interval"
    evidence = ", ".join(filter(None, (evidence, measure.evidence(comparison))))
    labels_only = any(
        arm["name"] == comparison["arm"] and arm.get("control") for arm in summary["arms"]
    )
    opening = (_OPENINGS_OF_LABELS if labels_only else _OPENINGS)[comparison["verdict"]]
    return f"{opening}: {measure.finding(comparison, summary)} ({evidence}){_ending(comparison, summary)}."


def _ending(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """What the change means next to the teacher, or why no change is shown."""
    measure = measure_of(summary)
    if comparison["verdict"] == "not shown":
        return _reason(comparison, measure)
    gap = comparison["gap_closed"][measure.gaps[0][0]]
    if summary["teacher"] is None:
        return ""
    if not known(gap):
        return "; the teacher itself is not better than the control, so there is no gap to close"
    if gap < 0:
        return f"; it widens the gap to the teacher by {percent(-gap, 0)}"
    past = f", so {measure.past}" if gap > 1 else ""
    return f"; it closes {percent(gap, 0)} of the gap to the teacher{past}"


def _reason(comparison: Mapping[str, Any], measure: Measure) -> str:
    delta, p = comparison[measure.delta], comparison.get(measure.p[0])
    bounds, total = delta["ci95"], delta.get("ci95_total")
    if not bounds:
        return "; one seed cannot tell the method from luck"
    if bounds[0] <= 0 <= bounds[1]:
        return "; the interval holds 0, so other seeds could reverse it"
    if p is None or not p < 0.05 or (total and total[0] <= 0 <= total[1]):
        return f"; the seeds agree, but {measure.too_few} to be sure"
    return ""


def _number_of_seeds(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> int:
    per_seed = comparison[measure_of(summary).delta].get("per_seed")
    if per_seed:
        return len(per_seed)
    return next(
        (len(arm["seeds"]) for arm in summary["arms"] if arm["name"] == comparison["arm"]), 0
    )


def failures(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """``(arm, "seeds 0 and 1", reason)`` of every arm of which a student failed; the reason is that
    of its first.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for failure in summary.get("failed") or []:
        found.setdefault(failure["arm"], []).append(failure)

    def seeds(failed: Sequence[Mapping[str, Any]]) -> str:
        numbers = [str(failure["seed"]) for failure in failed]
        if len(numbers) == 1:
            return f"seed {numbers[0]}"
        return f"seeds {', '.join(numbers[:-1])} and {numbers[-1]}"

    return [(arm, seeds(failed), str(failed[0]["reason"])) for arm, failed in found.items()]


def headlines(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """``(verdict, sentence)`` of every comparison, the main one first; one neutral pair where there
    is none.
    """
    ordered = sorted(
        summary["comparisons"], key=lambda comparison: not comparison.get("main", False)
    )
    if len(ordered) > MOST_HEADLINES:
        first = ordered[0]
        return [(first["verdict"], headline(first, summary)), ("none", _tally(ordered))]
    if ordered:
        return [(comparison["verdict"], headline(comparison, summary)) for comparison in ordered]
    arms, measure = summary["arms"], measure_of(summary)
    test = f"{summary['data']['test']:,}"
    if not arms and summary["teacher"] is not None:
        value = measure.number(summary["teacher"]["test"].get(measure.key))
        return [("none", f"The teacher alone: {measure.has.format(value=value, test=test)}.")]
    lost = list(dict.fromkeys(arm["failed_control"] for arm in arms if arm.get("failed_control")))
    if lost:
        return [("none", f"No comparison: the control {' and '.join(lost)} failed.")]
    if len(arms) == 1:
        arm, done = arms[0], "finished" if summary.get("failed") else "was trained"
        value = measure.mean_and_sd(arm["mean"].get(measure.key), arm["sd"].get(measure.key))
        has = f"{arm['name']} {measure.verb} {measure.has.format(value=value, test=test)}"
        return [("none", f"Nothing to compare: {has}, and no other arm {done}.")]
    return [
        ("none", f"No comparison: none of the {plural(len(arms), 'arm')} is paired with a control.")
    ]


def _tally(comparisons: Sequence[Mapping[str, Any]]) -> str:
    verdicts = [comparison["verdict"] for comparison in comparisons]
    counted = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in _OPENINGS if kind in verdicts)
    return f"{plural(len(verdicts), 'comparison')} in all: {counted}."


def choice(summary: Mapping[str, Any]) -> str:
    """Why the headline is the headline; empty where there was nothing to choose."""
    main = next((c["arm"] for c in summary["comparisons"] if c.get("main")), None)
    compared = len({comparison["arm"] for comparison in summary["comparisons"]})
    if main is None or compared < 2:
        return ""
    return (
        f"Of the {compared} arms with a control, {main} has the fewest {measure_of(summary).noun} "
        "on the validation split; that alone makes it the headline, and the test split had no say."
    )


def optimizer(settings: Mapping[str, Any]) -> str:
    """An arm's optimizer in one line: ``adam, lr 0.001, one_cycle``."""
    parts = [str(settings["name"])] if settings.get("name") else []
    parts += [f"lr {settings['lr']:g}"] if known(settings.get("lr")) else []
    parts += [f"weight_decay {settings['weight_decay']:g}"] if settings.get("weight_decay") else []
    parts += [str(settings["schedule"])] if settings.get("schedule") else []
    return ", ".join(parts) or MISSING


def objective(settings: Mapping[str, Any], *, control: bool = False) -> str:
    """An arm's objective in one line, with the names the settings have."""
    hard, soft = settings.get("hard_weight"), settings.get("soft_weight")
    if not known(soft):
        return ", ".join(f"{key} {value}" for key, value in settings.items()) or MISSING
    guides = settings.get("features") or ()
    of_labels = _of_labels(settings) if hard != 0 else []
    if soft == 0 and not guides:
        first = (
            f"labels only (hard_weight {hard:g})" if known(hard) and hard != 1 else "labels only"
        )
        return ", ".join([first, *of_labels])
    parts = [f"hard_weight {hard:g}"] if known(hard) else []
    parts += [f"soft_weight {soft:g}", *_of_answers(settings)] if soft != 0 else []
    parts += [features(guides)] if guides else []
    return ", ".join(parts + of_labels) + (" (control)" if control else "")


def _of_answers(settings: Mapping[str, Any]) -> list[str]:
    """What the soft loss is."""
    parts = (
        [f"temperature {settings['temperature']:g}"] if known(settings.get("temperature")) else []
    )
    parts += [f"soft {settings['soft']}"] if settings.get("soft") else []
    loss = SOFT_LOSSES.get(str(settings.get("soft")))
    for setting in loss.settings if loss else ():
        if known(settings.get(setting.name)):
            parts.append(f"{setting.name} {settings[setting.name]:g}")
    parts += ["standardised"] if settings.get("standardise") else []
    parts += ["shuffled teacher"] if settings.get("shuffled") else []
    return parts + (["not scaled by T²"] if settings.get("scale_by_t2") is False else [])


def _of_labels(settings: Mapping[str, Any]) -> list[str]:
    """What the hard loss is, where it is not the plain cross-entropy."""
    weights, kind = settings.get("class_weights"), settings.get("hard", "cross_entropy")
    parts = [f"hard {kind}"] if kind != "cross_entropy" else []
    if weights:
        parts.append(
            "class weights "
            + (weights if isinstance(weights, str) else " ".join(f"{w:g}" for w in weights))
        )
    smoothing = settings.get("label_smoothing")
    return parts + ([f"label_smoothing {smoothing:g}"] if smoothing else [])


def features(guides: Sequence[Mapping[str, Any]]) -> str:
    """Layers that guide the student: ``hint features.2 from features.5 (weight 1)``."""
    return ", ".join(
        f"{g['kind']} {g['student']} from {g['teacher']} (weight {g['weight']:g})" for g in guides
    )
