"""The top of a report in words for readers who do not know the study: results before and after,
how sure they are, what was compared, and on what data.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from limbeck.report import objectives
from limbeck.report.arm_styles import TEACHER, styles_of
from limbeck.report.families import is_control
from limbeck.report.formats import (
    FORMATS,
    file_size,
    fixed,
    is_number,
    milliseconds,
    plural,
    seeds_and_splits,
    share,
)
from limbeck.report.measure_wording import wording_of
from limbeck.report.settings import epochs_of
from limbeck.report.wording_base import Column, MeasureWording
from limbeck.run.comparison import Comparison, Interval
from limbeck.run.cost import Cost
from limbeck.run.metrics import AnyMetrics
from limbeck.run.summary import ArmResult, Summary

MAX_LEVELS = 3
"""Maximum number of arms at the top of a study without a comparison."""


@dataclass(frozen=True)
class Level:
    """The result of one model at the top of the page.

    Attributes:
        name: Name of the arm, or "teacher".
        value: Result, such as "96.32 %".
        note: Description of the model and its other numbers.
        colour: Colour of the model in all figures.
    """

    name: str
    value: str
    note: str
    colour: str


@dataclass(frozen=True)
class Answer:
    """A question of a reader and its answer."""

    question: str
    text: str


@dataclass(frozen=True)
class Overview:
    """The top of the page, below the verdict.

    Attributes:
        measure: Name of the numbers, such as "Accuracy".
        levels: Results without and with the teacher, then the teacher's.
        answers: Questions and answers.
    """

    measure: str
    levels: list[Level]
    answers: list[Answer]


def overview(summary: Summary, cost: Cost | None = None) -> Overview:
    """Describe the study of a summary.

    Args:
        summary: Summary of the study.
        cost: Cost of running its models, if it was measured.
    """
    words = wording_of(summary)
    answers = []
    main = summary.main_comparison
    if main is not None:
        answers = [
            Answer("By how much?", by_how_much(main, summary)),
            Answer("How sure is it?", _certainty(main, summary)),
            Answer("What was compared?", compared(main, summary)),
        ]
    answers.append(Answer("On what data?", _data(summary)))
    size = _size(summary, cost)
    if size:
        answers.append(Answer("How large is the student, the small model?", size))
    measure = f"{main_column(words).title} on {words.test_split(summary.data)}"
    column = main_column(words)
    if column.key == words.measure.key:
        measure += f", {words.less} is better"
    return Overview(measure, _levels(summary), answers)


def main_column(words: MeasureWording) -> Column:
    """The metric at the top of the page."""
    return next(column for column in words.columns if column.key == words.main_metric)


# The numbers --------------------------------------------------------------------------------------


def _levels(summary: Summary) -> list[Level]:
    words = wording_of(summary)
    styles = styles_of(summary)
    levels = []
    for arm in _arms_at_the_top(summary):
        role = "without the teacher" if is_control(arm) else "with the teacher"
        value, number = _result(words, arm.mean, arm.sd)
        note = _unbroken(", ".join(filter(None, (role, number))))
        levels.append(Level(arm.name, value, note, styles[arm.name].colour))
    if summary.teacher is not None:
        value, number = _result(words, summary.teacher.test, summary.teacher.sd, over="splits")
        note = _unbroken(", ".join(filter(None, (summary.teacher.name, number))))
        levels.append(Level("teacher", value, note, TEACHER))
    return levels


def _unbroken(text: str) -> str:
    """Keep a number and its standard deviation on one line."""
    return text.replace(" ± ", "\u00a0±\u00a0")


def _arms_at_the_top(summary: Summary) -> list[ArmResult]:
    """The control and the arm of the headline; without one, the first arms."""
    main = summary.main_comparison
    if main is None:
        return list(summary.arms[:MAX_LEVELS])
    arms = {arm.name: arm for arm in summary.arms}
    return [arms[name] for name in (main.control, main.arm) if name in arms]


def _result(
    words: MeasureWording, mean: AnyMetrics, sd: AnyMetrics | None, over: str = "seeds"
) -> tuple[str, str]:
    """The main metric of a model; its errors, or the standard deviation over seeds or splits."""
    key = words.measure.key
    column = main_column(words)
    level, spread = getattr(mean, key, None), getattr(sd, key, None)
    value = FORMATS[column.kind](getattr(mean, column.key, None))
    if column.key != key:
        return value, f"{words.mean_and_sd(level, spread)} {words.unit}"
    return value, f"± {words.mean(spread)} over {over}" if is_number(spread) else ""


# The answers --------------------------------------------------------------------------------------


def by_how_much(comparison: Comparison, summary: Summary) -> str:
    """The main metric with and without the teacher."""
    words = wording_of(summary)
    arm, control = _pair(comparison, summary)
    if arm is None or control is None:
        return f"{words.finding(comparison, summary)}."
    column = main_column(words)
    after, before = (_result(words, entry.mean, None)[0] for entry in (arm, control))
    text = f"{column.title} {after} instead of {before}"
    values = [getattr(entry.mean, column.key, None) for entry in (arm, control)]
    if column.kind == "percent" and is_number(values[0]) and is_number(values[1]):
        text += f" ({fixed(100 * (values[0] - values[1]), 2, signed=True)} points)"
    elif is_number(values[0]) and is_number(values[1]):
        change = values[0] - values[1]
        amount, less = FORMATS[column.kind](abs(change)), "less"
        if column.key == words.measure.key:
            amount, less = words.difference(abs(change)), words.less
        text += f" ({amount} {'more' if change > 0 else less})"
    if len(arm.seeds) > 1:
        text += f", mean of {seeds_and_splits(len(arm.seeds), summary.splits)}"
    if summary.teacher is not None:
        text += f". The teacher's is {_result(words, summary.teacher.test, None)[0]}"
    return f"{text}."


def _pair(comparison: Comparison, summary: Summary) -> tuple[ArmResult | None, ArmResult | None]:
    arms = {arm.name: arm for arm in summary.arms}
    return arms.get(comparison.arm), arms.get(comparison.control)


def _certainty(comparison: Comparison, summary: Summary) -> str:
    words = wording_of(summary)
    delta = words.measure.delta(comparison)
    bounds = delta.ci95_total or delta.ci95
    if bounds is None:
        return "Unknown. One seed cannot tell an effect from chance; train at least five."
    low, high = bounds
    claim = f"{comparison.arm} {words.verb} {_range(bounds, words)} than {comparison.control}"
    if words.main_metric == "accuracy":
        claim += _points(bounds, summary.data.test)
    others = "other seeds" if summary.splits is None else "other seeds, other splits"
    scope = f"{others} and {words.samples_in_interval} of the same kind"
    if delta.ci95_total is None:
        scope = f"{others} and the same {words.samples_in_interval}"
    if low <= 0 <= high and comparison.verdict in ("equivalent", "not worse"):
        return f"Sure within the margin, not beyond. With 95 % confidence, {claim}, for {scope}."
    if low <= 0 <= high:
        return f"Not sure. With 95 % confidence, {claim}, for {scope}."
    return f"With 95 % confidence, {claim}, for {scope}."


def _range(bounds: Interval, words: MeasureWording) -> str:
    """An interval of a change in words: "13.1 to 34.1 fewer errors"."""
    low, high = bounds
    decimals = words.decimals.mean if max(map(abs, bounds)) >= 0.01 else words.decimals.mean + 1
    sizes = [fixed(abs(bound), decimals) for bound in bounds]
    if low <= 0 <= high:
        return f"between {sizes[0]} {words.less} and {sizes[1]} more {words.unit}"
    if high < 0:
        return f"{sizes[1]} to {sizes[0]} {words.less} {words.unit}"
    return f"{sizes[0]} to {sizes[1]} more {words.unit}"


def _points(bounds: Interval, samples: int) -> str:
    """An interval of a change in errors as points of accuracy; empty if no accuracy is so far."""
    low, high = (-100 * bound / max(samples, 1) for bound in reversed(bounds))
    largest = max(abs(low), abs(high))
    if largest > 100:
        return ""
    decimals = 1 if largest >= 1 else 2
    low_text, high_text = (fixed(bound, decimals, signed=True) for bound in (low, high))
    return f" ({low_text} to {high_text} points of accuracy)"


def compared(comparison: Comparison, summary: Summary) -> str:
    """The arm and the control of a comparison, and how they differ."""
    arm, control = _pair(comparison, summary)
    if arm is None or control is None:
        return f"{comparison.arm} and its control {comparison.control}."
    is_same_network = (arm.student, arm.params) == (control.student, control.params)
    epochs = [epochs_of(entry, summary) for entry in (arm, control)]
    network = "the same network" if is_same_network else control.student
    way = _way_of_learning(arm, control)
    if epochs[0] != epochs[1]:
        way += f", trained for {epochs[1]} epochs instead of {epochs[0]}"
    sentences = [
        f"{arm.name}: {arm.student}, which learns from {_sources(arm)}.",
        f"{control.name}: {network} {way}.",
    ]
    if is_same_network and epochs[0] == epochs[1]:
        sentences.append("Both start from the same weights and see the same data in every seed.")
    if summary.splits is not None:
        sentences.append(_splits(summary))
    return " ".join(sentences)


def _splits(summary: Summary) -> str:
    """How the samples were divided several times."""
    text = f"The samples were divided into training and validation {summary.splits} times"
    has_own_teachers = summary.teacher is not None and summary.teacher.sd is not None
    return f"{text}, each time with a new teacher." if has_own_teachers else f"{text}."


def _sources(arm: ArmResult) -> str:
    """What an arm learns from: the teacher's answers, its layers, the labels."""
    if is_control(arm):
        source, _, details = objectives.objective(arm.objective).partition(" only")
        details = details.strip(", ")
        return f"the {source} alone ({details})" if details else f"the {source} alone"
    sources = {
        "the teacher's answers": arm.objective.get("soft_weight") != 0,
        "the teacher's layers": arm.objective.get("features"),
        "the labels": arm.objective.get("hard_weight"),
    }
    return " and ".join(name for name, is_used in sources.items() if is_used)


def _way_of_learning(arm: ArmResult, control: ArmResult) -> str:
    if is_control(arm) or not is_control(control):
        return f"with another objective ({objectives.objective(control.objective)})"
    return "without the teacher"


def _data(summary: Summary) -> str:
    (_, name), *_, (unit, sizes) = wording_of(summary).data_settings(summary.data)
    text = f"{name}. {unit}: {sizes}."
    numbers = [arm.transfer_settings.get("labelled") for arm in summary.arms]
    labelled = numbers[0] if numbers else None
    if is_number(labelled) and numbers.count(labelled) == len(numbers):
        is_share = isinstance(labelled, float)
        count = f"{100 * labelled:.3g} % of the" if is_share else f"{labelled:,}"
        text += f" Students get the labels of {count} training samples only."
    return f"{text} The test split was used once, for these results."


def _size(summary: Summary, cost: Cost | None) -> str:
    arms = _arms_at_the_top(summary)
    if not arms:
        return ""
    arm = arms[-1]
    text = f"{plural(arm.params, 'parameter')} ({arm.student})"
    teacher = summary.teacher
    if teacher is not None and teacher.params:
        text += f", {share(arm.params / teacher.params)} of the teacher's {teacher.params:,}"
    return f"{text}. {' '.join(_costs(arm, cost))}".strip()


def _costs(arm: ArmResult, cost: Cost | None) -> Iterator[str]:
    """The size of the exported file, and the time for one input."""
    for row in () if cost is None else cost.rows:
        if row.runtime == "onnx" and row.precision == "fp32" and row.model == arm.name:
            time = milliseconds(row.one_core.median)
            yield (
                f"As ONNX: {file_size(row.bytes)}, {time} for one input on one core of the machine "
                "that measured it."
            )
