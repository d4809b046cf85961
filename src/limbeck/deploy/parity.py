"""Gate of the export: a model is written only if its test outputs match those of the student."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from limbeck._base.errors import ExportError
from limbeck.data import Dataset, Split
from limbeck.deploy.stage import Stage
from limbeck.deploy.vectors import VectorGate
from limbeck.evaluation.labels import wrong_labels
from limbeck.evaluation.regression import squared_errors

FP32_DIFFERENCE = 1e-4
"""Largest difference of logits, as a share of the sample's largest logit (of 1 at least)."""
ERROR_ALLOWANCE = 5
"""Additional errors that are always allowed, up to 1 % of all samples and 10 % of a class."""
CLASS_SHARE = 0.01
"""Allowed share of additional errors in a class, if that is more."""
ERROR_SHARE = 0.01
"""Allowed share of additional squared error of a regression, if that is more."""
ROUNDING = 1e-6
"""Largest difference of values by rounding, as a share of their size."""


class Gate(Protocol):
    """Checks of the outputs of each stage on a split, which is the test split at last."""

    def check_same(self, name: str, outputs: np.ndarray, reference: np.ndarray) -> Stage:
        """Check that outputs are those of the stage before, up to rounding."""

    def check_similar(self, name: str, outputs: np.ndarray, reference: np.ndarray) -> Stage:
        """Check that outputs are hardly worse than those of the stage before."""


def gate_of(data: Dataset, split: Split, *, share: float) -> Gate:
    """Return the gate for a split of a dataset.

    Args:
        data: Dataset of the run.
        split: Split whose outputs are compared.
        share: Allowed share of additional errors of an 8-bit model. 0 allows none.
    """
    labels = split.labels.numpy()
    if data.target_scale is not None:
        return ValueGate(labels, data.target_scale, share)
    if data.kind.outputs == "vectors":
        return VectorGate()
    if not data.kind.has_classes:
        return LabelGate(labels, share)
    return ClassGate(labels, data.class_names, share)


@dataclass(frozen=True)
class ClassGate:
    """Gate of a classifier.

    Attributes:
        labels: Integer labels, ``[N]``.
        class_names: Names of the classes, in the order of the logits.
        share: Allowed share of additional errors of an 8-bit model.
    """

    labels: np.ndarray
    class_names: Sequence[str]
    share: float

    def check_same(self, name: str, outputs: np.ndarray, reference: np.ndarray) -> Stage:
        """See :func:`check_same_outputs`."""
        return check_same_outputs(name, outputs, reference, self.labels)

    def check_similar(self, name: str, outputs: np.ndarray, reference: np.ndarray) -> Stage:
        """See :func:`check_similar_outputs`."""
        return check_similar_outputs(
            name,
            outputs,
            reference,
            self.labels,
            share=self.share,
            class_names=self.class_names,
        )


@dataclass(frozen=True)
class LabelGate:
    """Gate of a model of several labels.

    Attributes:
        labels: Labels of the split, ``[N, L]``.
        share: Allowed share of additional wrong labels of an 8-bit model.
    """

    labels: np.ndarray
    share: float

    def check_same(self, name: str, outputs: np.ndarray, reference: np.ndarray) -> Stage:
        """Check that logits are equal up to rounding."""
        allowed = FP32_DIFFERENCE * np.abs(reference).max(1, keepdims=True).clip(1)
        failures: tuple[str, ...] = ()
        if not (np.abs(outputs.astype(np.float64) - reference) <= allowed).all():
            failures = (f"logits differ by up to {_largest_difference(outputs, reference):.3g}",)
        return self._stage(name, outputs, reference, failures)

    def check_similar(self, name: str, outputs: np.ndarray, reference: np.ndarray) -> Stage:
        """Check that there are at most a few more wrong labels."""
        allowed = 0
        if self.share:
            few = min(ERROR_ALLOWANCE, self.labels.size // 100)
            allowed = max(int(self.share * self.labels.size), few)
        added = self._errors(outputs) - self._errors(reference)
        failures: list[str] = []
        if not np.isfinite(outputs).all():
            failures.append("some logits are infinite or NaN")
        if added > allowed:
            failures.append(f"{added} more wrong labels, {allowed} are allowed")
        return self._stage(name, outputs, reference, tuple(failures))

    def _errors(self, outputs: np.ndarray) -> int:
        return int(wrong_labels(torch.from_numpy(outputs), torch.from_numpy(self.labels)).sum())

    def _stage(
        self, name: str, outputs: np.ndarray, reference: np.ndarray, failures: tuple[str, ...]
    ) -> Stage:
        return Stage(
            name,
            errors=self._errors(outputs),
            max_difference=_largest_difference(outputs, reference),
            class_changes=int(((outputs > 0) != (reference > 0)).sum()),
            failures=failures,
            predictions=self.labels.size,
        )


@dataclass(frozen=True)
class ValueGate:
    """Gate of a regression. Values are compared in standard deviations of their targets.

    Attributes:
        labels: Values of the split, ``[N, D]``.
        scale: Standard deviation of each target in the training split, ``[D]``.
        share: Allowed share of additional squared error of an 8-bit model.
    """

    labels: np.ndarray
    scale: Sequence[float]
    share: float

    def check_same(self, name: str, outputs: np.ndarray, reference: np.ndarray) -> Stage:
        """Check that values are equal up to rounding."""
        allowed = FP32_DIFFERENCE + ROUNDING * np.abs(reference / np.array(self.scale))
        distance = self._distance(outputs, reference)
        failures: tuple[str, ...] = ()
        if not (distance <= allowed).all():
            failures = (f"values differ by up to {distance.max():.3g} standard deviations",)
        return self._stage(name, outputs, distance, failures)

    def check_similar(self, name: str, outputs: np.ndarray, reference: np.ndarray) -> Stage:
        """Check that the squared error is hardly larger."""
        share = max(self.share, ERROR_SHARE) if self.share else 0.0
        own, before = self._error(outputs), self._error(reference)
        failures: tuple[str, ...] = ()
        if not own <= before * (1 + share):  # NaN is larger
            failures = (f"the squared error grows from {before:.4g} to {own:.4g}",)
        return self._stage(name, outputs, self._distance(outputs, reference), failures)

    def _distance(self, outputs: np.ndarray, reference: np.ndarray) -> np.ndarray:
        distance: np.ndarray = np.abs(outputs.astype(np.float64) - reference)
        return distance / np.array(self.scale)

    def _error(self, outputs: np.ndarray) -> float:
        values, labels = torch.from_numpy(outputs), torch.from_numpy(self.labels)
        return float(squared_errors(values, labels, self.scale).mean())

    def _stage(
        self, name: str, outputs: np.ndarray, distance: np.ndarray, failures: tuple[str, ...]
    ) -> Stage:
        return Stage(
            name,
            errors=0,
            max_difference=float(distance.max()),
            class_changes=0,
            failures=failures,
            squared_error=self._error(outputs),
        )


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
    if stages and stages[0].squared_error is not None:
        return _value_table(stages, samples)
    if stages and stages[0].missed_neighbours is not None:
        return _vector_table(stages)
    of, changed = f"errors of {samples:,}", "top class changed"
    if stages and stages[0].predictions is not None:
        of, changed = f"wrong labels of {stages[0].predictions:,}", "labels changed"
    rows = [("stage", of, "largest difference", changed, "")]
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
    return _aligned(rows)


def _value_table(stages: Sequence[Stage], samples: int) -> str:
    rows = [("stage", f"squared error on {samples:,}", "largest difference, sd", "")]
    for stage in stages:
        result = "ok" if stage.passed else "; ".join(stage.failures)
        rows.append(
            (stage.name, f"{stage.squared_error:.4f}", f"{stage.max_difference:.2g}", result)
        )
    return _aligned(rows)


def _vector_table(stages: Sequence[Stage]) -> str:
    rows = [("stage", "nearest texts missed of 10", "largest difference", "")]
    for stage in stages:
        result = "ok" if stage.passed else "; ".join(stage.failures)
        rows.append(
            (stage.name, f"{stage.missed_neighbours:.3f}", f"{stage.max_difference:.2g}", result)
        )
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Align the cells of a table: the first and the last column to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *numbers, result in rows:
        cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:-1], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells, result]))
    return "\n".join(lines)


def check_stages(stages: Sequence[Stage], samples: int) -> None:
    """Check that all stages of an export have passed.

    Args:
        stages: Stages.
        samples: Number of test samples.

    Raises:
        ExportError: If one has failed.
    """
    for stage in stages:
        if stage.passed:
            continue
        hint = ""
        if stage.name.endswith("int8"):
            hint = " Leave it out with int8=false, or allow more errors with int8_share=."
        raise ExportError(
            f"The exported model differs at the stage '{stage.name}', so nothing was written.{hint}"
            f"\n{table(stages, samples)}"
        )
