"""Numbers and sentences, worded once, so that the page and the terminal say the same."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MISSING = "–"
MINUS = "−"
MOST_HEADLINES = 4
_OPENINGS = {"helps": "Distilling helps", "hurts": "Distilling hurts", "not shown": "No difference shown"}


@dataclass(frozen=True)
class Column:
    """A column of the results: its key in a metrics object, a full and a short heading, and its number format."""

    key: str
    title: str
    short: str
    kind: str


COLUMNS = (
    Column("errors", "Test errors", "errors", "count"),
    Column("accuracy", "Accuracy", "acc.", "percent"),
    Column("kappa", "Quadratic kappa", "kappa", "nats"),
    Column("nll", "NLL", "NLL", "nats"),
    Column("ece", "ECE", "ECE", "nats"),
    Column("agreement", "Agreement", "agree", "percent"),
    Column("kl_to_teacher", "KL to teacher", "KL", "nats"),
    Column("bits_per_byte", "Bits per byte", "bits/byte", "nats"),
    Column("seconds", "Time", "time", "seconds"),
)


def known(value: Any) -> bool:
    """Whether ``value`` is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def count(value: Any, *, signed: bool = False) -> str:
    """A number of errors: ``1,234`` when whole, ``85.3`` otherwise."""
    if not known(value):
        return MISSING
    text = f"{abs(value):,.0f}" if float(value).is_integer() else f"{abs(value):,.1f}"
    if not any(digit in text for digit in "123456789"):
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def tenths(value: Any, *, signed: bool = False) -> str:
    """A mean number of errors, always with one decimal."""
    if not known(value):
        return MISSING
    text = f"{abs(value):,.1f}"
    if text == "0.0":
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def change(comparison: Mapping[str, Any], *, signed: bool = True) -> str:
    """The mean change in errors of a comparison: with a decimal where it is a mean over several seeds."""
    delta = comparison["delta_errors"]
    value = delta["mean"] if signed else abs(delta["mean"])
    return tenths(value, signed=signed) if delta["ci95"] else count(value, signed=signed)


def percent(value: Any, decimals: int = 2) -> str:
    """A share as ``99.15 %``."""
    if not known(value):
        return MISSING
    text = f"{abs(100 * value):,.{decimals}f}"
    negative = value < 0 and any(digit in text for digit in "123456789")
    return f"{MINUS if negative else ''}{text} %"


def nats(value: Any) -> str:
    """A small quantity with four decimals, a large one with four significant digits."""
    if not known(value):
        return MISSING
    text = f"{abs(value):.4f}" if abs(value) < 10 else f"{abs(value):,.2f}"
    return MINUS + text if value < 0 and float(text.replace(",", "")) else text


def seconds(value: Any) -> str:
    """A duration: ``0.8 s``, ``42 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if not known(value):
        return MISSING
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def p_value(value: Any) -> str:
    """``p = 0.032``, or ``p < 0.0001``."""
    if not known(value):
        return f"p = {MISSING}"
    if value < 0.0001:
        return "p < 0.0001"
    if 0.0495 <= value < 0.05:
        return f"p = {value:.4f}" if value < 0.04995 else "p < 0.05"
    if value < 0.001:
        return f"p = {value:.4f}"
    return f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def plural(number: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``, ``1,200 samples``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def mean_and_sd(mean: Any, sd: Any) -> str:
    """``85.3 ± 4.2``; the mean alone where there is one seed."""
    return f"{tenths(mean)} ± {tenths(sd)}" if known(sd) else count(mean)


def cell(kind: str, value: Any) -> str:
    """The text of one number of the results table."""
    return {"count": count, "percent": percent, "nats": nats, "seconds": seconds}[kind](value)


def columns(summary: Mapping[str, Any]) -> list[Column]:
    """The columns of the results table that hold a number in some row."""
    rows = [values for _, values, _ in _results(summary)]
    always = ("errors", "accuracy", "nll", "ece")
    return [c for c in COLUMNS if c.key in always or any(known(values.get(c.key)) for values in rows)]


def result_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """The results as text: one row for the teacher, if any, and one per arm, keyed by ``name`` and column."""
    shown = columns(summary)
    rows = []
    for name, values, sd in _results(summary):
        row = {"name": name} | {c.key: cell(c.kind, values.get(c.key)) for c in shown}
        row["errors"] = mean_and_sd(values.get("errors"), sd)
        rows.append(row)
    return rows


def _results(summary: Mapping[str, Any]) -> list[tuple[str, dict[str, Any], Any]]:
    rows: list[tuple[str, dict[str, Any], Any]] = []
    teacher = summary["teacher"]
    if teacher is not None:
        taken = {"agreement": None, "kl_to_teacher": None, "seconds": summary["seconds"]["teacher"] or None}
        rows.append(("teacher", {**teacher["test"], **taken}, None))
    for arm in summary["arms"]:
        rows.append((arm["name"], {**arm["mean"], "seconds": arm.get("seconds")}, arm["sd"].get("errors")))
    return rows


def interval(bounds: Sequence[float] | None) -> str:
    """``−30.1 to −16.5``, or a dash with one seed."""
    return f"{tenths(bounds[0])} to {tenths(bounds[1])}" if bounds and len(bounds) == 2 else MISSING


def headline(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """The verdict on one comparison in a sentence."""
    delta = comparison["delta_errors"]
    arm, control, size = comparison["arm"], comparison["control"], change(comparison, signed=False)
    of = f"{summary['data']['test']:,}"
    if size in ("0", "0.0"):
        found = f"{arm} makes as many errors of {of} as {control}"
    else:
        found = f"{arm} makes {size} {'fewer' if delta['mean'] < 0 else 'more'} errors of {of} than {control}"
    seeds = _number_of_seeds(comparison, summary)
    if delta["ci95"]:
        evidence = f"95 % interval {interval(delta['ci95'])} over {plural(seeds, 'seed')}"
    else:
        evidence = "one seed, so no interval" if seeds == 1 else "no interval"
    if known(comparison["mcnemar_p"]):
        evidence += f", McNemar {p_value(comparison['mcnemar_p'])}"
    opening = _OPENINGS[comparison["verdict"]]
    return f"{opening}: {found} ({evidence}){_ending(comparison, summary)}."


def _ending(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """What the change means next to the teacher, or why no change is shown."""
    if comparison["verdict"] == "not shown":
        return _reason(comparison)
    gap = comparison["gap_closed"]["errors"]
    if summary["teacher"] is None:
        return ""
    if not known(gap):
        return "; the teacher itself is not better than the control, so there is no gap to close"
    if gap < 0:
        return f"; it widens the gap to the teacher by {percent(-gap, 0)}"
    past = ", so it makes fewer errors than the teacher" if gap > 1 else ""
    return f"; it closes {percent(gap, 0)} of the gap to the teacher{past}"


def _reason(comparison: Mapping[str, Any]) -> str:
    bounds, p = comparison["delta_errors"]["ci95"], comparison["mcnemar_p"]
    if not bounds:
        return "; one seed cannot tell the method from luck"
    if bounds[0] <= 0 <= bounds[1]:
        return "; the interval holds 0, so other seeds could reverse it"
    total = comparison["delta_errors"].get("ci95_total")
    if (known(p) and p >= 0.05) or (total and total[0] <= 0 <= total[1]):
        return "; the seeds agree, but these test samples are too few to be sure"
    return ""


def _number_of_seeds(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> int:
    per_seed = comparison["delta_errors"].get("per_seed")
    if per_seed:
        return len(per_seed)
    return next((len(arm["seeds"]) for arm in summary["arms"] if arm["name"] == comparison["arm"]), 0)


def failures(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """``(arm, "seeds 0 and 1", reason)`` of every arm of which a student failed; the reason is that of its first."""
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
    """``(verdict, sentence)`` of every comparison, the main one first; one neutral pair where there is none."""
    ordered = sorted(summary["comparisons"], key=lambda comparison: not comparison.get("main", False))
    if len(ordered) > MOST_HEADLINES:
        first = ordered[0]
        return [(first["verdict"], headline(first, summary)), ("none", _tally(ordered))]
    if ordered:
        return [(comparison["verdict"], headline(comparison, summary)) for comparison in ordered]
    arms = summary["arms"]
    if not arms and summary["teacher"] is not None:
        wrong, of = summary["teacher"]["test"]["errors"], summary["data"]["test"]
        return [("none", f"The teacher alone: {wrong:,} errors of {of:,}.")]
    lost = list(dict.fromkeys(arm["failed_control"] for arm in arms if arm.get("failed_control")))
    if lost:
        return [("none", f"No comparison: the control {' and '.join(lost)} failed.")]
    if len(arms) == 1:
        arm = arms[0]
        done = "finished" if summary.get("failed") else "was trained"
        made = f"{arm['name']} makes {mean_and_sd(arm['mean']['errors'], arm['sd']['errors'])} errors"
        return [
            (
                "none",
                f"Nothing to compare: {made} of {summary['data']['test']:,}, and no other arm {done}.",
            )
        ]
    return [("none", f"No comparison: none of the {plural(len(arms), 'arm')} is paired with a control.")]


def _tally(comparisons: Sequence[Mapping[str, Any]]) -> str:
    verdicts = [comparison["verdict"] for comparison in comparisons]
    counted = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in _OPENINGS if kind in verdicts)
    return f"{plural(len(verdicts), 'comparison')} in all: {counted}."


def choice(summary: Mapping[str, Any]) -> str:
    """Why the headline is the headline; empty where there was nothing to choose."""
    main = next((c["arm"] for c in summary["comparisons"] if c.get("main")), None)
    if main is None or len(summary["comparisons"]) < 2:
        return ""
    return (
        f"Of the {len(summary['comparisons'])} arms with a control, {main} has the fewest errors on the validation "
        "split; that alone makes it the headline, and the test split had no say."
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
        first = f"labels only (hard_weight {hard:g})" if known(hard) and hard != 1 else "labels only"
        return ", ".join([first, *of_labels])
    parts = [f"hard_weight {hard:g}"] if known(hard) else []
    parts += [f"soft_weight {soft:g}", *_of_answers(settings)] if soft != 0 else []
    parts += [features(guides)] if guides else []
    return ", ".join(parts + of_labels) + (" (control)" if control else "")


def _of_answers(settings: Mapping[str, Any]) -> list[str]:
    """What the soft loss is."""
    parts = [f"temperature {settings['temperature']:g}"] if known(settings.get("temperature")) else []
    parts += [f"soft {settings['soft']}"] if settings.get("soft") else []
    if settings.get("soft") == "dkd":
        parts += [f"{name} {settings[name]:g}" for name in ("target_weight", "nontarget_weight") if name in settings]
    parts += ["standardised"] if settings.get("standardise") else []
    return parts + (["not scaled by T²"] if settings.get("scale_by_t2") is False else [])


def _of_labels(settings: Mapping[str, Any]) -> list[str]:
    """What the hard loss is, where it is not the plain cross-entropy."""
    weights, kind = settings.get("class_weights"), settings.get("hard", "cross_entropy")
    parts = [f"hard {kind}"] if kind != "cross_entropy" else []
    if weights:
        parts.append("class weights " + (weights if isinstance(weights, str) else " ".join(f"{w:g}" for w in weights)))
    return parts


def features(guides: Sequence[Mapping[str, Any]]) -> str:
    """Layers that guide the student: ``hint features.2 from features.5 (weight 1)``."""
    return ", ".join(f"{g['kind']} {g['student']} from {g['teacher']} (weight {g['weight']:g})" for g in guides)
