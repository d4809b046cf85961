"""The results of a study for the loggers of services."""

from pathlib import Path

from limbeck._base.printable import printable_record
from limbeck.report.measure_wording import wording_of
from limbeck.report.results_table import results_table
from limbeck.report.wording import headlines
from limbeck.run.summary import Summary
from limbeck.training.services.base import StudyResults

METRICS = {"errors": "errors", "bits_per_byte": "bits per byte", "accuracy": "accuracy"}
"""Metrics that are logged, the mean over seeds, with their names for people."""


def logged_results(summary: Summary, report: Path) -> StudyResults:
    """Return the results of a study as services show them.

    Args:
        summary: Summary of the study.
        report: Path of its report.
    """
    summary = printable_record(summary)
    table = results_table(summary)
    main = summary.main_comparison
    columns = ["arm", *(column.title for column in table.columns)]
    rows = [[row["name"], *(row[column.key] for column in table.columns)] for row in table.rows]
    warnings = [f"Warning: {warning}" for warning in summary.warnings]
    return StudyResults(
        metrics=_metrics(summary),
        columns=columns,
        rows=rows,
        verdict="none" if main is None else main.verdict,
        sentences=[*(text for _, text in headlines(summary)), *warnings],
        report=report,
    )


def _metrics(summary: Summary) -> dict[str, float]:
    models = {arm.name: arm.mean for arm in summary.arms}
    if summary.teacher is not None:
        models["teacher"] = summary.teacher.test
    metrics: dict[str, float] = {}
    for name, result in models.items():
        for key, title in METRICS.items():
            value = getattr(result, key, None)
            if value is not None:
                metrics[f"test {title}/{name}"] = float(value)
    main = summary.main_comparison
    if main is not None:
        change = wording_of(summary).measure.delta(main).mean
        metrics[f"test {wording_of(summary).unit}, change"] = change
    return metrics
