"""Gate of the export: a model is written only if its test outputs match those of the student."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FP32_DIFFERENCE = 1e-4
"""Largest difference of logits, as a share of the sample's largest logit (of 1 at least)."""
ERROR_ALLOWANCE = 5
"""Additional errors that are always allowed, up to 1 % of all samples and 10 % of a class."""
CLASS_SHARE = 0.01
"""Allowed share of additional errors in a class, if that is more."""


@dataclass(frozen=True)
class Stage:
    """One stage of the export, compared with the stage before it.

    Attributes:
        name: Name of the stage.
        errors: Number of errors on the test split.
        max_difference: Largest absolute difference between logits and reference.
        class_changes: Number of samples whose top class changed. Where no class may change, near
            ties are not counted.
        failures: Reasons why the stage fails, empty if it passes.
    """

    name: str
    errors: int
    max_difference: float
    class_changes: int
    failures: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the model may be written."""
        return not self.failures


def check_same_outputs(
    name: str, logits: np.ndarray, reference: np.ndarray, labels: np.ndarray
) -> Stage:
    """Check that a stage has the same top classes and errors, and logits equal up to rounding.

    If rounding can swap the two largest logits of a sample in the reference, they count as a tie,
    and either may be the top class.

    Args:
        name: Name of the stage.
        logits: Logits of this stage, ``[N, classes]``.
        reference: Logits of the previous stage, ``[N, classes]``.
        labels: Integer labels, ``[N]``.
    """
    allowed = FP32_DIFFERENCE * np.abs(reference).max(1).clip(1)
    distance = np.abs(logits.astype(np.float64) - reference).max(1)
    largest = np.partition(reference, -2, axis=1)
    is_tie = largest[:, -1] - largest[:, -2] <= 2 * allowed
    has_changed = (logits.argmax(1) != reference.argmax(1)) & ~is_tie
    is_wrong = logits.argmax(1) != labels
    is_reference_wrong = reference.argmax(1) != labels

    failures = []
    if not (distance <= allowed).all():
        excess = np.where(np.isnan(distance), np.inf, distance / allowed)
        worst = int(np.argmax(excess))
        failures.append(
            f"logits differ by up to {distance[worst]:.3g}, {allowed[worst]:.2g} is allowed"
        )
    if has_changed.any():
        failures.append(f"{has_changed.sum()} top classes changed, none may change")
    if is_wrong[~is_tie].sum() != is_reference_wrong[~is_tie].sum():
        failures.append(
            f"{is_wrong[~is_tie].sum()} errors instead of {is_reference_wrong[~is_tie].sum()}"
        )
    return Stage(
        name,
        errors=int(is_wrong.sum()),
        max_difference=_largest_difference(logits, reference),
        class_changes=int(has_changed.sum()),
        failures=tuple(failures),
    )


def check_similar_outputs(
    name: str,
    logits: np.ndarray,
    reference: np.ndarray,
    labels: np.ndarray,
    *,
    share: float,
    class_names: Sequence[str],
) -> Stage:
    """Check that a stage adds at most a few errors, overall and in each class.

    Args:
        name: Name of the stage.
        logits: Logits of this stage, ``[N, classes]``.
        reference: Logits of the previous stage, ``[N, classes]``.
        labels: Integer labels, ``[N]``.
        share: Allowed share of additional errors, if that is more than a few. 0 allows none.
        class_names: Names of the classes, in the order of the logits.
    """
    is_wrong = logits.argmax(1) != labels
    is_reference_wrong = reference.argmax(1) != labels
    failures = []
    if not np.isfinite(logits).all():
        failures.append("some logits are infinite or NaN")

    allowed = 0
    if share:
        allowed = max(int(share * len(labels)), min(ERROR_ALLOWANCE, len(labels) // 100))
    added = int(is_wrong.sum()) - int(is_reference_wrong.sum())
    if added > allowed:
        failures.append(f"{added} more errors, {allowed} are allowed")

    for number, class_name in enumerate(class_names):
        in_class = labels == number
        samples = int(in_class.sum())
        allowed = max(int(CLASS_SHARE * samples), min(ERROR_ALLOWANCE, samples // 10))
        added = int(is_wrong[in_class].sum()) - int(is_reference_wrong[in_class].sum())
        if added > allowed:
            failures.append(f"{added} more errors in class {class_name}, {allowed} are allowed")
    return Stage(
        name,
        errors=int(is_wrong.sum()),
        max_difference=_largest_difference(logits, reference),
        class_changes=int((logits.argmax(1) != reference.argmax(1)).sum()),
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
            (
                stage.name,
                str(stage.errors),
                f"{stage.max_difference:.2g}",
                str(stage.class_changes),
                result,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, errors, difference, class_changes, result in rows:
        cells = [
            name.ljust(widths[0]),
            errors.rjust(widths[1]),
            difference.rjust(widths[2]),
            class_changes.rjust(widths[3]),
            result,
        ]
        lines.append("  ".join(cells))
    return "\n".join(lines)
