"""Gate of the export: a model is written only if it answers the test split like its student."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FP32_DIFFERENCE = 1e-4
"""Largest difference of logits, as a share of the sample's largest logit (of 1 at least)."""
FEW = 5
"""Errors that quantisation may always add, up to 1 % of all samples and 10 % of a class."""
CLASS_SHARE = 0.01
"""Share of a class's samples that quantisation may additionally get wrong, if that is more."""


@dataclass(frozen=True)
class Stage:
    """One stage of the export, compared with the stage before it.

    Attributes:
        name: Name of the stage.
        errors: Number of errors on the test split.
        difference: Largest absolute difference of a logit from the reference.
        changed: Number of samples whose top class changed. Stages that must not change anything
            do not count near ties.
        failures: Reasons why the stage fails, empty if it passes.
    """

    name: str
    errors: int
    difference: float
    changed: int
    failures: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the model may be written."""
        return not self.failures


def same_answers(name: str, logits: np.ndarray, reference: np.ndarray, labels: np.ndarray) -> Stage:
    """Check a stage that must change nothing: logits up to rounding, top classes and errors.

    If the two largest logits of a sample are closer in the reference than rounding can move them,
    they are a tie and either may win.

    Args:
        name: Name of the stage.
        logits: Logits of this stage, ``[N, classes]``.
        reference: Logits of the stage before, ``[N, classes]``.
        labels: Integer labels, ``[N]``.
    """
    allowed = FP32_DIFFERENCE * np.abs(reference).max(1).clip(1)
    distance = np.abs(logits.astype(np.float64) - reference).max(1)
    largest = np.partition(reference, -2, axis=1)
    tied = largest[:, -1] - largest[:, -2] <= 2 * allowed
    changed = (logits.argmax(1) != reference.argmax(1)) & ~tied
    wrong = logits.argmax(1) != labels
    reference_wrong = reference.argmax(1) != labels

    failures = []
    if not (distance <= allowed).all():
        excess = np.where(np.isnan(distance), np.inf, distance / allowed)
        worst = int(np.argmax(excess))
        failures.append(
            f"logits differ by up to {distance[worst]:.3g}, {allowed[worst]:.2g} is allowed"
        )
    if changed.any():
        failures.append(f"{changed.sum()} top classes changed, none may change")
    if wrong[~tied].sum() != reference_wrong[~tied].sum():
        failures.append(f"{wrong[~tied].sum()} errors instead of {reference_wrong[~tied].sum()}")
    return Stage(
        name,
        errors=int(wrong.sum()),
        difference=_largest_difference(logits, reference),
        changed=int(changed.sum()),
        failures=tuple(failures),
    )


def similar_answers(
    name: str,
    logits: np.ndarray,
    reference: np.ndarray,
    labels: np.ndarray,
    *,
    share: float,
    class_names: Sequence[str],
) -> Stage:
    """Check a stage that may add a few errors, overall and in each class.

    Args:
        name: Name of the stage.
        logits: Logits of this stage, ``[N, classes]``.
        reference: Logits of the stage before, ``[N, classes]``.
        labels: Integer labels, ``[N]``.
        share: Share of the samples that may additionally be wrong, if that is more than a few.
            0 allows no additional error.
        class_names: Names of the classes, in the order of the logits.
    """
    wrong = logits.argmax(1) != labels
    reference_wrong = reference.argmax(1) != labels
    failures = []
    if not np.isfinite(logits).all():
        failures.append("some logits are infinite or NaN")

    allowed = 0
    if share:
        allowed = max(int(share * len(labels)), min(FEW, len(labels) // 100))
    added = int(wrong.sum()) - int(reference_wrong.sum())
    if added > allowed:
        failures.append(f"{added} more errors, {allowed} are allowed")

    for number, class_name in enumerate(class_names):
        in_class = labels == number
        samples = int(in_class.sum())
        allowed = max(int(CLASS_SHARE * samples), min(FEW, samples // 10))
        added = int(wrong[in_class].sum()) - int(reference_wrong[in_class].sum())
        if added > allowed:
            failures.append(f"{added} more errors in class {class_name}, {allowed} are allowed")
    return Stage(
        name,
        errors=int(wrong.sum()),
        difference=_largest_difference(logits, reference),
        changed=int((logits.argmax(1) != reference.argmax(1)).sum()),
        failures=tuple(failures),
    )


def _largest_difference(logits: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(logits.astype(np.float64) - reference).max())


def table(stages: Sequence[Stage], samples: int) -> str:
    """Format the stages as a table.

    Args:
        stages: Stages of the export.
        samples: Number of test samples.
    """
    rows = [("stage", f"errors of {samples:,}", "largest difference", "top class changed", "")]
    for stage in stages:
        result = "ok" if stage.passed else "; ".join(stage.failures)
        rows.append(
            (stage.name, str(stage.errors), f"{stage.difference:.2g}", str(stage.changed), result)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, errors, difference, changed, result in rows:
        cells = [
            name.ljust(widths[0]),
            errors.rjust(widths[1]),
            difference.rjust(widths[2]),
            changed.rjust(widths[3]),
            result,
        ]
        lines.append("  ".join(cells))
    return "\n".join(lines)
