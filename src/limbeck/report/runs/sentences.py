"""The sentences of a comparison of runs, shared by the page and the terminal."""

from limbeck.evaluation.statistics import LEVEL
from limbeck.report.formats import p_value, plural
from limbeck.report.measure_wording import wording_of
from limbeck.report.runs.compare import (
    ComparedRun,
    RunsComparison,
    are_equal,
    same_setting,
    same_teacher,
)
from limbeck.report.runs.rank import RunsRanking
from limbeck.report.wording import Sentence
from limbeck.run.comparison import Comparison, Verdict
from limbeck.run.summary import Summary

MAX_SENTENCES = 4
"""Maximum number of comparisons with a sentence of their own; the table has all of them."""
OPENINGS: dict[Verdict, str] = {
    "helps": "Better",
    "hurts": "Worse",
    "not shown": "Not enough evidence",
}
WORDS: dict[Verdict, str] = {"helps": "better", "hurts": "worse", "not shown": "not shown"}
"""The verdicts on a run, compared with another."""


def headlines(comparison: RunsComparison) -> list[Sentence]:
    """What the comparison shows, the most important first."""
    summary = comparison.summary
    pairs = summary.comparisons
    if len(pairs) == 1:
        return [Sentence(pairs[0].verdict, finding(pairs[0], summary))]
    verdicts = [entry for entry in pairs if entry.verdict != "not shown"]
    count = f"{len(verdicts)} of {plural(len(pairs), 'difference')} between the runs"
    sentences = [Sentence("none", f"{count} {'is' if len(verdicts) == 1 else 'are'} shown.")]
    for entry in verdicts[:MAX_SENTENCES]:
        sentences.append(Sentence(entry.verdict, finding(entry, summary)))
    return sentences


def finding(comparison: Comparison, summary: Summary) -> str:
    """The verdict on two runs, and its evidence."""
    words = wording_of(summary)
    statement = words.finding(comparison, summary)
    opening = OPENINGS[comparison.verdict]
    if words.measure.delta(comparison).ci95_total == (0.0, 0.0):
        opening = "No difference"
    return f"{opening}: {statement} ({evidence(comparison, summary)})."


def evidence(comparison: Comparison, summary: Summary) -> str:
    """Interval and p-value of a comparison."""
    words = wording_of(summary)
    seeds = len(words.measure.delta(comparison).per_seed)
    if comparison.p_value is None:
        return "one pair of seeds, so no interval"
    scope = f"{plural(seeds, 'pair')} of seeds and the {words.samples_in_interval}"
    parts = [f"95 % interval {words.interval(comparison)} over {scope}", p_value_of(comparison)]
    return "; ".join(parts)


def p_value_of(comparison: Comparison) -> str:
    """The p-value that decides, with its correction."""
    if comparison.p_holm is None:
        return p_value(comparison.p_value)
    return f"{p_value(comparison.p_holm)}, corrected"


def remarks(comparison: RunsComparison) -> list[str]:
    """How the runs were compared, and what else differs."""
    runs, pairs = comparison.runs, comparison.summary.comparisons
    lines = [_choice(comparison), _seeds(runs)]
    if len(pairs) > 1:
        lines.append(f"The verdicts are corrected for {len(pairs)} comparisons (Holm).")
    lines.append(_teachers(runs))
    lines += [_control(entry, comparison) for entry in comparison.controls]
    lines.append(_equal_controls(runs))
    lines += warnings(runs)
    return [line for line in lines if line]


def _choice(comparison: RunsComparison) -> str:
    if comparison.arm is not None:
        return f"Every run takes part with its arm {comparison.arm}."
    return (
        "Every run takes part with the arm of its headline, which its validation split chose, not "
        "the test split."
    )


def _seeds(runs: tuple[ComparedRun, ...]) -> str:
    seeds = {entry.run.name: sorted(entry.scores.values) for entry in runs}
    first = next(iter(seeds.values()))
    if all(numbers == first for numbers in seeds.values()):
        return f"The students are paired by seed ({_numbers(first)}) and by test sample."
    each = "; ".join(f"{name}: {_numbers(numbers)}" for name, numbers in seeds.items())
    return (
        f"The runs have different seeds ({each}). Equal seeds are pairs, the others are paired in "
        "their order, and surplus ones are left out. That is valid, but equal seeds show smaller "
        "differences."
    )


def _numbers(seeds: list[int]) -> str:
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _teachers(runs: tuple[ComparedRun, ...]) -> str:
    with_teacher = [entry.run for entry in runs if entry.run.summary.teacher is not None]
    if all(same_teacher(run, with_teacher[0]) for run in with_teacher):
        return ""
    return (
        "The runs have different teachers, so a difference may come from the teacher. "
        "teacher.from=RUN uses the teacher of another run."
    )


def _control(entry: Comparison, comparison: RunsComparison) -> str:
    """A sentence about two controls with the same settings and different results."""
    summary = comparison.summary
    delta = wording_of(summary).measure.delta(entry)
    if not any(delta.per_seed) and delta.ci95_total == (0.0, 0.0):
        return ""
    seeds = {name: list(values) for name, values in _control_seeds(comparison.runs).items()}
    why = "their seeds differ"
    if sorted(seeds[entry.arm]) == sorted(seeds[entry.control]):
        why = "the machine, its number of threads or a version differs"
    is_shown = entry.p_value is not None and entry.p_value < LEVEL
    effect = "This affects the comparison, too" if is_shown else "No difference is shown"
    words = wording_of(summary)
    return (
        f"The controls {entry.arm} and {entry.control} have the same settings, but {why}: "
        f"{words.change(entry)} {words.unit} ({evidence(entry, summary)}). {effect}."
    )


def _control_seeds(runs: tuple[ComparedRun, ...]) -> dict[str, list[int]]:
    return {
        entry.control_scores.name: list(entry.control_scores.values)
        for entry in runs
        if entry.control_scores is not None
    }


def _equal_controls(runs: tuple[ComparedRun, ...]) -> str:
    first = runs[0]
    if not all(same_setting(entry, first) and are_equal(entry, first) for entry in runs):
        return ""
    return (
        "The controls of all runs have the same settings and give the same results on every test "
        "sample."
    )


def warnings(runs: tuple[ComparedRun, ...]) -> list[str]:
    """What to know before trusting the comparison."""
    quick = [entry.run.name for entry in runs if entry.run.summary.quick]
    if not quick:
        return []
    return [f"Quick runs ({', '.join(quick)}) are smoke tests: do not draw conclusions from them."]


# Across data sets ---------------------------------------------------------------------------------


def ranking_headline(ranking: RunsRanking) -> Sentence:
    """What the ranks show."""
    test, datasets = ranking.test, len(ranking.runs)
    best = min(range(len(ranking.arms)), key=lambda arm: test.mean_ranks[arm])
    name, mean = ranking.arms[best], test.mean_ranks[best]
    result = f"{name} has the best mean rank, {mean:.2f}, over {datasets} data sets"
    kind = "sign test" if len(ranking.arms) == 2 else "Friedman's test"
    p = f"{kind}, {p_value(test.p_value)}"
    if not test.p_value < LEVEL:
        return Sentence("not shown", f"Not enough evidence that the arms differ: {result} ({p}).")
    worse = [
        ranking.arms[arm]
        for arm in range(len(ranking.arms))
        if test.mean_ranks[arm] - mean >= test.least_difference
    ]
    consequence = "It is not shown which arms differ"
    if worse:
        consequence = f"It is better than {', '.join(worse)} (Nemenyi's test)"
    return Sentence("helps", f"The arms differ: {result} ({p}). {consequence}.")


def ranking_remarks(ranking: RunsRanking) -> list[str]:
    """How the arms were ranked."""
    lines = [
        "On each data set, rank 1 is the arm with the best mean over seeds on the test split. The "
        "test regards the data sets as random; it needs many of them, and is rough with fewer than "
        "ten.",
        "If the arms differ at all, mean ranks that differ by "
        f"{ranking.test.critical_difference:.2f} or more are shown to differ, with 95 % confidence "
        "for all pairs of arms at once.",
    ]
    quick = [run.name for run in ranking.runs if run.summary.quick]
    if quick:
        lines.append(
            f"Quick runs ({', '.join(quick)}) are smoke tests: do not draw conclusions from them."
        )
    return lines
