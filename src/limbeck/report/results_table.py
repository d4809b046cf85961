"""The results table, the same for the page and the terminal."""

from dataclasses import asdict, dataclass
from typing import Any

from limbeck.report.formats import FORMATS, is_number
from limbeck.report.measure_wording import wording_of
from limbeck.report.wording_base import Column
from limbeck.run.summary import Summary


@dataclass(frozen=True)
class ResultsTable:
    """The results of teacher and arms as text.

    Attributes:
        columns: Columns that hold a number in some row.
        rows: Cells by column, and the name of the row as ``name``; the teacher, if there is one,
            is the first.
    """

    columns: list[Column]
    rows: list[dict[str, str]]


def results_table(summary: Summary) -> ResultsTable:
    """Format the results of a study."""
    words = wording_of(summary)
    results = _numbers(summary)
    columns = [
        column
        for column in words.columns
        if column.always or any(is_number(row.get(column.key)) for row in results)
    ]
    key = words.measure.key
    rows = []
    for result in results:
        row = {"name": result["name"]}
        for column in columns:
            row[column.key] = FORMATS[column.kind](result.get(column.key))
        row[key] = words.mean_and_sd(result.get(key), result["sd"])
        rows.append(row)
    return ResultsTable(columns, rows)


def _numbers(summary: Summary) -> list[dict[str, Any]]:
    """Name, metrics, training time and standard deviation of each row."""
    key = wording_of(summary).measure.key
    rows: list[dict[str, Any]] = []
    if summary.teacher is not None:
        row = asdict(summary.teacher.test)
        row |= {"name": "teacher", "sd": getattr(summary.teacher.sd, key, None)}
        row |= {"seconds": summary.seconds.teacher or None}
        row |= {"agreement": None, "kl_to_teacher": None, "distance_to_teacher": None}
        rows.append(row)
    for arm in summary.arms:
        row = asdict(arm.mean)
        row |= {"name": arm.name, "sd": getattr(arm.sd, key, None), "seconds": arm.seconds}
        rows.append(row)
    return rows
