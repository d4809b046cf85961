"""The sentences of a report, shared by the page and the terminal."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from limbeck.evaluation.measure import measure_of
from limbeck.evaluation.statistics import LEVEL
from limbeck.report.formats import fixed, is_number, p_value, percent, plural, seeds_and_splits
from limbeck.report.margin_wording import margin_clause, margin_remark, replacement_sentences
from limbeck.report.measure_wording import wording_of
from limbeck.report.wording_base import MeasureWording
from limbeck.run.comparison import Comparison, Needed, Verdict
from limbeck.run.summary import FailedStudent, Summary

MAX_FACTOR = 20
"""Largest factor of more test samples that is suggested beside a number of seeds."""
MAX_HEADLINES = 4
"""With more comparisons, only the main one gets a sentence; the others are counted."""

Kind: TypeAlias = Verdict | Literal["none"]
VERDICTS: tuple[Verdict, ...] = ("helps", "hurts", "equivalent", "not worse", "not shown")

_OPENINGS: dict[Verdict, str] = {
    "helps": "Distillation helps",
    "hurts": "Distillation hurts",
    "equivalent": "Equivalent within the margin",
    "not worse": "Not worse within the margin",
    "not shown": "Not enough evidence",
}
_OPENINGS_WITHOUT_TEACHER: dict[Verdict, str] = {
    **_OPENINGS,
    "helps": "The change helps",
    "hurts": "The change hurts",
}
"""The openings for arms that learn from labels alone."""


class Sentence(NamedTuple):
    """A sentence and the verdict that colours it; "none" for a neutral one."""

    verdict: Kind
    text: str


class Failure(NamedTuple):
    """The students of an arm that failed.

    Attributes:
        arm: Name of the arm.
        seeds: Seeds in words, such as "seeds 0 and 1".
        reason: Reason of the first failure.
    """

    arm: str
    seeds: str
    reason: str


# The verdict --------------------------------------------------------------------------------------


def headlines(summary: Summary) -> list[Sentence]:
    """The verdict of each comparison, the main one first; then what can replace a larger model, and
    what validation chose.

    If there are many comparisons, all but the main one are only counted. Without a comparison, a
    neutral sentence says why.
    """
    remarks = [*replacement_sentences(summary), *_choices(summary)]
    return [*_verdicts(summary), *(Sentence("none", remark) for remark in remarks)]


def _choices(summary: Summary) -> list[str]:
    """Say among how many arms validation chose each."""
    choices = [
        f"{arm.name} among {arm.candidates}" for arm in summary.arms if arm.candidates is not None
    ]
    if not choices:
        return []
    return [
        f"The validation split chose {', '.join(choices)}; the others never saw the test split."
    ]


def _verdicts(summary: Summary) -> list[Sentence]:
    main_first = sorted(summary.comparisons, key=lambda comparison: not comparison.main)
    if not main_first:
        return [Sentence("none", _no_comparison(summary))]
    if len(main_first) > MAX_HEADLINES:
        main = main_first[0]
        return [
            Sentence(main.verdict, headline(main, summary)),
            Sentence("none", _count_verdicts(main_first)),
        ]
    return [Sentence(entry.verdict, headline(entry, summary)) for entry in main_first]


def headline(comparison: Comparison, summary: Summary) -> str:
    """The verdict of one comparison: the change, its evidence, and what it means."""
    words = wording_of(summary)
    is_within_margin = comparison.verdict in ("equivalent", "not worse")
    reason = margin_clause(summary) if is_within_margin else words.p_value(comparison)
    evidence = "; ".join(filter(None, (_interval(comparison, summary), reason)))
    sentences = [
        f"{_opening(comparison, summary)}: {words.finding(comparison, summary)} ({evidence}).",
        _consequence(comparison, summary),
        margin_remark(comparison, summary),
    ]
    return " ".join(filter(None, sentences))


def _opening(comparison: Comparison, summary: Summary) -> str:
    labels_only = {arm.name for arm in summary.arms if arm.control}
    openings = _OPENINGS_WITHOUT_TEACHER if comparison.arm in labels_only else _OPENINGS
    return openings[comparison.verdict]


def _interval(comparison: Comparison, summary: Summary) -> str:
    words = wording_of(summary)
    seeds = _number_of_seeds(comparison, summary)
    delta = words.measure.delta(comparison)
    if delta.ci95:
        scope = seeds_and_splits(seeds, summary.splits)
        if delta.ci95_total:
            scope += f" and the {words.samples_in_interval}"
        return f"95 % interval {words.interval(comparison)} over {scope}"
    if seeds == 1:
        return "one seed, so no interval"
    return "no interval"


def _number_of_seeds(comparison: Comparison, summary: Summary) -> int:
    per_seed = measure_of(summary).delta(comparison).per_seed
    if per_seed:
        return len(per_seed)
    seeds = {arm.name: len(arm.seeds) for arm in summary.arms}
    return seeds.get(comparison.arm, 0)


def _consequence(comparison: Comparison, summary: Summary) -> str:
    """The change relative to the teacher's gap, or the reason why the evidence is not enough."""
    words = wording_of(summary)
    if comparison.verdict == "not shown":
        return _doubt(comparison, summary, words)
    if comparison.verdict in ("equivalent", "not worse"):
        return ""
    if summary.teacher is None:
        return ""
    gap = getattr(comparison.gap_closed, words.gaps[0][0])
    if not is_number(gap):
        return "The teacher is no better than the control, so there is no gap to close."
    if gap < 0:
        return f"It widens the gap to the teacher by {percent(-gap, 0)}."
    closes = f"It closes {percent(gap, 0)} of the gap to the teacher"
    return f"{closes}, so {words.beats_teacher}." if gap > 1 else f"{closes}."


def _doubt(comparison: Comparison, summary: Summary, words: MeasureWording) -> str:
    delta = words.measure.delta(comparison)
    if not delta.ci95:
        return "One seed cannot tell an effect from chance."
    if _is_shown_alone(comparison, words):
        return (
            "Alone, this would be enough; corrected for all comparisons of the study, it is not "
            f"(Holm, {p_value(comparison.p_holm)})."
        )
    if tuple(delta.ci95) == (0.0, 0.0):
        return "Both give the same results in every seed, so there is nothing to test."
    doubt = f"The seeds agree, but {words.too_small} to be sure."
    if _contains_zero(delta.ci95):
        doubt = "The interval contains 0, so other seeds could reverse the result."
    return " ".join(filter(None, (doubt, _remedy(comparison.needed, summary, words))))


def _remedy(needed: Needed | None, summary: Summary, words: MeasureWording) -> str:
    """Seeds and samples that would be enough; empty if unknown."""
    if needed is None:
        return ""
    factor = needed.samples_factor
    more_samples = (
        ""
        if factor is None
        else f"{fixed(factor, 1 if factor < 10 else 0)} times {words.more_samples}"
    )
    if needed.seeds is not None:
        splits = splits_for(needed.seeds, summary)
        enough = f"about {seeds_and_splits(needed.seeds, splits)}"
        if factor is not None and factor <= MAX_FACTOR:
            enough += f", or {more_samples} with the same seeds"
    elif factor is not None:
        enough = f"about {more_samples}; more seeds alone are not enough"
    else:
        return "A difference this small would not be shown by 100 seeds either."
    return f"To show a difference of this size in 4 of 5 studies, use {enough}."


def _is_shown_alone(comparison: Comparison, words: MeasureWording) -> bool:
    """Whether only the correction for several comparisons keeps a difference from being shown."""
    p = words.measure.p_value(comparison)
    return p is not None and p < LEVEL and comparison.p_holm is not None


def _contains_zero(interval: tuple[float, float]) -> bool:
    return interval[0] <= 0 <= interval[1]


def _count_verdicts(comparisons: Sequence[Comparison]) -> str:
    verdicts = [comparison.verdict for comparison in comparisons]
    counts = [f"{verdicts.count(kind)} {kind}" for kind in VERDICTS if kind in verdicts]
    return f"{plural(len(verdicts), 'comparison')} in total: {', '.join(counts)}."


def _no_comparison(summary: Summary) -> str:
    """The headline of a study without a comparison."""
    words, arms = wording_of(summary), summary.arms
    measure = words.measure
    if not arms and summary.teacher is not None:
        value = words.number(measure.value(summary.teacher.test))
        return f"The teacher alone: {words.level(value, summary.data)}."
    failed_controls = dict.fromkeys(arm.failed_control for arm in arms if arm.failed_control)
    if failed_controls:
        names = " and ".join(failed_controls)
        return f"No comparison: the control {names} failed."
    if len(arms) == 1:
        arm = arms[0]
        value = words.mean_and_sd(measure.value(arm.mean), measure.value(arm.sd))
        result = f"{arm.name} {words.verb} {words.level(value, summary.data)}"
        other = "no other arm finished" if summary.failed else "no other arm was trained"
        return f"Nothing to compare: {result}, and {other}."
    return f"No comparison: none of the {plural(len(arms), 'arm')} has a control."


def splits_for(seeds: int, summary: Summary) -> int | None:
    """Number of splits for a number of seeds, with as many seeds per split as in a study."""
    if summary.splits is None:
        return None
    most = max((len(arm.seeds) for arm in summary.arms), default=summary.splits)
    return max(1, seeds * summary.splits // most)


# Other sentences ----------------------------------------------------------------------------------


def choice(summary: Summary) -> str:
    """The reason why a comparison is the headline; empty if there was no choice."""
    compared = {comparison.arm for comparison in summary.comparisons}
    main = summary.main_comparison
    if main is None or len(compared) < 2:
        return ""
    words = wording_of(summary)
    return (
        f"Of the {len(compared)} arms with a control, {main.arm} {words.verb} the {words.least} "
        f"{words.unit} on the validation split, so it is the headline. The test split played no "
        "part in this choice."
    )


def failures(summary: Summary) -> list[Failure]:
    """The failed students by arm."""
    by_arm: dict[str, list[FailedStudent]] = {}
    for student in summary.failed:
        by_arm.setdefault(student.arm, []).append(student)
    return [
        Failure(arm, _seeds([student.seed for student in students]), students[0].reason)
        for arm, students in by_arm.items()
    ]


def _seeds(seeds: Sequence[int]) -> str:
    """Seeds in words: ``seed 0``, ``seeds 0, 1 and 2``."""
    *others, last = map(str, seeds)
    if not others:
        return f"seed {last}"
    return f"seeds {', '.join(others)} and {last}"
