"""The gate: an exported model must answer the whole test split like its student, or it is not
written.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FP32_DIFFERENCE = 1e-4
"""Largest difference of logits, as a share of the sample's largest logit (of 1 at least)."""
FEW = 5
"""Errors that quantisation may add if there are a hundred times as many samples, or ten times as
many in a class.
"""
CLASS_SHARE = 0.01
"""Of a class's samples: errors that quantisation may add there, if that is more."""


@dataclass(frozen=True)
class Stage:
    """One step of the way from the student to the device, beside the step before it.

    Attributes:
        name: of the step.
        errors: on the test split.
        difference: the largest distance of a logit from the reference.
        changed: samples whose top class is another, near ties apart where nothing else may change.
        failures: what is not as it must be; none if all is well.
    """

    name: str
    errors: int
    difference: float
    changed: int
    failures: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all is as it must be."""
        return not self.failures


def same_answers(name: str, logits: np.ndarray, reference: np.ndarray, labels: np.ndarray) -> Stage:
    """A step that must change nothing: the same logits but for rounding, top classes and errors.

    A sample whose two best scores are closer in the reference than rounding may move them is a tie;
    it may fall either way.

    Args:
        name: of the step.
        logits: ``[N, classes]``.
        reference: likewise, of the step before.
        labels: ``[N]``.
    """
    allowed = FP32_DIFFERENCE * np.abs(reference).max(1).clip(1)
    away = np.abs(logits.astype(np.float64) - reference).max(1)
    best = np.partition(reference, -2, axis=1)
    tied = best[:, -1] - best[:, -2] <= 2 * allowed
    changed = (logits.argmax(1) != reference.argmax(1)) & ~tied
    wrong, before = logits.argmax(1) != labels, reference.argmax(1) != labels
    failures = []
    if not (away <= allowed).all():
        worst = int(np.argmax(np.where(np.isnan(away), np.inf, away / allowed)))
        failures.append(
            f"logits differ by up to {away[worst]:.3g} where {allowed[worst]:.2g} is allowed"
        )
    if changed.any():
        failures.append(f"{changed.sum()} top classes are others, none may be")
    if wrong[~tied].sum() != before[~tied].sum():
        failures.append(f"{wrong[~tied].sum()} errors instead of {before[~tied].sum()}")
    return Stage(
        name, int(wrong.sum()), _distance(logits, reference), int(changed.sum()), tuple(failures)
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
    """A step that may cost a little, in all and in every class.

    Args:
        name: of the step.
        logits: ``[N, classes]``.
        reference: likewise, of the step before.
        labels: ``[N]``.
        share: of the samples: errors that may be added in all, if that is more than a few; 0 for
            none.
        class_names: in the order of the logits.
    """
    wrong, before = logits.argmax(1) != labels, reference.argmax(1) != labels
    failures = []
    if not np.isfinite(logits).all():
        failures.append("some logits are infinite or not a number")
    most = max(int(share * len(labels)), min(FEW, len(labels) // 100)) if share else 0
    if (more := int(wrong.sum()) - int(before.sum())) > most:
        failures.append(f"{more} errors more, {most} are allowed")
    for k, class_name in enumerate(class_names):
        own = labels == k
        most = max(int(CLASS_SHARE * own.sum()), min(FEW, int(own.sum()) // 10))
        if (more := int(wrong[own].sum()) - int(before[own].sum())) > most:
            failures.append(f"{more} errors more in class {class_name}, {most} are allowed")
    changed = int((logits.argmax(1) != reference.argmax(1)).sum())
    return Stage(name, int(wrong.sum()), _distance(logits, reference), changed, tuple(failures))


def _distance(logits: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(logits.astype(np.float64) - reference).max())


def table(stages: Sequence[Stage], samples: int) -> str:
    """The stages as lines of text."""
    rows = [("stage", f"errors of {samples:,}", "largest difference", "top class changed", "")]
    rows += [
        (
            s.name,
            str(s.errors),
            f"{s.difference:.2g}",
            str(s.changed),
            "ok" if s.passed else "; ".join(s.failures),
        )
        for s in stages
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  "
        + "  ".join(f"{row[k]:>{widths[k]}}" for k in (1, 2, 3))
        + f"  {row[4]}"
        for row in rows
    )
