"""The sentences and the table about differences within a margin."""

from collections.abc import Sequence

from limbeck.evaluation.margin import ONE_SIDED_LEVEL
from limbeck.report.formats import percent
from limbeck.report.measure_wording import wording_of
from limbeck.run.comparison import Comparison, Interval, Replacement
from limbeck.run.summary import Summary

TEACHER = "the teacher"


def margin_text(summary: Summary) -> str:
    """The margin in words, such as ``50 errors (0.5 % of the test samples)``."""
    assert summary.margin is not None
    words = wording_of(summary)
    text = f"{words.difference(summary.margin)} {words.unit}"
    if words.measure.key == "errors" and summary.data.test:
        share = percent(summary.margin / summary.data.test, 2)
        text += f" ({share} of the test samples)"
    return text


def margin_clause(summary: Summary) -> str:
    """The margin behind ``equivalent`` and ``not worse``; empty in a file that lacks it."""
    if summary.margin is None:
        return ""
    words = wording_of(summary)
    return f"the margin is {words.difference(summary.margin)} {words.unit}"


def margin_remark(comparison: Comparison, summary: Summary) -> str:
    """What the margin adds to a verdict; empty without a margin."""
    test = comparison.margin_test
    if test is None or summary.margin is None:
        return ""
    margin = margin_text(summary)
    if comparison.verdict == "not worse":
        return "Whether it is better is open."
    if comparison.verdict in ("helps", "hurts") and test.p_equivalent < ONE_SIDED_LEVEL:
        return f"The difference is smaller than the margin of {margin}."
    if comparison.verdict == "not shown":
        return f"Nor is it shown that the arm is not worse by the margin of {margin}."
    return ""


def replacement_sentences(summary: Summary) -> list[str]:
    """Which is the smallest student that can replace the teacher, and the largest student."""
    if summary.margin is None:
        return []
    by_reference: dict[str | None, list[Replacement]] = {}
    for entry in summary.replacements or ():
        by_reference.setdefault(entry.reference, []).append(entry)
    return [_sentence(entries, summary) for entries in by_reference.values()]


def _sentence(entries: Sequence[Replacement], summary: Summary) -> str:
    reference = entries[0].reference or TEACHER
    margin = margin_text(summary)
    for entry in entries:  # the smallest first
        if entry.verdict in ("equivalent", "not worse"):
            size = f"{summary.arm(entry.arm).params:,} parameters"
            return (
                f"The smallest student that is not worse than {reference} by {margin} is "
                f"{entry.arm}, with {size}."
            )
    worse = [entry.arm for entry in entries if entry.verdict == "worse"]
    if len(worse) == len(entries):
        return f"Every student is worse than {reference} by more than {margin}."
    return f"No student is shown to be as good as {reference} within {margin}."


def replacement_rows(summary: Summary) -> list[list[str]]:
    """The cells of each test: arm, reference, parameters, difference, interval and verdict."""
    rows = []
    for entry in summary.replacements or ():
        rows.append(
            [
                entry.arm,
                entry.reference or TEACHER,
                f"{summary.arm(entry.arm).params:,}",
                wording_of(summary).difference(entry.delta, signed=True),
                _interval(entry.ci95, summary),
                entry.verdict,
            ]
        )
    return rows


def _interval(interval: Interval, summary: Summary) -> str:
    words = wording_of(summary)
    return " to ".join(words.difference(bound) for bound in interval)
