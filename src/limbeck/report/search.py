"""The search for a student, in words and as a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limbeck.evaluation.latency_model import LatencyModel, fit_latency
from limbeck.evaluation.measure import MEASURES, Measure
from limbeck.report.formats import (
    MISSING,
    file_size,
    milliseconds,
    percent,
    plural,
    seconds,
)
from limbeck.report.measure_wording import value_text
from limbeck.report.worth_in_bytes import worth_in_bytes
from limbeck.run.search import Search, Trial, value_of
from limbeck.run.summary import Summary

LIMITS: dict[str, tuple[str, Callable[[float], str]]] = {
    "size": ("size", file_size),
    "latency": ("latency", milliseconds),
    "memory": ("memory", file_size),
}
"""Word and format of each limit of the device."""
SHORTEST_FRONT = 2


@dataclass(frozen=True)
class CostAxis:
    """What the students of a search cost.

    Attributes:
        title: Title of an axis.
        value: Function from a trial to its cost.
        text: Format of the cost.
        limit: Largest cost that the budget allows; None for no limit.
    """

    title: str
    value: Callable[[Trial], float]
    text: Callable[[float], str]
    limit: float | None


def cost_axis(search: Search) -> CostAxis:
    """Return what the budget limits: one quantity, or the largest share of several limits."""
    names = [name for name in LIMITS if name in search.limits] or ["size"]
    if len(names) > 1:
        return CostAxis("share of the budget", lambda trial: trial.share, percent_of, 1.0)
    name = names[0]
    text = LIMITS[name][1]
    title = {
        "size": "size of the exported model",
        "latency": "time for one input on one core",
        "memory": "peak memory",
    }[name]

    def value(trial: Trial) -> float:
        return float(getattr(trial, name) or 0.0)

    return CostAxis(title, value, text, search.limits.get(name))


def percent_of(share: float) -> str:
    """Return a share as ``45 %``."""
    return percent(share, 0)


def measure_of_search(search: Search) -> Measure:
    """Return the metric by which the search is judged."""
    return MEASURES[search.measure]


def result_text(search: Search, value: object) -> str:
    """Return a result of the search as text, without its unit."""
    return value_text(measure_of_search(search), value)


def describe_round(search: Search, limit: int | None) -> str:
    """Describe how far a search is.

    Args:
        search: Search so far.
        limit: Largest number of students to train; None for no limit but time.
    """
    results = search.results
    total = search.number_trained
    refusals = search.number_of("over budget")
    needless = search.number_of("too costly")
    extent = plural(total, "student")
    if limit is not None:
        extent = f"{total:,} of up to {plural(limit, 'student')}"
    text = f"search: {extent} trained{_pruned(search)}"
    if refusals:
        text += f", {plural(refusals, 'proposal')} over the budget"
    if needless:
        text += f", {needless:,} too costly"
    if not results:
        return text
    best = min(results, key=lambda trial: (value_of(trial), trial.share))
    unit = measure_of_search(search).unit
    return (
        f"{text}; best: {best.architecture} with {result_text(search, best.value)} "
        f"{unit} on validation, {needs_text(best)}"
    )


def needs_text(trial: Trial) -> str:
    """Return what a student needs on the device, such as ``11 kB, 0.012 ms``."""
    parts = [file_size(trial.size)]
    if trial.latency is not None:
        parts.append(milliseconds(trial.latency))
    if trial.memory is not None:
        parts.append(f"{file_size(trial.memory)} of memory")
    return ", ".join(parts)


def search_sentences(search: Search, summary: Summary) -> list[str]:
    """Describe the budget, the search, the chosen student and the price of choosing."""
    winner = search.winner
    if winner is None:
        return []
    sentences = [_extent(search)]
    goal = search.limits.get("errors")
    unit = measure_of_search(search).unit
    if goal is None:
        reason = f"It has the best result on validation: {result_text(search, winner.value)} {unit}"
    elif value_of(winner) <= goal:
        reason = (
            f"It is the cheapest student tried with at most {result_text(search, goal)} {unit} on "
            f"validation: {result_text(search, winner.value)}"
        )
    else:
        reason = (
            f"No student makes at most {result_text(search, goal)} {unit} on validation; this one "
            f"is nearest with {result_text(search, winner.value)}"
        )
    sentences.append(
        f"Chosen student: {winner.architecture}, {plural(winner.params, 'parameter')}, "
        f"{needs_text(winner)}. {reason} of {search.validation:,} samples."
    )
    models = latency_models(search)
    sentences += [describe_latency(kind, model) for kind, model in models.items()]
    last = (price_of_choosing(search, summary), worth_in_bytes(search, summary))
    return [*sentences, *(sentence for sentence in last if sentence)]


def _extent(search: Search) -> str:
    refusals = search.number_of("over budget")
    divergences = sum(trial.state == "failed" and trial.params > 0 for trial in search.trials)
    unusable = search.number_of("failed") - divergences
    text = (
        f"Budget: {limits_text(search)}. {plural(search.number_trained, 'student')} trained in "
        f"{seconds(search.seconds)}{_pruned(search)}"
    )
    if divergences:
        text += f", {divergences:,} of them diverged"
    if unusable:
        text += f"; {plural(unusable, 'proposal')} could not be built or exported"
    if refusals:
        verb = "was" if refusals == 1 else "were"
        text += f"; {plural(refusals, 'proposal')} {verb} over the budget and not trained"
    needless = search.number_of("too costly")
    if needless:
        verb = "was" if needless == 1 else "were"
        text += (
            f"; {plural(needless, 'proposal')} needed no less than a student that met the goal, "
            f"and {verb} not trained"
        )
    return f"{text}."


def latency_models(search: Search) -> dict[str, LatencyModel]:
    """Return the latency models of the kinds of students with enough measurements."""
    models = {}
    for kind in dict.fromkeys(trial.settings["student"] for trial in search.trials):
        trials = {
            (trial.architecture, trial.macs): trial
            for trial in search.trials
            if trial.settings["student"] == kind and not trial.is_predicted and trial.latency
        }.values()
        model = fit_latency(
            [trial.macs or 0.0 for trial in trials],
            [trial.params for trial in trials],
            [trial.latency or 0.0 for trial in trials],
        )
        if model is not None:
            models[kind] = model
    return models


def describe_latency(kind: str, model: LatencyModel) -> str:
    """Describe a latency model and its error."""
    terms = [milliseconds(model.fixed)] if model.fixed else []
    for time, unit in ((model.per_mac, "multiply-adds"), (model.per_parameter, "parameters")):
        if 1e6 * time > 1e-3 * model.fixed:  # no rounding errors
            terms.append(f"{milliseconds(1e6 * time)} per million {unit}")
    return (
        f"Latency of {kind}: {' + '.join(terms)}. Predicted from the others, a student's latency "
        f"is off by {percent(model.error, 0)} (median of {model.models:,}; at most "
        f"{percent(model.largest_error, 0)})."
    )


def _pruned(search: Search) -> str:
    """Return how many students have been pruned; nothing if none has."""
    number = search.number_of("pruned")
    return f", {number:,} of them pruned after a short training" if number else ""


def limits_text(search: Search) -> str:
    """Return the limits of the budget, such as ``size 20 kB, latency 0.1 ms``."""
    parts = []
    for name, (word, text) in LIMITS.items():
        if name in search.limits:
            parts.append(f"{word} {text(search.limits[name])}")
    if "errors" in search.limits:
        goal = result_text(search, search.limits["errors"])
        parts.append(f"{goal} {measure_of_search(search).unit} on validation")
    where = "" if search.device is None else f" on {search.device}"
    return f"{', '.join(parts)} ({search.precision}){where}"


def price_of_choosing(search: Search, summary: Summary) -> str:
    """Compare the result in the search, the best of many, with those of fresh seeds."""
    winner = search.winner
    arm = next((arm for arm in summary.arms if arm.name == "distilled"), None)
    if winner is None or arm is None or not arm.seeds:
        return ""
    measure = measure_of_search(search)
    validation, test = measure.validation_mean(arm), measure.value(arm.mean)
    if test is None:
        return ""
    seeds = plural(len(arm.seeds), "fresh seed")
    before = _of(search, winner.value, search.validation)
    after = _of(search, validation, search.validation)
    return (
        f"Price of choosing: {before} on validation in the search, the best of "
        f"{search.number_of('trained', 'pruned'):,}; {after} on validation with {seeds} (mean); "
        f"{_of(search, test, summary.data.test)} on the test split, which the search has "
        "not seen."
    )


def _of(search: Search, value: float | None, samples: int) -> str:
    """Return a result with its share of the samples, if it is a number of errors."""
    text = result_text(search, value)
    if search.measure != "errors" or value is None:
        return text
    return f"{text} of {samples:,} ({percent(value / samples, 1)})"


def front_heading(search: Search) -> list[str]:
    """Return the headings of the table of the Pareto front."""
    headings = ["Student", "Settings", f"Validation {measure_of_search(search).unit}", "Size"]
    if any(trial.latency is not None for trial in search.trials):
        headings.append("Latency")
    if any(trial.memory is not None for trial in search.trials):
        headings.append("Memory")
    return [*headings, "Multiply-adds", "Parameters"]


def front_rows(search: Search) -> list[list[str]]:
    """Return the rows of the table of the Pareto front, cheapest first."""
    rows = []
    headings = front_heading(search)
    for trial in search.front():
        name = trial.architecture
        if search.winner == trial:
            name += "\nchosen"
        cells = [name, settings_text(trial), result_text(search, trial.value)]
        cells.append(file_size(trial.size))
        if "Latency" in headings:
            cells.append(MISSING if trial.latency is None else milliseconds(trial.latency))
        if "Memory" in headings:
            cells.append(file_size(trial.memory))
        macs = MISSING if trial.macs is None else f"{trial.macs:,.0f}"
        rows.append([*cells, macs, f"{trial.params:,}"])
    return rows


def settings_text(trial: Trial) -> str:
    """Return the first stride and the training, as ``stride 1, T = 4.2, soft 0.9, lr 0.012``."""
    names: Sequence[tuple[str, str]] = (
        ("temperature", "T = "),
        ("soft_weight", "soft "),
        ("lr", "lr "),
    )
    parts = [f"stride {trial.settings['stride']}"] if "stride" in trial.settings else []
    for key, word in names:
        if key in trial.settings:
            parts.append(f"{word}{trial.settings[key]:.2g}")
    return ", ".join(parts)
