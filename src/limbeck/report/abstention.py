"""The table and the sentences about a student that may abstain, for the page and the model card."""

from limbeck.report.formats import percent, plural
from limbeck.run.abstention import Abstention
from limbeck.run.summary import Summary

HEADING = ("Errors among its answers", "Confidence", "Answered", "Errors, test")
CASCADE = ("Left to the teacher", "Errors of both, test")


def abstention_lead(summary: Summary) -> str:
    """Which student may abstain, and what is promised; empty if it is unknown."""
    content = summary.abstention
    if content is None:
        return ""
    student = f"{content.arm}, seed {content.seed}, the student that 'limbeck export' packs"
    if not content.rows:
        return (
            f"For {student}, no threshold of confidence keeps the errors below 5 % with a "
            f"probability of 95 %: {plural(summary.data.val, 'validation sample')} are too few, or "
            "it errs too often."
        )
    text = (
        f"If {student}, abstains below a confidence, its answers have at most the error rate of "
        "the first column, with a probability of 95 %, for inputs like the test samples. The "
        f"threshold comes from {plural(summary.data.val, 'validation sample')} and is corrected "
        f"for the choice among {plural(content.candidates, 'student')}."
    )
    if _has_cascade(content):
        text += " In the last column, the teacher answers the other samples."
    return text


def abstention_heading(content: Abstention) -> list[str]:
    """The headings of the columns."""
    return [*HEADING, *(CASCADE if _has_cascade(content) else ())]


def abstention_rows(content: Abstention, test_samples: int) -> list[list[str]]:
    """The cells of each error rate."""
    samples = max(test_samples, 1)
    rows = []
    for row in content.rows:
        cells = [
            f"at most {100 * row.error_rate:g} %",
            confidence(row.threshold),
            percent(row.answered / samples, 1),
            f"{row.errors:,} ({percent(row.errors / row.answered if row.answered else None)})",
        ]
        if row.cascade_errors is not None:
            cells += [percent(1 - row.answered / samples, 1), f"{row.cascade_errors:,}"]
        rows.append(cells)
    return rows


def confidence(threshold: float) -> str:
    """A threshold, rounded up: ``0.97``, ``0.99996``."""
    if threshold <= 0:
        return "any"
    digits = 2
    while digits < 7 and 1 - threshold < 10 ** (1 - digits):
        digits += 1
    step = 10**digits
    return f"{-(-threshold * step // 1) / step:.{digits}f}"


def _has_cascade(content: Abstention) -> bool:
    return any(row.cascade_errors is not None for row in content.rows)
