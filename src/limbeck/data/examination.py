"""Examination of a dataset: copies across splits, absent classes, labels from 1, columns that give
the label away.
"""

from collections.abc import Iterator

import torch

from limbeck.data.arrays import row_hashes
from limbeck.data.checks import join_some
from limbeck.data.dataset import Dataset
from limbeck.data.near_copies import NearCopies, near_copies
from limbeck.data.near_texts import near_texts
from limbeck.data.tables.revealing import revealing_columns
from limbeck.run.finding import NOTE, STOP, WARNING, Finding

MAX_FALSE_COPIES = 0.001
"""Share of near copies below which nothing is said, because some are so by chance."""


def examine_data(data: Dataset) -> list[Finding]:
    """Examine a dataset; of the test split only its inputs and the classes that it has are used.

    Args:
        data: Dataset of the study. Of text only the sizes are named.

    Returns:
        The findings.
    """
    sizes = (
        f"{len(data.train):,} training, {len(data.val):,} validation and {data.test_size:,} test "
        "samples."
    )
    findings: list[Finding] = []
    if data.positions is None:
        findings = [*_classes(data), *_copies(data), *_revealing(data)]
    if not findings:
        text = f"{data.name} has {sizes}"
        findings.append(_finding(NOTE, text))
    return findings


def _finding(level: str, text: str, evidence: str = "", remedy: str = "") -> Finding:
    return Finding(level=level, subject="data", text=text, evidence=evidence, remedy=remedy)


def _classes(data: Dataset) -> Iterator[Finding]:
    if not data.kind.has_classes:
        return
    absent = data.absent_classes()
    everywhere = set.intersection(*(set(numbers) for numbers in absent.values()))
    if everywhere == {0} and data.classes > 2:
        yield _finding(
            STOP,
            "No sample has class 0, so the labels seem to be numbered from 1.",
            f"All splits have the classes 1 to {data.classes - 1} only.",
            "subtract 1 from all labels, y - 1",
        )
        return
    for split, numbers in absent.items():
        if numbers:
            names = join_some([data.class_names[number] for number in numbers])
            yield _finding(
                WARNING,
                f"{_count(len(numbers), 'class has', 'classes have')} no {split} sample: {names}.",
                f"The {split} split has {data.classes - len(numbers)} of {data.classes} classes.",
                _advice_about(split),
            )


def _advice_about(split: str) -> str:
    if split == "training":
        return "add samples, or remove the class from the data"
    return f"use a larger {split} split (data.{'val' if split == 'validation' else 'test'}=)"


def _copies(data: Dataset) -> Iterator[Finding]:
    if data.columns is not None:
        yield from _equal_rows(data)
    if data.padding is not None:
        yield from _near_texts(data, data.padding)
    is_image = data.train.inputs.dtype == torch.uint8 and data.train.inputs.ndim == 4
    if not is_image:
        return
    splits = {"validation": data.val.inputs, "test": data.test_inputs}
    for split, copies in near_copies(data.train.inputs, splits).items():
        if copies.share > MAX_FALSE_COPIES:
            yield _finding(
                WARNING,
                f"{len(copies.rows):,} of {copies.queries:,} {split} images are nearly the same as "
                "training images.",
                f"Compared with {copies.images:,} training images at {_pairs(copies)} About 1 of "
                "4,000 different images is by chance.",
                "remove them from one of the two splits, or split by patient, film or place",
            )


def _near_texts(data: Dataset, padding: int) -> Iterator[Finding]:
    splits = {"validation": data.val.inputs, "test": data.test_inputs}
    for name, copies in near_texts(data.train.inputs, splits, padding).items():
        if copies.share > MAX_FALSE_COPIES:
            yield _finding(
                WARNING,
                f"{len(copies.rows):,} of {copies.queries:,} {name} texts are nearly the same as "
                "training texts.",
                f"Compared with {copies.images:,} training texts: at least 70 % of three "
                "consecutive tokens are the same.",
                "remove them from one of the two splits, or keep texts of one author or document "
                "in one split (data.group=COLUMN)",
            )


def _equal_rows(data: Dataset) -> Iterator[Finding]:
    train = row_hashes(data.train.inputs)
    for split, inputs in (("validation", data.val.inputs), ("test", data.test_inputs)):
        copies = int(torch.isin(row_hashes(inputs), train).sum())
        if copies:
            yield _finding(
                WARNING,
                f"{copies:,} of {len(inputs):,} {split} rows are equal to training rows.",
                "Rows with few columns may be equal by chance; otherwise the test measures memory.",
                "keep rows of one person, machine or day in one split (data.group=COLUMN)",
            )


def _revealing(data: Dataset) -> Iterator[Finding]:
    for column in revealing_columns(data):
        yield _finding(
            WARNING,
            f"Column {column.name} predicts the label alone, {column.quality}.",
            "It may be a copy of the label, or be known only after it.",
            f"if so, leave it out with data.ignore=[{column.name}]",
        )


def _pairs(copies: NearCopies) -> str:
    rows = [f"{row} and {train}" for row, train in copies.rows[:3]]
    return f"16 x 16 pixels; such rows are {'; '.join(rows)}."


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
