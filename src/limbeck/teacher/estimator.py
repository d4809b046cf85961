"""Estimators of scikit-learn, XGBoost, LightGBM or CatBoost as teachers, also of regression."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from limbeck._base.checks import without_addresses
from limbeck._base.errors import TeacherError
from limbeck.teacher.adapter import ProbedModel
from limbeck.teacher.probabilities import FLOOR, logits_of_probabilities

MAX_NAMES = 5
"""Maximum number of classes that a message names."""


@runtime_checkable
class Estimator(Protocol):
    """A classifier with the interface of scikit-learn."""

    def predict_proba(self, X: Any) -> Any:
        """Return probabilities ``[N, C]`` of features ``[N, F]``."""


@runtime_checkable
class RegressionEstimator(Protocol):
    """An estimator of values with the interface of scikit-learn."""

    def predict(self, X: Any) -> Any:
        """Return values ``[N]`` or ``[N, D]`` of features ``[N, F]``."""


def rows_of(x: Tensor) -> np.ndarray:
    """Return inputs ``[B, ...]`` as one row of floats per sample."""
    rows = x.detach().flatten(1).cpu()
    return rows.numpy() if rows.dtype == torch.float64 else rows.float().numpy()


class _FittedModel(ProbedModel):
    """An estimator that answers features, which are inputs flattened to one row per sample.

    Args:
        estimator: Fitted estimator.
        method: Name of the method that answers.

    Attributes:
        features: Function from inputs ``[B, ...]`` to what the estimator takes.
    """

    def __init__(self, estimator: Any, method: str):
        super().__init__(_name(estimator))
        self.estimator, self.method = estimator, method
        self.features: Callable[[Tensor], Any] = rows_of

    def description(self) -> str:
        """Class and settings of the estimator."""
        text = without_addresses(repr(self.estimator))
        return f"{type(self.estimator).__module__} {' '.join(text.split())}"

    def _answer(self, x: Tensor) -> Any:
        """Return what the method returns for inputs ``[B, ...]``.

        Raises:
            TeacherError: If it fails.
        """
        features = self.features(x)
        expected = getattr(self.estimator, "n_features_in_", None)
        has_rows = isinstance(features, np.ndarray)
        if has_rows and isinstance(expected, int) and expected != features.shape[1]:
            raise TeacherError(
                f"{self.name} was fitted on {expected} features, but an input of the data has "
                f"{features.shape[1]} (shape {list(x.shape[1:])}, flattened). Fit it on the inputs "
                "of the data."
            )
        try:
            with warnings.catch_warnings():
                # the names of features in a table play no part
                warnings.filterwarnings("ignore", message=".*valid feature names.*")
                return getattr(self.estimator, self.method)(features)
        except Exception as error:  # libraries and their versions raise various errors
            raise TeacherError(self._advice(error)) from error

    def _advice(self, error: Exception) -> str:
        reason = " ".join(str(error).split())[:200]
        if type(error).__name__ == "NotFittedError":
            return (
                f"{self.name} is not fitted: call fit() on the training data first, or let a study "
                "do so with limbeck.Teacher(estimator=...)."
            )
        advice = ""
        if "dataframe" in reason.lower() or "column" in reason.lower():
            outputs = f"estimator.{self.method}(as_table(x))"
            if self.method == "predict_proba":
                outputs = f"numpy.log({outputs} + 1e-7)"
            advice = (
                " If it needs a table with named columns, pass a function instead: lambda x: "
                f"{outputs}."
            )
        return f"{self.name}.{self.method} failed: {type(error).__name__}: {reason}.{advice}"


class RegressionTeacher(_FittedModel):
    """An estimator of values as a teacher, fitted on the inputs and targets of the data.

    Args:
        estimator: Fitted estimator.
    """

    def __init__(self, estimator: RegressionEstimator):
        super().__init__(estimator, "predict")

    def compute(self, x: Tensor) -> Tensor:
        """Return values ``[B, D]`` of inputs ``[B, ...]``.

        Raises:
            TeacherError: If the estimator fails, or returns no values.
        """
        values = np.asarray(self._answer(x))
        is_row_per_sample = values.ndim in (1, 2) and len(values) == len(x)
        if not is_row_per_sample or values.dtype.kind not in "fiu":
            raise TeacherError(
                f"{self.name}.predict returned {values.dtype} of shape {list(values.shape)} for "
                f"{len(x)} inputs; expected values [{len(x)}] or [{len(x)}, D]."
            )
        return torch.from_numpy(values.reshape(len(x), -1).astype(np.float32)).to(x.device)


class LabelsTeacher(_FittedModel):
    """An estimator of several labels as a teacher, fitted on labels of 0 and 1.

    Args:
        estimator: Fitted estimator, which returns probabilities ``[N, L]`` of the labels, or a list
            with those of both values of each label, as scikit-learn's do.
    """

    def __init__(self, estimator: Estimator):
        super().__init__(estimator, "predict_proba")

    def compute(self, x: Tensor) -> Tensor:
        """Return logits ``[B, L]`` of inputs ``[B, ...]``.

        Raises:
            TeacherError: If the estimator fails, or returns no probabilities.
        """
        answer = self._answer(x)
        if isinstance(answer, (list, tuple)):
            answer = np.stack(list(map(self._column, range(len(answer)), answer)), 1)
        p = np.asarray(answer)
        if p.ndim != 2 or len(p) != len(x) or p.dtype.kind != "f":
            raise TeacherError(
                f"{self.name}.predict_proba returned {p.dtype} of shape {list(p.shape)} for "
                f"{len(x)} inputs; expected probabilities [{len(x)}, L]."
            )
        logits = torch.logit(torch.from_numpy(p.astype(np.float32)).clamp(FLOOR, 1 - FLOOR))
        return logits.to(x.device)

    def _column(self, number: int, part: Any) -> np.ndarray:
        """Return the probability of a label, of which training samples may have one value only."""
        p = np.asarray(part)
        if p.shape[-1] > 1:
            return p[:, -1]
        applies = bool(self.estimator.classes_[number][0])
        return p[:, 0] if applies else 1 - p[:, 0]


class EstimatorTeacher(_FittedModel):
    """An estimator as a teacher. Its features are the inputs, flattened to one row per sample.

    Images are rows of pixels from 0 to 1, so the estimator has to be fitted on these.

    Args:
        estimator: Estimator that was fitted on the classes of the data, or on their numbers.
        class_names: Names of the classes of the data; None if its classes are numbers from 0.

    Raises:
        TeacherError: If it is not fitted, or its classes are not those of the data.
    """

    def __init__(self, estimator: Estimator, class_names: Sequence[str] | None = None):
        super().__init__(estimator, "predict_proba")
        classes = getattr(estimator, "classes_", None)
        self._columns: list[int] | None = None  # of each class; -1 if the estimator has not seen it
        if classes is not None:
            self._columns = self._match(_labels(classes), class_names)
        self._note(
            f"{self.name}: probabilities become logits by their logarithm, and those below "
            f"{FLOOR:g} count as {FLOOR:g}"
        )

    def compute(self, x: Tensor) -> Tensor:
        """Return log-probabilities ``[B, C]`` of inputs ``[B, ...]``.

        Raises:
            TeacherError: If the estimator fails, or returns no probabilities.
        """
        p = self._probabilities(x)
        if self._columns is not None:
            self._check_columns(p)
            p = torch.cat([p, p.new_zeros(len(p), 1)], -1)  # column -1: classes not seen
            p = p[:, self._columns]
        return logits_of_probabilities(p, self.name).to(x.device)

    def _probabilities(self, x: Tensor) -> Tensor:
        p = self._answer(x)
        if isinstance(p, (list, tuple)):
            raise TeacherError(
                f"{self.name}.predict_proba returns {len(p)} arrays, one for each of several "
                "outputs. limbeck needs one output; pass a function that returns its logits."
            )
        return self._as_tensor(p, len(x))

    def _as_tensor(self, p: Any, samples: int) -> Tensor:
        p = np.asarray(p)
        if p.ndim == 1 or (p.ndim == 2 and p.shape[1] == 1):  # that of the second of two classes
            p = np.stack([1 - p.reshape(-1), p.reshape(-1)], 1)
        if p.ndim != 2 or len(p) != samples or p.dtype.kind != "f":
            raise TeacherError(
                f"{self.name}.predict_proba returned {p.dtype} of shape {list(p.shape)} for "
                f"{samples} inputs; expected probabilities [{samples}, C]."
            )
        return torch.from_numpy(np.ascontiguousarray(p, dtype=np.float32))

    def _check_columns(self, p: Tensor) -> None:
        number = len(_labels(self.estimator.classes_))
        if p.shape[-1] != number:
            raise TeacherError(
                f"{self.name}.predict_proba returns {p.shape[-1]} columns, but classes_ has "
                f"{number} classes."
            )

    def _match(self, classes: list[str], names: Sequence[str] | None) -> list[int]:
        """Return the column of each class of the data."""
        if names is None:
            return self._match_numbers(classes, None)
        surplus = [label for label in classes if label not in names]
        if surplus:
            return self._match_numbers(classes, names)
        columns = [classes.index(name) if name in classes else -1 for name in names]
        self._note_order(columns, classes, names)
        return columns

    def _match_numbers(self, classes: list[str], names: Sequence[str] | None) -> list[int]:
        """Match classes that are numbers of the data's classes, from 0."""
        numbers = [int(label) for label in classes if label.isdecimal()]
        count = len(names) if names is not None else max(numbers, default=-1) + 1
        if len(numbers) != len(classes) or max(numbers, default=0) >= count:
            raise TeacherError(
                f"{self.name} was fitted on the classes {_some(classes)}, but the data has "
                f"{_some(names) if names is not None else 'numbers of classes'}. Fit it on the "
                "names of the classes, or on their numbers from 0."
            )
        columns = [numbers.index(number) if number in numbers else -1 for number in range(count)]
        self._note_order(columns, classes, names)
        return columns

    def _note_order(
        self, columns: list[int], classes: list[str], names: Sequence[str] | None
    ) -> None:
        absent = [number for number, column in enumerate(columns) if column < 0]
        if absent:
            labels = [names[number] if names is not None else str(number) for number in absent]
            self._note(
                f"{self.name} was fitted without the classes {_some(labels)}: their probability is "
                f"{FLOOR:g}"
            )
        present = [column for column in columns if column >= 0]
        if present != sorted(present):
            self._note(f"{self.name}: classes are matched by name ({_some(classes)})")


def _labels(classes: Any) -> list[str]:
    """Return classes as text: whole numbers without a decimal point, as in the names of data."""
    labels = []
    for label in np.asarray(classes).tolist():
        is_whole = isinstance(label, float) and label.is_integer()
        labels.append(str(int(label) if is_whole or isinstance(label, bool) else label))
    return labels


def _some(names: Sequence[str]) -> str:
    text = ", ".join(map(repr, names[:MAX_NAMES]))
    return text if len(names) <= MAX_NAMES else f"{text} and {len(names) - MAX_NAMES} more"


def _name(estimator: object) -> str:
    """Return the name of an estimator; for a pipeline, with that of its last step."""
    name = type(estimator).__name__
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list) and steps:
        name += f" of {type(steps[-1][1]).__name__}"
    return name
