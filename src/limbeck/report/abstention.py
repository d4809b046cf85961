"""The table and the sentences about a student that may abstain, for the page and the model card."""

from limbeck.report.formats import milliseconds, percent, plural
from limbeck.run.abstention import Abstention, AbstentionRow
from limbeck.run.cost import Cost, CostRow
from limbeck.run.summary import Summary

HEADING = ("Errors among its answers", "Confidence", "Answered", "Errors, test")
CASCADE = ("Left to the teacher", "Errors of both, test")
TIME = "Time of both"


def abstention_lead(summary: Summary, cost: Cost | None = None) -> str:
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
        text += " In the last columns, the teacher answers the other samples."
    models = _measured_models(summary, cost)
    if models is not None:
        student_time, teacher_time = (milliseconds(row.one_core.median) for row in models)
        text += (
            f" On one core the student takes {student_time} for an input, and the teacher "
            f"{teacher_time}. Both together take the student's time, plus the teacher's for the "
            "share that is left to it."
        )
    return text


def abstention_heading(summary: Summary, cost: Cost | None = None) -> list[str]:
    """The headings of the columns."""
    heading = list(HEADING)
    if summary.abstention is not None and _has_cascade(summary.abstention):
        heading += CASCADE
        if _measured_models(summary, cost) is not None:
            heading.append(TIME)
    return heading


def abstention_rows(summary: Summary, cost: Cost | None = None) -> list[list[str]]:
    """The cells of each error rate.

    Args:
        summary: Summary of the study.
        cost: Cost of running its models, if it was measured.
    """
    content = summary.abstention
    samples = max(summary.data.test, 1)
    models = _measured_models(summary, cost)
    rows = []
    for row in () if content is None else content.rows:
        cells = [
            f"at most {100 * row.error_rate:g} %",
            confidence(row.threshold),
            percent(row.answered / samples, 1),
            f"{row.errors:,} ({percent(row.errors / row.answered if row.answered else None)})",
        ]
        if row.cascade_errors is not None:
            cells += [percent(_left(row, samples), 1), f"{row.cascade_errors:,}"]
            if models is not None:
                student, teacher = (model.one_core.median for model in models)
                cells.append(milliseconds(student + _left(row, samples) * teacher))
        rows.append(cells)
    return rows


def _left(row: AbstentionRow, samples: int) -> float:
    """The share of the samples that the teacher answers."""
    return 1 - row.answered / samples


def _measured_models(summary: Summary, cost: Cost | None) -> tuple[CostRow, CostRow] | None:
    """The costs of the student that may abstain and of the teacher, both in one runtime."""
    if cost is None or summary.abstention is None:
        return None
    kind = summary.arm(summary.abstention.arm).student
    for runtime in ("onnx", "torch"):
        rows = [row for row in cost.rows if (row.runtime, row.precision) == (runtime, "fp32")]
        students = [row for row in rows if row.model != "teacher" and row.kind == kind]
        teachers = [row for row in rows if row.model == "teacher"]
        if students and teachers:
            return students[0], teachers[0]
    return None


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
