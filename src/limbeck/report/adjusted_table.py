"""The results of students with constants added to their logits, as text.

These results are reported in addition to those of the students as trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.report.formats import MISSING, mean_and_sd, nats, percent
from limbeck.report.wording import Sentence, headline
from limbeck.run.metrics import AnyMetrics
from limbeck.run.summary import AdjustedSeedResult, ArmResult, SeedResult, Summary

_TITLES = {
    "prior": "With biases set by the class prior (no labels used)",
    "kappa": "With biases set by the quadratic kappa on the validation split",
}
_METHODS = {
    "prior": "set by the class prior",
    "kappa": "set on the validation split",
    "chosen on test": "chosen on the test split*",
}
NOTE = (
    "* These biases are chosen and scored on the same split, so this row is not a valid result. It "
    "shows the best that one constant for the absent classes could achieve."
)


@dataclass(frozen=True)
class AdjustedTable:
    """The results with constants added, ready to print.

    Attributes:
        title: Heading of the table.
        sentences: Verdicts of the comparisons.
        heading: Headings of the columns.
        rows: Cells of each row.
        note: Footnote; empty if none is needed.
    """

    title: str
    sentences: list[Sentence]
    heading: list[str]
    rows: list[list[str]]
    note: str


def adjusted_table(summary: Summary) -> AdjustedTable | None:
    """The results with constants added to the logits; None if the study has none."""
    methods = [entry.how for arm in summary.arms for entry in arm.adjusted or ()]
    if not methods:
        return None
    comparisons = summary.adjusted_comparisons or ()
    return AdjustedTable(
        title=_TITLES.get(methods[0], f"With biases set by {methods[0]}"),
        sentences=[Sentence(entry.verdict, headline(entry, summary)) for entry in comparisons],
        heading=_heading(summary),
        rows=_rows(summary),
        note=NOTE if "chosen on test" in methods else "",
    )


def _heading(summary: Summary) -> list[str]:
    columns = ["arm", "biases", "errors"]
    if _has_kappa(summary):
        columns.append("kappa")
    if _has_absent_classes(summary):
        columns.append("recall of absent classes")
    return columns


def _rows(summary: Summary) -> list[list[str]]:
    """Each arm as trained, then with its constants."""
    rows = []
    for arm in summary.arms:
        if not arm.adjusted:
            continue
        rows.append(_row(summary, arm, "as trained", arm.mean, arm.sd, arm.seeds))
        for entry in arm.adjusted:
            method = _METHODS.get(entry.how, entry.how)
            rows.append(_row(summary, arm, method, entry.mean, entry.sd, entry.seeds))
    return rows


def _row(
    summary: Summary,
    arm: ArmResult,
    method: str,
    mean: AnyMetrics,
    sd: AnyMetrics,
    seeds: Sequence[SeedResult | AdjustedSeedResult],
) -> list[str]:
    cells = [arm.name, method, mean_and_sd(mean.errors, sd.errors)]
    if _has_kappa(summary):
        cells.append(nats(getattr(mean, "kappa", None)))
    if _has_absent_classes(summary):
        cells.append(_recall(arm, seeds))
    return cells


def _has_kappa(summary: Summary) -> bool:
    return any(hasattr(arm.mean, "kappa") for arm in summary.arms)


def _has_absent_classes(summary: Summary) -> bool:
    return any(arm.absent for arm in summary.arms)


def _recall(arm: ArmResult, seeds: Sequence[SeedResult | AdjustedSeedResult]) -> str:
    """Mean recall of the absent classes over classes and seeds."""
    recalls = []
    for seed in seeds:
        for index in arm.absent:
            recall = None if seed.recall is None else seed.recall[index]
            if recall is not None:
                recalls.append(recall)
    if not recalls:
        return MISSING
    return percent(sum(recalls) / len(recalls))
