"""Teachers that are estimators of scikit-learn's interface, fitted in the run.

An estimator has no file that is safe to load. So its answers to the samples are kept.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError, LimbeckError, TeacherError
from limbeck._base.progress import Advance, StageProgress
from limbeck.data import Dataset, Split
from limbeck.data.dataset import as_float
from limbeck.data.randomness import random_order
from limbeck.data.resampling import ResampledSplits
from limbeck.study.arms import Teacher
from limbeck.study.texts import features_of
from limbeck.teacher.adapter import Adapter, adapter_of
from limbeck.teacher.estimator import EstimatorTeacher, LabelsTeacher, RegressionTeacher
from limbeck.teacher.lookup import LookupTeacher, input_keys

NO_PROGRESS = StageProgress(enabled=False)
BATCH = 4096
"""Number of inputs that an estimator answers at once."""


def build_estimator(plan: Teacher, data: Dataset) -> Any:
    """Return the estimator of a teacher, not yet fitted.

    Args:
        plan: Teacher with an estimator.
        data: Dataset of the study.

    Raises:
        ConfigError: If it is none, or the dataset is text.
    """
    if data.positions is not None:
        raise ConfigError(
            f"teacher.estimator is for classifiers, but {data.name} is a text to continue. Choose "
            "a language model, such as teacher=gpt."
        )
    if plan.folds is not None and plan.folds > len(data.train):
        raise ConfigError(
            f"teacher.folds={plan.folds} is more than the {len(data.train):,} training samples of "
            f"{data.name}. Use 5 or 10."
        )
    estimator = plan.estimator
    if not hasattr(estimator, "fit"):
        assert callable(estimator)
        try:
            estimator = estimator(data)
        except LimbeckError:
            raise
        except Exception as error:  # a function of the user may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(f"teacher.estimator could not be built: {reason}.") from error
    method, kind = "predict_proba", "a classifier"
    if data.kind.outputs == "values":
        method, kind = "predict", "a regressor"
    if not hasattr(estimator, "fit") or not hasattr(estimator, method):
        raise ConfigError(
            f"teacher.estimator is of type {type(estimator).__name__}; expected an object with fit "
            f"and {method}, as {kind} of scikit-learn."
        )
    return estimator


def name_of_lookup(plan: Teacher | None, models: Iterable[nn.Module]) -> str | None:
    """Return the name of a teacher that answers the samples alone; None for others.

    Args:
        plan: Teacher to train or to load; None for models.
        models: Models that exist already.
    """
    if plan is not None and plan.source is None and plan.estimator is not None:
        return type(plan.estimator).__name__ if hasattr(plan.estimator, "fit") else "The estimator"
    for model in models:
        adapter = adapter_of(model)
        if isinstance(adapter, LookupTeacher):
            return adapter.name
    return None


def no_layers() -> ConfigError:
    """Return the error that an estimator has no layers to inspect."""
    return ConfigError(
        "objective.features and student.init=teacher need layers of the teacher, but an estimator "
        "has none. Choose a neural network, such as teacher=mlp."
    )


def fit_estimators(
    plan: Teacher, splits: ResampledSplits, progress: StageProgress = NO_PROGRESS
) -> list[list[LookupTeacher]]:
    """Fit the members of the teacher of each split, and record their answers to all samples.

    Args:
        plan: Teacher with an estimator.
        splits: Training and validation splits of the study.
        progress: Progress display.

    Raises:
        TeacherError: If an estimator cannot be fitted, or returns no probabilities.
    """
    estimator = build_estimator(plan, splits.data)
    inputs = torch.cat([splits.pool.inputs, splits.data.val.inputs, splits.data.test_inputs])
    # a blank input is the one that checks of a model use
    inputs = torch.cat([inputs, splits.data.blank(1).to(inputs.dtype)])
    keys = _keys_of(inputs, splits.data)
    keys, first = _first_of_each(keys)
    size = plan.size_of_ensemble
    seeds = range(plan.seed, plan.seed + splits.count * size)
    with progress.stage("teacher", len(seeds) * (1 + (plan.folds or 0))) as advance:
        fitting = _Fitting(estimator, splits.data, keys, inputs[first], plan.folds, advance)
        teachers = []
        for number in range(splits.count):
            members = seeds[number * size : (number + 1) * size]
            teachers.append([fitting.fit(splits.train(number), seed) for seed in members])
    return teachers


class _Fitting:
    """Fitting of an estimator, and its answers to the samples of a dataset.

    Args:
        estimator: Estimator that is copied, not fitted.
        data: Dataset of the study.
        keys: Keys of the inputs, int64 ``[N]``, ascending.
        inputs: All different inputs, ``[N, ...]``.
        folds: Number of parts of the training samples, see :class:`~limbeck.Teacher`; None for a
            single fit.
        advance: Callback for the number of fits.
    """

    def __init__(
        self,
        estimator: Any,
        data: Dataset,
        keys: Tensor,
        inputs: Tensor,
        folds: int | None,
        advance: Advance,
    ):
        self.estimator, self.data, self.folds = estimator, data, folds
        self.keys, self.inputs = keys, inputs
        self.advance, self.count = advance, 0
        self.features = features_of(data)

    def fit(self, train: Split, seed: int) -> LookupTeacher:
        """Fit a copy of the estimator on a training split, and record its answers."""
        teacher = self._fit_on(train, seed)
        logits = _answers(teacher, self.inputs)
        if self.folds is not None:
            self._answer_by_folds(logits, train, seed)
        return LookupTeacher(teacher.name, self.keys, logits, padding=self.data.padding)

    def _answer_by_folds(self, logits: Tensor, train: Split, seed: int) -> None:
        """Replace the answers to training samples by those of fits without them."""
        assert self.folds is not None
        keys = _keys_of(train.inputs, self.data)
        inputs, rows = torch.searchsorted(self.keys, keys).unique(return_inverse=True)
        fold_of = _draw_folds(rows if train.groups is None else train.groups, self.folds, seed)
        # copies of a sample may be in several groups; one answer serves all
        fold_of_input = torch.full((len(inputs),), self.folds)
        fold_of_input = fold_of_input.scatter_reduce(0, rows, fold_of, "amin")
        for fold in range(self.folds):
            is_left_out = (fold_of == fold) | (fold_of_input[rows] == fold)
            teacher = self._fit_on(train.take((~is_left_out).nonzero().flatten()), seed)
            answered = inputs[fold_of_input == fold]
            if len(answered):
                logits[answered] = _answers(teacher, self.inputs[answered])

    def _fit_on(self, train: Split, seed: int) -> Adapter:
        """Fit a copy of the estimator on samples."""
        from sklearn.base import clone

        features = self.features(as_float(train.inputs))
        try:
            estimator = clone(self.estimator)
            unset = [name for name, value in estimator.get_params().items() if value is None]
            seeds = {name: seed for name in unset if name.rpartition("__")[2] == "random_state"}
            estimator.set_params(**seeds)
            labels = train.labels.numpy()
            if self.data.kind.outputs == "labels":
                labels = labels.astype(int)
            is_single_value = self.data.kind.outputs == "values" and labels.shape[1] == 1
            estimator.fit(features, labels[:, 0] if is_single_value else labels)
        except MemoryError:
            raise
        except Exception as error:  # libraries and their versions raise various errors
            reason = " ".join(str(error).split())[:300]
            raise TeacherError(
                f"{type(self.estimator).__name__} could not be fitted on the training split: "
                f"{type(error).__name__}: {reason}."
            ) from error
        self.count += 1
        self.advance(self.count)
        teacher = self._adapter(estimator)
        teacher.features = self.features
        return teacher

    def _adapter(self, estimator: Any) -> RegressionTeacher | LabelsTeacher | EstimatorTeacher:
        if self.data.kind.outputs == "values":
            return RegressionTeacher(estimator)
        if self.data.kind.outputs == "labels":
            return LabelsTeacher(estimator)
        return EstimatorTeacher(estimator, [str(number) for number in range(self.data.classes)])


def _draw_folds(groups: Tensor, folds: int, seed: int) -> Tensor:
    """Return the fold of each sample, int64 ``[N]``; those of one group are in the same one.

    Args:
        groups: Number of the group of each sample, int64 ``[N]``.
        folds: Number of folds.
        seed: Seed of the folds.
    """
    numbers, group = groups.unique(return_inverse=True)
    fold_of_group = torch.empty(len(numbers), dtype=torch.int64)
    fold_of_group[random_order(len(numbers), seed)] = torch.arange(len(numbers)) % folds
    return fold_of_group[group]


def _keys_of(inputs: Tensor, data: Dataset) -> Tensor:
    """Return the keys of inputs of a dataset, int64 ``[N]``."""
    parts = inputs.split(BATCH)
    return torch.cat([input_keys(as_float(part), data.padding) for part in parts])


def _answers(teacher: Adapter, inputs: Tensor) -> Tensor:
    return torch.cat([teacher(as_float(part)) for part in inputs.split(BATCH)])


def _first_of_each(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the different keys, ascending, and the row of each."""
    unique, rows = np.unique(keys.numpy(), return_index=True)
    return torch.from_numpy(unique), torch.from_numpy(rows)
