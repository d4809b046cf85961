"""Tables of a model card: columns, arms, stages of the export, confidences and recall."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from limbeck.data import TableColumns
from limbeck.deploy.calibration import operating_points
from limbeck.deploy.markdown import first_names, plain, table
from limbeck.deploy.stage import Stage
from limbeck.evaluation.abstention import answers_of
from limbeck.report.abstention import confidence
from limbeck.report.formats import FORMATS, percent
from limbeck.report.measure_wording import wording_of
from limbeck.report.objectives import objective
from limbeck.report.overview import main_column
from limbeck.run.summary import Summary

MAX_ARMS, MAX_CLASSES, MAX_COLUMNS = 20, 10, 100
"""Limits of the arms, of the classes with recall, and of the columns of a table."""


def columns_table(columns: TableColumns) -> str:
    """Return the columns of the data, at most 100, each with its values."""
    rows = [["column", "values"]]
    pairs = zip(columns.names, columns.categories, strict=True)
    for name, categories in itertools.islice(pairs, MAX_COLUMNS):
        rows.append([plain(name), "numbers" if categories is None else first_names(categories)])
    return table(rows)


def arms_table(summary: Summary, exported_arm: str) -> str:
    """Return the arms of a study with their test results, the exported one in bold."""
    words = wording_of(summary)
    measure, column = words.measure, main_column(words)
    titles = ["test errors", "accuracy"]
    if measure.key != "errors":
        titles = [words.title_in_sentence, column.title]
    rows = [["arm", "learns from", *titles]]
    for arm in summary.arms[:MAX_ARMS]:
        name = plain(arm.name)
        if arm.name == exported_arm:
            name = f"**{name}**"
        rows.append(
            [
                name,
                plain(objective(arm.objective)),
                words.mean_and_sd(measure.value(arm.mean), measure.value(arm.sd)),
                FORMATS[column.kind](getattr(arm.mean, column.key, None)),
            ]
        )
    return table(rows)


def stages_table(stages: Sequence[Stage]) -> str:
    """Return the stages of the export with their test results and differences."""
    first = stages[0]
    if first.squared_error is not None:
        rows = [["stage", "squared error", "largest difference, standard deviations"]]
        for stage in stages:
            rows.append([stage.name, f"{stage.squared_error:.4f}", f"{stage.max_difference:.2g}"])
        return table(rows)
    if first.missed_neighbours is not None:
        rows = [["stage", "nearest texts missed of 10", "largest difference"]]
        for stage in stages:
            missed = f"{stage.missed_neighbours:.3f}"
            rows.append([stage.name, missed, f"{stage.max_difference:.2g}"])
        return table(rows)
    errors, changes = "test errors", "top class changed"
    if first.predictions is not None:
        errors, changes = "wrong labels", "labels changed"
    rows = [["stage", errors, "largest difference of logits", changes]]
    for stage in stages:
        rows.append(
            [
                stage.name,
                f"{stage.errors:,}",
                f"{stage.max_difference:.2g}",
                f"{stage.class_changes:,}",
            ]
        )
    return table(rows)


def coverage_table(logits: np.ndarray, labels: np.ndarray, temperature: float) -> str:
    """Return coverage and error rate at several minimum confidences.

    Args:
        logits: Logits of the validation samples, ``[N, classes]``.
        labels: Integer labels, ``[N]``.
        temperature: Temperature that divides the logits.
    """
    rows = [["minimum confidence", "coverage", "error rate"]]
    for point in operating_points(logits, labels, temperature):
        coverage = percent(point.coverage, 1)
        error_rate = percent(point.error_rate if point.coverage else None)
        rows.append([f"{point.threshold:g}", coverage, error_rate])
    return table(rows)


def guarantees_table(
    thresholds: Mapping[str, float], logits: np.ndarray, labels: np.ndarray, temperature: float
) -> str:
    """Return the confidences above which an error rate is guaranteed, with their coverage.

    Args:
        thresholds: Minimum confidence by error rate, such as ``1%``.
        logits: Logits of the validation samples, ``[N, classes]``.
        labels: Integer labels, ``[N]``.
        temperature: Temperature that divides the logits.
    """
    answers = answers_of(logits, labels, temperature)
    rows = [["error rate of the answers", "minimum confidence", "coverage"]]
    for rate, threshold in thresholds.items():
        _, count = answers.errors_above(threshold)
        coverage = percent(count / len(labels), 1)
        rows.append([f"at most {rate.removesuffix('%')} %", confidence(threshold), coverage])
    return table(rows)


def recall_table(logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> str:
    """Return the classes with the lowest recall, at most ten.

    Args:
        logits: Logits of the validation samples, ``[N, classes]``.
        labels: Integer labels, ``[N]``.
        class_names: Names of the classes, in the order of the logits.
    """
    is_correct = logits.argmax(1) == labels
    recalls = []
    for number, name in enumerate(class_names):
        in_class = labels == number
        if in_class.any():
            recalls.append((float(is_correct[in_class].mean()), number, name, int(in_class.sum())))
    rows = [["class", "validation samples", "recall"]]
    for recall, _, name, samples in sorted(recalls)[:MAX_CLASSES]:
        rows.append([plain(name), f"{samples:,}", percent(recall, 1)])
    return table(rows)
